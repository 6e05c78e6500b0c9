package content

import (
	"bytes"
	"testing"

	"coral/delta/derive"
	"coral/delta/format"
	"coral/delta/format/dtype"
)

// storeFlat stores a file of one 1-D F32 payload, as a partition of DeepSpeed is.
func storeFlat(t *testing.T, s *Store, w []byte) IngestResult {
	t.Helper()
	parse := s.parse
	defer func() { s.parse = parse }()
	fixedLayout(s, &format.Layout{
		Format:   format.TorchZip,
		Payloads: []format.Payload{{Offset: 64, Length: int64(len(w)), DType: dtype.F32, Name: "single_partition_of_fp32_groups.0"}},
		Tensors:  []format.Tensor{{Name: "single_partition_of_fp32_groups.0", DType: dtype.F32, Shape: []int64{int64(len(w) / 4)}, Offset: 64, Length: int64(len(w))}},
	})
	return mustIngest(t, s, append(make([]byte, 64), w...), Hint{Path: "zero"})
}

// TestSlicesOfAFlatBuffer: what a model has of a flat buffer costs next to nothing, wherever it begins in it, in BF16 as in F32.
func TestSlicesOfAFlatBuffer(t *testing.T) {
	s, _ := newStore(t, Options{})
	s.parse = jsonLayout
	w := gauss(testRand(11), dtype.F32, 1_500_000, 0.02)
	clear(w[2_000_000:2_400_000])
	storeFlat(t, s, w)
	short := make([]byte, len(w)/2)
	derive.Convert(short, w, dtype.BF16, dtype.F32)
	const first, n = 123_457, 400_001
	for name, c := range map[string]struct {
		data []byte
		dt   dtype.Kind
		most int64 // bytes stored
	}{
		"BF16 slice":      {short[2*first : 2*(first+n)], dtype.BF16, 4000},
		"BF16 all":        {short, dtype.BF16, 4000},
		"F32 slice":       {w[4*first : 4*(first+n)], dtype.F32, 4000},
		"another in half": {append(bytes.Clone(short[2*first:2*(first+n/2)]), gauss(testRand(12), dtype.BF16, n/2, 0.02)...), dtype.BF16, n * 3 / 4},
		"another":         {gauss(testRand(13), dtype.BF16, n, 0.02), dtype.BF16, 2 * n},
	} {
		data := safetensors(tensor{name, c.dt, c.data})
		res := mustIngest(t, s, data, Hint{Path: name})
		checkFile(t, s, res.Manifest, data)
		if res.New > c.most {
			t.Errorf("%s of %d bytes costs %d, at most %d wanted", name, len(c.data), res.New, c.most)
		}
	}
}

// TestFlatBufferAgain: the next partition is a difference to the one before, not made of pieces of it.
func TestFlatBufferAgain(t *testing.T) {
	s, b := newStore(t, Options{})
	w := gauss(testRand(11), dtype.F32, thinner(1_500_000, 400_000), 0.02)
	first := storeFlat(t, s, w)
	w2 := sparseStep(w, 1)
	second := storeFlat(t, s, w2)
	checkFile(t, s, second.Manifest, append(make([]byte, 64), w2...))
	m1, m2 := mustOpen(t, s, first.Manifest).Manifest(), mustOpen(t, s, second.Manifest).Manifest()
	info, err := b.Stat(m2.Segments[1].Blob)
	if err != nil || info.Base != m1.Segments[1].Blob {
		t.Errorf("base %s, want %s (%v)", info.Base.Short(), m1.Segments[1].Blob.Short(), err)
	}
}

// TestFlatAnchors: both sides have the same anchors, and constant values have none.
func TestFlatAnchors(t *testing.T) {
	w := gauss(testRand(14), dtype.F32, 600_000, 0.02)
	short := make([]byte, len(w)/2)
	derive.Convert(short, w, dtype.BF16, dtype.F32)
	collect := func(raw []byte, dt dtype.Kind) map[int]uint64 {
		out := map[int]uint64{}
		flatAnchors(raw, dt, func(off int, hash uint64) bool { out[off/dt.Width()] = hash; return true })
		return out
	}
	wide, narrow := collect(w, dtype.F32), collect(short[2*10_001:], dtype.BF16)
	if len(wide) < 5 || len(wide) > 60 {
		t.Errorf("%d anchors", len(wide))
	}
	for at, hash := range wide {
		if at >= 10_001 && narrow[at-10_001] != hash {
			t.Errorf("anchor at %d is not one of the slice", at)
		}
	}
	for _, raw := range [][]byte{nil, make([]byte, 4), make([]byte, 1<<20), bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, 1<<18)} {
		if got := collect(raw, dtype.F32); len(got) > 0 {
			t.Errorf("%d anchors in constant values", len(got))
		}
	}
}

func BenchmarkFlatAnchors(b *testing.B) {
	w := gauss(testRand(14), dtype.F32, 4<<20, 0.02)
	b.SetBytes(int64(len(w)))
	for b.Loop() {
		flatAnchors(w, dtype.F32, func(int, uint64) bool { return true })
	}
}
