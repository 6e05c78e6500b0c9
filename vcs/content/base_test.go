package content

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"coral/delta"
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
)

// steps ingests n checkpoints of one tensor under the given name and returns their bytes and results. path says whether each is
// the former one's successor in the tree, or only a sibling that the hint finds.
func steps(t *testing.T, s *Store, name string, n int, samePath bool) (files [][]byte, res []IngestResult) {
	t.Helper()
	r := testRand(41)
	w := gauss(r, dtype.F32, 100_000, 0.02)
	var prev oid.ID
	for i := range n {
		data := safetensors(tensor{name, dtype.F32, w}, tensor{"frozen", dtype.F32, gauss(testRand(1), dtype.F32, 5000, 1)})
		hint := Hint{Path: fmt.Sprintf("checkpoint-%d/model.safetensors", i)}
		if samePath {
			hint = Hint{Path: "model.safetensors", Prev: prev}
		}
		got := mustIngest(t, s, data, hint)
		prev = got.Manifest
		files, res = append(files, data), append(res, got)
		w = sparseStep(w, i)
	}
	return files, res
}

// sparseStep changes one number in twenty a little: near for any delta codec.
func sparseStep(w []byte, seed int) []byte {
	r := testRand(uint64(seed) + 1000)
	out := bytes.Clone(w)
	for i := 0; i < len(out); i += 4 {
		if r.IntN(20) == 0 {
			out[i] ^= byte(1 + r.IntN(3))
		}
	}
	return out
}

func depths(t *testing.T, s *Store, b *memBackend, res []IngestResult) []int {
	t.Helper()
	var out []int
	for _, r := range res {
		m := mustOpen(t, s, r.Manifest).Manifest()
		info, err := b.Stat(m.Segments[1].Blob)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, int(info.Depth))
	}
	return out
}

func TestChainIsBounded(t *testing.T) {
	for _, samePath := range []bool{true, false} {
		t.Run(fmt.Sprint("samePath=", samePath), func(t *testing.T) {
			s, b := newStore(t, Options{})
			s.parse = jsonLayout
			files, res := steps(t, s, "w", 16, samePath)
			got := depths(t, s, b, res)
			deepest := 0
			for i := range got {
				deepest = max(deepest, got[i])
				if i > 0 && got[i] == 0 {
					t.Errorf("checkpoint %d is stored alone: %v", i, got)
				}
			}
			if deepest > delta.MaxDepth || deepest < 3 {
				t.Errorf("deepest chain %d: %v", deepest, got)
			}
			for i := range files {
				s.DropCache()
				checkFile(t, s, res[i].Manifest, files[i])
			}
			if res[1].New >= res[0].New/2 {
				t.Errorf("a near checkpoint costs %d bytes, the first %d", res[1].New, res[0].New)
			}
		})
	}
}

func TestFirstMomentIsAlone(t *testing.T) {
	for name, want := range map[string]bool{"state.0.exp_avg": false, "exp_avg": false, "state/0/exp_avg": false, "state.0.exp_avg_sq": true, "my_exp_avg": true} {
		s, b := newStore(t, Options{})
		s.parse = jsonLayout
		_, res := steps(t, s, name, 2, true)
		if got := depths(t, s, b, res)[1] == 1; got != want {
			t.Errorf("%s: delta %v, want %v", name, got, want)
		}
	}
}

// Without a previous version and without hints nothing is found; the other dtype's blob is no base; a far base is not taken.
func TestNoBase(t *testing.T) {
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	r := testRand(6)
	a := gauss(r, dtype.F32, 100_000, 0.02)
	other := gauss(r, dtype.F32, 100_000, 0.02)
	mustIngest(t, s, safetensors(tensor{"w", dtype.F32, a}), Hint{})
	mustIngest(t, s, safetensors(tensor{"w", dtype.F32, other}), Hint{})
	mustIngest(t, s, safetensors(tensor{"w", dtype.BF16, sparseStep(a, 1)}), Hint{})
	for _, rec := range b.blobs() {
		if rec.Depth != 0 || !rec.Base.IsZero() {
			t.Errorf("blob of %d bytes, dtype %d: depth %d", rec.RawSize, rec.DType, rec.Depth)
		}
	}
}

