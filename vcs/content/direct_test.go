package content

import (
	"bytes"
	"io"
	"testing"

	"coral/delta"
	"coral/delta/format/dtype"
)

// TestLongReads: long reads that split blocks at both ends, in order and not, give the right bytes, and in order decode each block about once.
func TestLongReads(t *testing.T) {
	s, _ := newStore(t, Options{CacheBytes: 8 << 20})
	r := testRand(9)
	data := safetensors(
		tensor{"a", dtype.F32, gauss(r, dtype.F32, 3_000_001, 0.02)}, // 12 MB
		tensor{"b", dtype.BF16, gauss(r, dtype.BF16, 700, 0.02)},
		tensor{"c", dtype.BF16, gauss(r, dtype.BF16, 2_500_000, 0.02)},
	)
	s.parse = jsonLayout
	f := mustOpen(t, s, mustIngest(t, s, data, Hint{Path: "model.safetensors"}).Manifest)
	s.DropCache()
	read := func(off, n int64) {
		t.Helper()
		p := make([]byte, n)
		got, err := f.ReadAt(t.Context(), p, off)
		want := data[off:min(off+n, int64(len(data)))]
		if err != nil && err != io.EOF || !bytes.Equal(p[:got], want) {
			t.Fatalf("%d bytes at %d: %d, %v", n, off, got, err)
		}
	}
	before := s.Counters()
	for off := int64(0); off < int64(len(data)); off += 1 << 20 {
		read(off, 1<<20)
	}
	after := s.Counters()
	if n := after.BytesDecoded - before.BytesDecoded; n < int64(len(data))*9/10 || n > int64(len(data))*11/10 {
		t.Errorf("%d bytes decoded for %d", n, len(data))
	}
	for range 200 {
		n := LongRead + r.Int64N(3*delta.BlockSize)
		read(r.Int64N(int64(len(data))), n)
	}
}
