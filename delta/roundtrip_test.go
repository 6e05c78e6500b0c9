package delta

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

var testKinds = []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16, dtype.F64, dtype.C64, dtype.C128, dtype.Bytes,
	dtype.F8E4M3, dtype.I64, dtype.I32, dtype.U16, dtype.I8, dtype.Bool, dtype.Q4_K, dtype.F4, dtype.Kind(200)}

// decodeAll decodes a payload as a reader does, from its bytes alone.
func decodeAll(payload, base []byte, codec FrameCodec) ([]byte, error) {
	if codec == FrameRaw {
		return payload, nil
	}
	n := int64(len(payload))
	if n < PrefixLen {
		return nil, errs.Corrupt
	}
	size, err := HeaderLen(payload[:PrefixLen], n)
	if err != nil {
		return nil, err
	}
	h, err := ParseHeader(payload[:size], n)
	if err != nil {
		return nil, err
	}
	return decodeBlocks(h, payload, base)
}

func decodeBlocks(h *Header, payload, base []byte) ([]byte, error) {
	d := NewDecoder()
	out := make([]byte, h.RawSize())
	for i := range h.Blocks() {
		b := h.Block(i)
		from := int64(i) * h.BlockLen()
		var part []byte
		if b.NeedsBase {
			if from+int64(b.Raw) > int64(len(base)) {
				return nil, fmt.Errorf("block %d: needs more base than there is: %w", i, errs.Corrupt)
			}
			part = base[from : from+int64(b.Raw)]
		}
		err := d.DecodeBlock(h, i, out[from:from+int64(b.Raw)], payload[b.Offset:b.Offset+int64(b.Stored)], part)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func roundTrip(t *testing.T, e *Encoder, raw, base []byte, dt dtype.Kind) ([]byte, Result) {
	t.Helper()
	head := []byte("before")
	keepRaw, keepBase := checksum(raw), checksum(base)
	out, res, err := e.Encode(bytes.Clone(head), raw, base, dt)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if checksum(raw) != keepRaw || checksum(base) != keepBase {
		t.Fatal("encode changed its input")
	}
	payload, ok := bytes.CutPrefix(out, head)
	if !ok {
		t.Fatal("encode changed what was in dst")
	}
	if limit := len(raw) + len(raw)/1000 + 64; len(payload) > limit {
		t.Fatalf("%d bytes became %d", len(raw), len(payload))
	}
	if !res.UsesBase {
		base = nil
	}
	got, err := decodeAll(payload, base, res.Codec)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !bytes.Equal(got, raw) {
		t.Fatal("decoded bytes differ")
	}
	return payload, res
}

func TestRoundTrip(t *testing.T) {
	e := NewEncoder()
	for _, dt := range testKinds {
		for _, shape := range codectest.Shapes {
			whole := codectest.Blob(shape, dt, 3<<blockLog(dt)+1, 9)
			for _, n := range lengths(dt) {
				for _, relation := range codectest.Relations {
					raw := whole[:n]
					name := fmt.Sprintf("%v/%s/%s/%d", dt, shape, relation, n)
					if n > 4096 && skip(name) || codectest.Thin(name) {
						continue
					}
					base := codectest.Base(relation, raw, dt, 6)
					t.Run(name, func(t *testing.T) { roundTrip(t, e, raw, base, dt) })
				}
			}
		}
	}
	if e.refused != 0 {
		t.Errorf("%d blocks did not come back by their codec and were stored raw", e.refused)
	}
}

func lengths(dt dtype.Kind) []int {
	l := []int{0, 1, 2, 3, 7, 63, 64, 65, 100, 255, 256, 257, 1000, 4096}
	for k := 1; k <= 3; k++ {
		l = append(l, k<<blockLog(dt)-1, k<<blockLog(dt), k<<blockLog(dt)+1)
	}
	return l
}

// skip thins out the long cases: one of 17 is run, always the same ones; all of them take minutes.
func skip(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()%17 != 0
}

// TestRatios keeps what each relation must save, so that a wrong choice shows.
func TestRatios(t *testing.T) {
	e := NewEncoder()
	for _, tt := range []struct {
		dt              dtype.Kind
		shape, relation string
		most            float64
		usesBase        bool
	}{
		{dtype.BF16, "gauss", "none", 0.657, false},
		{dtype.BF16, "gauss", "far", 0.657, false},
		{dtype.BF16, "gauss", "near", 0.29, true},
		{dtype.BF16, "gauss", "sparse", 0.018, true},
		{dtype.BF16, "gauss", "rows", 0.16, true},
		{dtype.BF16, "gauss", "same", 0.001, true},
		{dtype.BF16, "zeros", "none", 0.001, false},
		{dtype.F32, "gauss", "none", 0.829, false},
		{dtype.F32, "gauss", "near", 0.645, true},
		{dtype.F32, "gauss", "sparse", 0.024, true},
		{dtype.F32, "gauss", "shorter", 0.72, true},
		{dtype.F32, "gauss", "decay", 0.05, true},
		{dtype.F32, "upcast", "none", 0.34, false},
		{dtype.F32, "halfupcast", "none", 0.43, false},
		{dtype.F64, "upcast", "none", 0.42, false},
		{dtype.F32, "halfzero", "none", 0.06, false},
		{dtype.BF16, "halfzero", "none", 0.10, false},
		{dtype.F8E4M3, "gauss", "none", 0.80, false},
		{dtype.Q4_0, "quants", "none", 0.91, false},
		{dtype.Q6_K, "quants", "none", 0.94, false},
		{dtype.F32, "positive", "none", 0.835, false},
		{dtype.F32, "palette", "none", 0.25, false},
		{dtype.BF16, "palette", "none", 0.48, false},
		{dtype.F64, "palette", "none", 0.14, false},
		{dtype.Bool, "skewed", "none", 0.10, false},
		{dtype.F16, "gauss", "none", 0.844, false},
		{dtype.F16, "gauss", "near", 0.47, true},
		{dtype.F64, "gauss", "none", 0.88, false},
		{dtype.C64, "gauss", "near", 0.645, true},
		{dtype.F64, "gauss", "same", 0.001, true},
		{dtype.I64, "gauss", "none", 0.20, false},
		{dtype.F64, "gauss", "near", 0.81, true},
		{dtype.C128, "gauss", "near", 0.81, true},
		{dtype.I64, "gauss", "near", 0.03, true},
		{dtype.I32, "gauss", "sparse", 0.005, true},
		{dtype.U16, "gauss", "near", 0.11, true},
		{dtype.I8, "gauss", "near", 0.21, true},
		{dtype.F8E4M3, "gauss", "sparse", 0.02, true},
		{dtype.Bytes, "text", "none", 0.20, false},
		{dtype.Bytes, "random", "none", 1.001, false},
	} {
		raw := codectest.Blob(tt.shape, tt.dt, 512<<10, 1)
		base := codectest.Base(tt.relation, raw, tt.dt, 2)
		payload, res := roundTrip(t, e, raw, base, tt.dt)
		got := float64(len(payload)) / float64(len(raw))
		est := float64(e.Estimate(raw, base, tt.dt)) / float64(len(raw))
		t.Logf("%v %s %s: %.4f, estimate %.4f", tt.dt, tt.shape, tt.relation, got, est)
		if got > tt.most || res.UsesBase != tt.usesBase {
			t.Errorf("%v %s %s: %.4f of raw, want at most %.4f; uses base: %v", tt.dt, tt.shape, tt.relation, got, tt.most, res.UsesBase)
		}
		if tt.relation != "rows" && tt.relation != "decay" && tt.relation != "shorter" && (est < got*0.93-0.01 || est > got*1.07+0.01) {
			t.Errorf("%v %s %s: %.4f of raw, estimated %.4f", tt.dt, tt.shape, tt.relation, got, est)
		}
	}
}

// TestUpcastDelta: values of fewer bits pay for those only, as differences too.
func TestUpcastDelta(t *testing.T) {
	e := NewEncoder()
	raw := codectest.Blob("upcast", dtype.F32, 1<<20, 1)
	base := codectest.Blob("upcast", dtype.F32, 1<<20, 1)
	for i := 2; i < len(base); i += 8 {
		base[i] ^= 1
	}
	payload, res := roundTrip(t, e, raw, base, dtype.F32)
	if got := float64(len(payload)) / float64(len(raw)); got > 0.05 || !res.UsesBase {
		t.Errorf("%.3f of raw", got)
	}
}

func TestTooLarge(t *testing.T) {
	if _, _, err := NewEncoder().Encode(nil, make([]byte, MaxBlob+1), nil, dtype.F32); !errors.Is(err, errs.Invalid) {
		t.Errorf("a blob above MaxBlob: %v", err)
	}
	roundTrip(t, NewEncoder(), make([]byte, MaxBlob), nil, dtype.F32)
}

// TestVerifyFallsBack breaks every coded block between coding and verification: the bytes must come back all
// the same.
func TestVerifyFallsBack(t *testing.T) {
	for _, c := range []codecID{codecConst, codecZstd, codecSplit, codecOrdint, codecPredOrdint, codecWide, codecSparse, codecColumns, codecPalette} {
		broken := 0
		e := NewEncoder()
		e.damage = func(got codecID, stored []byte) {
			if got == c {
				stored[len(stored)/2] ^= 0x10
				broken++
			}
		}
		dt, shape, relation := dtype.F32, "gauss", "none"
		switch c {
		case codecConst:
			shape = "constant"
		case codecZstd:
			dt, shape = dtype.Bytes, "text"
		case codecSplit:
			dt = dtype.F64
		case codecPalette:
			shape = "palette"
		case codecOrdint:
			relation = "near"
		case codecPredOrdint:
			relation = "decay"
		case codecWide:
			dt, relation = dtype.F64, "near"
		case codecSparse:
			relation = "sparse"
		}
		raw := codectest.Blob(shape, dt, 600<<10, 1)
		_, res := roundTrip(t, e, raw, codectest.Base(relation, raw, dt, 2), dt)
		if broken == 0 || e.refused < broken || res.UsesBase {
			t.Errorf("%v: %d blocks broken, uses base: %v", c, broken, res.UsesBase)
		}
	}
	e := NewEncoder()
	e.damage = func(_ codecID, stored []byte) { stored[0]++ }
	raw := codectest.Blob("random", dtype.F32, 600<<10, 1)
	if _, _, err := e.Encode(nil, raw, nil, dtype.F32); !errors.Is(err, errs.Corrupt) {
		t.Errorf("broken raw blocks: %v", err)
	}
}

func TestObjects(t *testing.T) {
	for _, n := range []int{0, 1, 47, 48, 1000, 1 << 20} {
		for _, shape := range []string{"text", "random", "zeros"} {
			raw := codectest.Blob(shape, dtype.Bytes, n, 1)
			out, codec := CompressObject([]byte("x"), raw)
			if len(out)-1 > n {
				t.Errorf("%s of %d bytes became %d", shape, n, len(out)-1)
			}
			got, err := DecompressObject([]byte("y"), out[1:], codec, n)
			if err != nil || !bytes.Equal(got[1:], raw) {
				t.Errorf("%s of %d bytes: %v", shape, n, err)
			}
			for _, size := range []int{n - 1, n + 1, -1, MaxObject + 1} {
				if _, err := DecompressObject(nil, out[1:], codec, size); !errors.Is(err, errs.Corrupt) {
					t.Errorf("%s of %d bytes taken for %d: %v", shape, n, size, err)
				}
			}
		}
	}
	if _, err := DecompressObject(nil, nil, 9, 0); !errors.Is(err, errs.Unsupported) {
		t.Errorf("unknown codec: %v", err)
	}
}