// A tensor that grew, as a vocabulary does, keeps its base by name in the previous version.
func TestBaseOfAnotherLength(t *testing.T) {
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	w := gauss(testRand(7), dtype.F32, 100_000, 0.02)
	first := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, w}), Hint{})
	grown := safetensors(tensor{"w", dtype.F32, append(sparseStep(w, 1), gauss(testRand(8), dtype.F32, 3000, 0.02)...)})
	second := mustIngest(t, s, grown, Hint{Prev: first.Manifest})
	checkFile(t, s, second.Manifest, grown)
	if d := depths(t, s, b, []IngestResult{second})[0]; d != 1 {
		t.Errorf("depth %d", d)
	}
}

// The k-th extent finds the k-th extent.
func TestExtentsFindTheirBase(t *testing.T) {
	large(t, "33 MiB")
	s, b := newStore(t, Options{})
	w := noise(9, 2*extentLen+4096*4)
	fixedLayout(s, &format.Layout{
		Format:   format.NPY,
		Payloads: []format.Payload{{Offset: 128, Length: int64(len(w)), DType: dtype.F32, Name: "w"}},
		Tensors:  []format.Tensor{{Name: "w", DType: dtype.F32, Shape: []int64{int64(len(w) / 4)}, Offset: 128, Length: int64(len(w))}},
	})
	file := func(w []byte) []byte { return append(make([]byte, 128), w...) }
	first := mustIngest(t, s, file(w), Hint{})
	w2 := sparseStep(w, 1)
	second := mustIngest(t, s, file(w2), Hint{Prev: first.Manifest})
	checkFile(t, s, second.Manifest, file(w2))
	m1, m2 := mustOpen(t, s, first.Manifest).Manifest(), mustOpen(t, s, second.Manifest).Manifest()
	if len(m2.Segments) != 4 {
		t.Fatalf("%d segments", len(m2.Segments))
	}
	for i := 1; i < 4; i++ {
		info, err := b.Stat(m2.Segments[i].Blob)
		if err != nil || info.Base != m1.Segments[i].Blob {
			t.Errorf("extent %d: base %s, want %s (%v)", i-1, info.Base.Short(), m1.Segments[i].Blob.Short(), err)
		}
	}
}

// The storage of a flat buffer is named by the first of its views, and all its extents find those of the previous version, also when others of that
// name were stored since.
func TestExtentsOfAFlatBuffer(t *testing.T) {
	large(t, "33 MiB")
	for _, at := range []int64{0, extentLen + 4096} { // of the first view
		s, b := newStore(t, Options{})
		w := noise(9, 2*extentLen+4096*4)
		fixedLayout(s, &format.Layout{
			Format:   format.TorchZip,
			Payloads: []format.Payload{{Offset: 128, Length: int64(len(w)), DType: dtype.F32, Name: "w"}},
			Tensors:  []format.Tensor{{Name: "w", DType: dtype.F32, Shape: []int64{1000}, Offset: 128 + at, Length: 4000}},
		})
		file := func(w []byte) []byte { return append(make([]byte, 128), w...) }
		first := mustIngest(t, s, file(w), Hint{})
		b.hints = map[string][]byte{} // as if another branch had them
		second := mustIngest(t, s, file(sparseStep(w, 1)), Hint{Prev: first.Manifest})
		m1, m2 := mustOpen(t, s, first.Manifest).Manifest(), mustOpen(t, s, second.Manifest).Manifest()
		for i := 1; i < 4; i++ {
			info, err := b.Stat(m2.Segments[i].Blob)
			if err != nil || info.Base != m1.Segments[i].Blob {
				t.Errorf("view at %d, extent %d: base %s, want %s (%v)", at, i-1, info.Base.Short(), m1.Segments[i].Blob.Short(), err)
			}
		}
	}
}

