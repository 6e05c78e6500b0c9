package plane

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// plainSplit cuts elements of w bytes one at a time, as the package comment says.
func plainSplit(src []byte, w int) (e, s, low []byte) {
	for i := 0; i+w <= len(src); i += w {
		el := src[i : i+w]
		top := uint16(el[w-1])<<8 | uint16(el[w-2])
		if w == 8 {
			e = append(e, byte(top>>4))
			s = append(s, byte(top>>8&0xf0|top&0xf))
		} else {
			e = append(e, byte(top>>7))
			s = append(s, byte(top>>8&0x80|top&0x7f))
		}
		low = append(low, el[:w-2]...)
	}
	return e, s, low
}

func split(e, s, low, src []byte, w int) {
	switch w {
	case 2:
		Split16(e, s, src)
	case 4:
		Split32(e, s, low, src)
	case 8:
		Split64(e, s, low, src)
	}
}

func merge(dst, e, s, low []byte, w int) {
	switch w {
	case 2:
		Merge16(dst, e, s)
	case 4:
		Merge32(dst, e, s, low)
	case 8:
		Merge64(dst, e, s, low)
	}
}

func TestSplitMergeEqualsPlain(t *testing.T) {
	for _, w := range []int{2, 4, 8} {
		for n := range 70 {
			src := random(n * w)
			we, ws, wl := plainSplit(src, w)
			e, s, low := make([]byte, n), make([]byte, n), make([]byte, n*(w-2))
			split(e, s, low, src, w)
			if !bytes.Equal(e, we) || !bytes.Equal(s, ws) || !bytes.Equal(low, wl) {
				t.Fatalf("split of %d elements of %d bytes differs from the plain version", n, w)
			}
			got := make([]byte, n*w)
			merge(got, e, s, low, w)
			if !bytes.Equal(got, src) {
				t.Fatalf("merge of %d elements of %d bytes: %x, want %x", n, w, got, src)
			}
		}
	}
}

// Nothing outside the slices is written, at any length and alignment, and long inputs are as right as short ones.
func TestNothingOutside(t *testing.T) {
	const guard = 64
	for _, w := range []int{2, 4, 8} {
		for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 100, 1023, 4096 + 5} {
			src := random(n * w)
			we, ws, wl := plainSplit(src, w)
			at := n % 13
			framed := func(n int) (frame, part []byte) {
				frame = bytes.Repeat([]byte{0xa5}, at+n+guard)
				return frame, frame[at : at+n : at+n]
			}
			fe, e := framed(n)
			fs, s := framed(n)
			fl, low := framed(n * (w - 2))
			fd, dst := framed(n * w)
			split(e, s, low, src, w)
			merge(dst, e, s, low, w)
			if !bytes.Equal(e, we) || !bytes.Equal(s, ws) || !bytes.Equal(low, wl) || !bytes.Equal(dst, src) {
				t.Fatalf("%d elements of %d bytes differ from the plain version", n, w)
			}
			for _, f := range [][]byte{fe, fs, fl, fd} {
				if bytes.Count(f[:at], []byte{0xa5}) != at || bytes.Count(f[len(f)-guard:], []byte{0xa5}) != guard {
					t.Fatalf("%d elements of %d bytes: written outside", n, w)
				}
			}
		}
	}
}

func FuzzSplitMerge(f *testing.F) {
	f.Add(random(300), uint8(1))
	f.Fuzz(func(t *testing.T, src []byte, width uint8) {
		w := 2 << (width % 3)
		n := len(src) / w
		src = src[:n*w]
		we, ws, wl := plainSplit(src, w)
		e, s, low, dst := make([]byte, n), make([]byte, n), make([]byte, n*(w-2)), make([]byte, n*w)
		split(e, s, low, src, w)
		merge(dst, e, s, low, w)
		if !bytes.Equal(e, we) || !bytes.Equal(s, ws) || !bytes.Equal(low, wl) || !bytes.Equal(dst, src) {
			t.Fatalf("%d elements of %d bytes differ from the plain version", n, w)
		}
	})
}

func TestBytePlanes(t *testing.T) {
	src := random(6 * 40)
	got := make([]byte, len(src))
	for j := range 6 {
		p := make([]byte, 40)
		Take(p, src, j, 6)
		Put(got, p, j, 6)
	}
	if !bytes.Equal(got, src) {
		t.Fatal("Put does not undo Take")
	}
	Fill(got, 7, 2, 6)
	if b, ok := Constant(got, 2, 6); !ok || b != 7 {
		t.Fatalf("Constant after Fill: %d, %v", b, ok)
	}
	if _, ok := Constant(got, 3, 6); ok {
		t.Fatal("a random plane is said to be constant")
	}
	if _, ok := Constant(nil, 0, 1); ok {
		t.Fatal("an empty plane is said to be constant")
	}
}

func TestCount(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 1000} {
		p := random(n)
		var got, want [256]uint32
		Count(&got, p)
		for _, b := range p {
			want[b]++
		}
		if got != want {
			t.Errorf("counts of %d bytes are wrong", n)
		}
	}
}

func BenchmarkSplit(b *testing.B) { bench(b, split) }
func BenchmarkMerge(b *testing.B) {
	bench(b, func(e, s, low, src []byte, w int) { merge(src, e, s, low, w) })
}

func bench(b *testing.B, fn func(e, s, low, src []byte, w int)) {
	for _, w := range []int{2, 4, 8} {
		b.Run(fmt.Sprint(8*w), func(b *testing.B) {
			const size = 64 << 10
			src, n := random(size), size/w
			e, s, low := make([]byte, n), make([]byte, n), make([]byte, size-2*n)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				fn(e, s, low, src, w)
			}
		})
	}
}

func BenchmarkCount(b *testing.B) {
	p := random(64 << 10)
	var c [256]uint32
	b.SetBytes(64 << 10)
	for b.Loop() {
		Count(&c, p)
	}
}
