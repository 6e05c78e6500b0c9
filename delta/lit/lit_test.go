package lit

import (
	"bytes"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

func TestSuite(t *testing.T) {
	var c Coder
	codectest.Run(t, codectest.Block{
		Encode: func(_ dtype.Kind, raw, _ []byte) ([]byte, []byte, bool) { return nil, c.Compress(nil, raw), true },
		Decode: func(_ dtype.Kind, _, dst, stored, _ []byte) error { return c.Decompress(dst, stored) },
	}, []dtype.Kind{dtype.Bytes, dtype.I32}, []string{"none"})
}

func TestLengthIsExact(t *testing.T) {
	var c Coder
	frame := c.Compress(nil, bytes.Repeat([]byte("a"), 1<<20))
	for _, n := range []int{0, 1, 1<<20 - 1, 1<<20 + 1} {
		if err := c.Decompress(make([]byte, n), frame); err == nil {
			t.Errorf("a frame of 1 MiB decoded to %d bytes", n)
		}
	}
	if err := c.Decompress(make([]byte, 1<<20), frame); err != nil {
		t.Error(err)
	}
}

func FuzzDecompress(f *testing.F) {
	var c Coder
	for _, s := range codectest.Shapes {
		f.Add(c.Compress(nil, codectest.Blob(s, dtype.F32, 500, 1)), 500)
	}
	f.Fuzz(func(t *testing.T, frame []byte, n int) {
		if n >= 0 && n < 1<<16 {
			_ = c.Decompress(make([]byte, n), frame)
		}
	})
}