// A damaged or missing base costs ratio and nothing else.
func TestDamagedBaseIsPassedOver(t *testing.T) {
	for _, missing := range []bool{false, true} {
		s, b := newStore(t, Options{})
		s.parse = jsonLayout
		w := gauss(testRand(7), dtype.F32, 100_000, 0.02)
		first := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, w}), Hint{})
		if missing {
			b.remove(oid.Sum(w))
		} else {
			b.change(oid.Sum(w), func(r *objstore.Record) { r.Payload[len(r.Payload)/2] ^= 1 })
		}
		s.DropCache()
		data := safetensors(tensor{"w", dtype.F32, sparseStep(w, 1)})
		second := mustIngest(t, s, data, Hint{Prev: first.Manifest})
		checkFile(t, s, second.Manifest, data)
		if d := depths(t, s, b, []IngestResult{second})[0]; d != 0 {
			t.Errorf("missing %v: depth %d", missing, d)
		}
		data = safetensors(tensor{"w", dtype.F32, sparseStep(w, 2)})
		third := mustIngest(t, s, data, Hint{Prev: oid.Sum([]byte("no such manifest"))})
		checkFile(t, s, third.Manifest, data)
	}
}

// The nearer of two candidates wins, whichever way it is found.
func TestNearestCandidateWins(t *testing.T) {
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	w := gauss(testRand(7), dtype.F32, 100_000, 0.02)
	far := tuned(testRand(8), dtype.F32, w, 0.004)
	near := sparseStep(w, 1)
	prev := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, far}), Hint{})
	// Stored alone, so that the two differ in nothing but distance.
	s.b.(*memBackend).hints = map[string][]byte{}
	mustIngest(t, s, safetensors(tensor{"w", dtype.F32, near}), Hint{})
	data := safetensors(tensor{"w", dtype.F32, w})
	res := mustIngest(t, s, data, Hint{Prev: prev.Manifest})
	checkFile(t, s, res.Manifest, data)
	if info, err := b.Stat(oid.Sum(w)); err != nil || info.Base != oid.Sum(near) {
		t.Errorf("base %s, want %s (far is %s): %v", info.Base.Short(), oid.Sum(near).Short(), oid.Sum(far).Short(), err)
	}
}

func TestHintKeyIsFixed(t *testing.T) {
	// Hints of older repositories are found under these keys.
	const want = "ecabff373e90ed68"
	if got := fmt.Sprintf("%x", hintKey("model.layer.0.weight", dtype.BF16, 1<<25, 1)); got != want {
		t.Errorf("hint key %s, want %s", got, want)
	}
}

// Where rows had no gradient yet, the first moment has a base: the zeros, and rows that only decayed.
func TestSparseFirstMoment(t *testing.T) {
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	files := make([][]byte, 2)
	res := make([]IngestResult, 2)
	m := gauss(testRand(8), dtype.F32, 100_000, 0.01)
	clear(m[:len(m)/2])
	for i := range files {
		files[i] = safetensors(tensor{"state.0.exp_avg", dtype.F32, m})
		res[i] = mustIngest(t, s, files[i], Hint{})
		m = bytes.Clone(m)
		for at := len(m) / 2; at < len(m); at += 4 {
			f := math.Float32frombits(binary.LittleEndian.Uint32(m[at:]))
			for range 15 {
				f = float32(float64(f) - float64(float64(f)*float64(float32(0.1))))
			}
			binary.LittleEndian.PutUint32(m[at:], math.Float32bits(f))
		}
	}
	if got := depths(t, s, b, res); got[1] != 1 {
		t.Errorf("depths %v", got)
	}
	if res[1].New > res[0].New/20 {
		t.Errorf("decayed rows cost %d bytes, the first time %d", res[1].New, res[0].New)
	}
	for i := range files {
		checkFile(t, s, res[i].Manifest, files[i])
	}
}
