package content

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// smallModel is two tensors of 1 MiB and the same some steps later.
func smallModel(dt dtype.Kind) (first, second []byte) {
	r := testRand(5)
	a, b := gauss(r, dt, 1<<20/dt.Width(), 0.02), gauss(r, dt, 1<<20/dt.Width(), 0.02)
	first = safetensors(tensor{"a", dt, a}, tensor{"b", dt, b})
	return first, safetensors(tensor{"a", dt, tuned(r, dt, a, 0.0002)}, tensor{"b", dt, tuned(r, dt, b, 0.0002)})
}

// TestDecode: each byte once, in whatever order; and what fn or the store says ends it.
func TestDecode(t *testing.T) {
	first, second := smallModel(dtype.BF16)
	second = append(second[:len(second)-3], "odd"...)
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	prev := mustIngest(t, s, first, Hint{}).Manifest
	f := mustOpen(t, s, mustIngest(t, s, second, Hint{Prev: prev}).Manifest)
	got := make([]byte, len(second))
	var n atomic.Int64
	if err := f.Decode(t.Context(), func(off int64, p []byte) error {
		n.Add(int64(len(p)))
		copy(got[off:], p)
		return nil
	}); err != nil || n.Load() != f.Size() || !bytes.Equal(got, second) {
		t.Errorf("%v, %d bytes of %d, equal %v", err, n.Load(), f.Size(), bytes.Equal(got, second))
	}
	stop := errors.New("enough")
	if err := f.Decode(t.Context(), func(int64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	seg := f.Manifest().Segments[len(f.Manifest().Segments)-1]
	b.remove(seg.Blob)
	s.DropCache()
	if err := f.Decode(t.Context(), func(int64, []byte) error { return nil }); !errors.Is(err, errs.NotFound) || !strings.Contains(err.Error(), seg.Blob.String()) {
		t.Errorf("a blob is gone: %v", err)
	}
}

func TestNoBases(t *testing.T) {
	first, second := smallModel(dtype.F32)
	for _, alone := range []bool{false, true} {
		s, _ := newStore(t, Options{NoBases: alone})
		s.parse = jsonLayout
		prev := mustIngest(t, s, first, Hint{}).Manifest
		checkFile(t, s, mustIngest(t, s, second, Hint{Prev: prev}).Manifest, second)
		if n := s.Counters().DeltasStored; (n == 0) != alone {
			t.Errorf("NoBases %v: %d differences", alone, n)
		}
	}
}
