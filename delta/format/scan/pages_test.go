package scan

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"coral/delta/format"
)

func TestPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 600<<10+77)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	p := NewPages(bytes.NewReader(data), int64(len(data)))
	for range 20_000 {
		off, n := rng.IntN(len(data)), rng.IntN(9000)
		n = min(n, len(data)-off)
		got := make([]byte, n)
		if !p.Bytes(got, int64(off)) || !bytes.Equal(got, data[off:off+n]) {
			t.Fatalf("%d bytes at %d differ: %v", n, off, p.Err())
		}
		if p.reads > MaxPageReads/2 {
			p = NewPages(bytes.NewReader(data), int64(len(data)))
		}
	}
	numbers := NewPages(bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}), 9)
	if a, b, c, d := numbers.U8(8), numbers.U16(0), numbers.U32(1), numbers.U64(1); a != 9 || b != 0x0201 || c != 0x05040302 || d != 0x0908070605040302 {
		t.Errorf("%x %x %x %x", a, b, c, d)
	}
}

func TestPagesErrors(t *testing.T) {
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {9, 1}, {8, 2}, {1 << 62, 1}, {0, 10}} {
		p := NewPages(bytes.NewReader(make([]byte, 9)), 9)
		if p.Bytes(make([]byte, c.n), c.off) || !errors.Is(p.Err(), format.ErrDamaged) {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, p.Err())
		}
		if p.U32(0) != 0 {
			t.Error("an error does not stick")
		}
	}
	short := NewPages(bytes.NewReader(make([]byte, 5)), 9)
	if short.U8(0); !errors.Is(short.Err(), format.ErrDamaged) {
		t.Errorf("short file: %v", short.Err())
	}
	bad := NewPages(io.NewSectionReader(failingAt{}, 0, 9), 9)
	if bad.U8(0); !errors.Is(bad.Err(), io.ErrClosedPipe) {
		t.Errorf("unreadable file: %v", bad.Err())
	}
}

type failingAt struct{}

func (failingAt) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// TestPagesBounded: two pages in turn that share a place in the cache are read again and again, but not for ever.
func TestPagesBounded(t *testing.T) {
	p := NewPages(bytes.NewReader(make([]byte, (pages+1)*pageLen)), (pages+1)*pageLen)
	for i := range int64(2 * MaxPageReads) {
		if p.U8(i % 2 * pages * pageLen); p.Err() != nil {
			break
		}
	}
	if !errors.Is(p.Err(), format.ErrDamaged) || p.reads != MaxPageReads+1 {
		t.Errorf("%d reads, %v", p.reads, p.Err())
	}
}
