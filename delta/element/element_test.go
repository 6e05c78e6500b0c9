package element

import (
	"math"
	"testing"

	"coral/delta/format/dtype"
)

// nearest rounds by search over all values of a 16-bit kind, which from turns into numbers: the plain version.
func nearest(f float32, from func(uint16) float32, limit float64) uint16 {
	sign := uint16(0)
	if math.Signbit(float64(f)) {
		sign = 0x8000
	}
	x := math.Abs(float64(f))
	lo, hi := uint16(0), uint16(0x7fff)
	for hi-lo > 1 { // values grow with the bits, up to infinity
		mid := lo + (hi-lo)/2
		if v := float64(from(mid)); v <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	a, b := float64(from(lo)), float64(from(hi))
	if math.IsInf(b, 0) {
		b = limit // the next value if there were one
	}
	switch {
	case x-a < b-x, x-a == b-x && lo&1 == 0:
		return sign | lo
	}
	return sign | hi
}

func TestRoundTripOf16Bits(t *testing.T) {
	for u := range 1 << 16 {
		for _, k := range []dtype.Kind{dtype.BF16, dtype.F16} {
			var f [1]float32
			in := []byte{byte(u), byte(u >> 8)}
			Load(f[:], in, k)
			out := make([]byte, 2)
			Store(out, f[:], k)
			got := le.Uint16(out)
			if f[0] != f[0] { // a signalling NaN comes back quiet
				quiet := map[dtype.Kind]uint16{dtype.BF16: 0x40, dtype.F16: 0x200}[k]
				if got != uint16(u)|quiet {
					t.Fatalf("%s NaN %04x became %04x", k, u, got)
				}
				continue
			}
			if got != uint16(u) {
				t.Fatalf("%s %04x became %04x", k, u, got)
			}
		}
	}
}

func TestRounding(t *testing.T) {
	bits := []uint32{0, 1, 0x33000000, 0x33000001, 0x32ffffff, 0x33800000, 0x387fffff, 0x38800000, 0x477fefff, 0x477ff000, 0x477fffff, 0x47800000, 0x7f7fffff, 0x7f800000}
	for u := uint32(0x32000000); u < 0x48000000; u += 0xfff7 {
		bits = append(bits, u)
	}
	for u := uint32(0); u < 0x10000; u += 13 { // ties and their neighbours
		bits = append(bits, 0x3f800000+u, 0x00008000+u, 0x35000000+u)
	}
	for _, u := range bits {
		for _, sign := range []uint32{0, 1 << 31} {
			f := math.Float32frombits(u | sign)
			if math.IsInf(float64(f), 0) {
				continue
			}
			if got, want := ToBF16(f), nearest(f, FromBF16, math.Ldexp(1, 128)); got != want {
				t.Fatalf("BF16 of %08x is %04x, want %04x", u|sign, got, want)
			}
			if got, want := ToF16(f), nearest(f, FromF16, 65536); got != want {
				t.Fatalf("F16 of %08x is %04x, want %04x", u|sign, got, want)
			}
		}
	}
}

func TestFinite(t *testing.T) {
	for f, want := range map[float32]bool{0: true, math.MaxFloat32: true, float32(math.Inf(1)): false, float32(math.Inf(-1)): false} {
		if Finite(f) != want {
			t.Errorf("Finite(%v) = %v", f, !want)
		}
	}
	if Finite(float32(math.NaN())) {
		t.Error("NaN is finite")
	}
}
