package dequant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// fixture returns the blocks and the values of testdata/make.py.
func fixture(t testing.TB, k dtype.Kind) (src, want []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", k.String()+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	elements, size, ok := Block(k)
	if !ok || len(b)%(size+4*elements) != 0 {
		t.Fatalf("%s: fixture of %d bytes, blocks of %d for %d elements", k, len(b), size, elements)
	}
	n := len(b) / (size + 4*elements)
	return b[:n*size], b[n*size:]
}

// TestAgainstGGUF: every kind that dtype names comes out as gguf has it, to the bit.
func TestAgainstGGUF(t *testing.T) {
	for k := dtype.Q4_0; k <= dtype.MXFP4; k++ {
		t.Run(k.String(), func(t *testing.T) {
			src, want := fixture(t, k)
			got := make([]byte, len(want))
			if err := Decode(got, src, k); err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(want); i += 4 {
				if !bytes.Equal(got[i:i+4], want[i:i+4]) {
					g, w := binary.LittleEndian.Uint32(got[i:]), binary.LittleEndian.Uint32(want[i:])
					t.Fatalf("element %d is %g (%08x), gguf has %g (%08x)", i/4, math.Float32frombits(g), g, math.Float32frombits(w), w)
				}
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		what     string
		k        dtype.Kind
		dst, src int
	}{
		{"part of a block", dtype.Q4_0, 128, 17},
		{"room for less", dtype.Q4_0, 124, 18},
		{"room for more", dtype.Q4_0, 256, 18},
		{"room for none", dtype.Q6_K, 0, 210},
		{"no blocks", dtype.F32, 4, 4},
		{"an unknown kind", dtype.GGUFOther, 128, 18},
	} {
		if err := Decode(make([]byte, c.dst), make([]byte, c.src), c.k); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := Decode(nil, nil, dtype.Q4_K); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// TestHalf compares all halves with what float arithmetic says of them.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		got := half([]byte{byte(h), byte(h >> 8)})
		exp, man := h>>10&31, float64(h&1023)
		want := math.Ldexp(1+man/1024, exp-15)
		switch {
		case exp == 0:
			want = math.Ldexp(man, -24)
		case exp == 31 && man == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		if h>>15 == 1 {
			want = -want
		}
		if float64(got) != want && !(math.IsNaN(float64(got)) && math.IsNaN(want)) || math.Signbit(float64(got)) != (h>>15 == 1) {
			t.Fatalf("half %04x is %g, want %g", h, got, want)
		}
	}
}

// FuzzDecode: no bytes and no kind make it panic, and whole blocks always decode.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(dtype.Q4_0), make([]byte, 18))
	f.Add(uint8(dtype.Q6_K), bytes.Repeat([]byte{0xff}, 210))
	f.Add(uint8(dtype.IQ4_XS), bytes.Repeat([]byte{0x7c}, 272))
	f.Fuzz(func(t *testing.T, kind uint8, src []byte) {
		k := dtype.Kind(kind)
		elements, size, ok := Block(k)
		if !ok {
			if Decode(nil, src, k) == nil {
				t.Fatalf("decodes kind %d", kind)
			}
			return
		}
		dst := make([]byte, len(src)/size*elements*4)
		if err := Decode(dst, src, k); (err == nil) != (len(src)%size == 0) {
			t.Fatalf("%d bytes of %s: %v", len(src), k, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, k := range []dtype.Kind{dtype.Q4_0, dtype.Q8_0, dtype.Q4_K, dtype.Q6_K} {
		b.Run(k.String(), func(b *testing.B) {
			src, want := fixture(b, k)
			src = bytes.Repeat(src, 64)
			dst := make([]byte, 64*len(want))
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(dst, src, k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
