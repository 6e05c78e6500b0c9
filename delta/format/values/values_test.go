package values

import (
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/element"
	"coral/delta/format/dtype"
)

// TestPatterns: every pattern of a small float comes back from its value.
func TestPatterns(t *testing.T) {
	for k, width := range map[dtype.Kind]int{dtype.F16: 2, dtype.BF16: 2, dtype.F8E4M3: 1, dtype.F8E5M2: 1, dtype.F8E8M0: 1, dtype.I8: 1, dtype.U8: 1, dtype.I16: 2, dtype.U16: 2} {
		for p := range 1 << (8 * width) {
			var in, out [2]byte
			binary.LittleEndian.PutUint16(in[:], uint16(p))
			v := make([]float64, 1)
			Decode(v, in[:width], k)
			Encode(out[:width], v, k)
			if in != out && !math.IsNaN(v[0]) {
				t.Fatalf("%s: %x is %v, and that is %x", k, in, v[0], out)
			}
			if Decode(v, out[:width], k); math.IsNaN(v[0]) && k.Width() == 2 && k.Float() && in[1]>>7 != out[1]>>7 {
				t.Fatalf("%s: NaN %x became %x", k, in, out)
			}
		}
	}
}

// TestKnown: values of other people's tables (OCP 8-bit and microscaling specifications, IEEE 754).
func TestKnown(t *testing.T) {
	for _, c := range []struct {
		k dtype.Kind
		p uint64
		v float64
	}{
		{dtype.F16, 0x7bff, 65504}, {dtype.F16, 1, 0x1p-24}, {dtype.F16, 0xfc00, math.Inf(-1)}, {dtype.F16, 0x3555, 0.333251953125},
		{dtype.BF16, 0x3f80, 1}, {dtype.BF16, 0x7f7f, 3.3895313892515355e38},
		{dtype.F8E4M3, 0x7e, 448}, {dtype.F8E4M3, 1, 0x1p-9}, {dtype.F8E4M3, 0x7f, math.NaN()}, {dtype.F8E4M3, 0x38, 1},
		{dtype.F8E5M2, 0x7b, 57344}, {dtype.F8E5M2, 1, 0x1p-16}, {dtype.F8E5M2, 0x7c, math.Inf(1)},
		{dtype.F8E8M0, 127, 1}, {dtype.F8E8M0, 0, 0x1p-127}, {dtype.F8E8M0, 255, math.NaN()}, {dtype.Bool, 2, 1},
	} {
		b := binary.LittleEndian.AppendUint64(nil, c.p)
		v := make([]float64, 1)
		if Decode(v, b[:c.k.Width()], c.k); v[0] != c.v && !(math.IsNaN(v[0]) && math.IsNaN(c.v)) {
			t.Errorf("%s %x is %v, want %v", c.k, c.p, v[0], c.v)
		}
	}
}

// TestRounding: the result is a nearest one, and the even one of two; saturation is as documented.
func TestRounding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) }), rapid.Float64Range(-500, 500)).Draw(t, "v")
		for k, f := range map[dtype.Kind]minifloat{dtype.F16: half, dtype.BF16: brain, dtype.F8E4M3: e4m3, dtype.F8E5M2: e5m2} {
			p := f.encode(v)
			got := f.decode(p)
			switch {
			case math.IsNaN(v):
				if !math.IsNaN(got) {
					t.Fatalf("%s: NaN became %v", k, got)
				}
				continue
			case math.IsInf(got, 0) || f.finite && p&^(1<<(f.exp+f.man)) == f.most():
				continue
			}
			mag := p &^ (1 << (f.exp + f.man))
			up, down := math.Abs(f.decode(mag+1)), math.Abs(f.decode(mag-min(mag, 1)))
			d := math.Abs(math.Abs(got) - math.Abs(v))
			if du := math.Abs(up - math.Abs(v)); du < d || du == d && mag&1 == 1 {
				t.Fatalf("%s: %v became %v, not %v", k, v, got, up)
			}
			if dd := math.Abs(down - math.Abs(v)); mag > 0 && (dd < d || dd == d && mag&1 == 1) {
				t.Fatalf("%s: %v became %v, not %v", k, v, got, down)
			}
			if math.Signbit(got) != math.Signbit(v) {
				t.Fatalf("%s: the sign of %v", k, v)
			}
		}
	})
	for _, c := range []struct {
		k    dtype.Kind
		v    float64
		want float64
	}{
		{dtype.F8E4M3, 1e9, 448}, {dtype.F8E4M3, math.Inf(-1), -448}, {dtype.F8E5M2, 1e9, math.Inf(1)}, {dtype.F16, 65520, math.Inf(1)}, {dtype.F16, 65519.9, 65504},
		{dtype.I8, 127.5, 127}, {dtype.I8, -1e9, -128}, {dtype.U8, -3, 0}, {dtype.I32, 2.5, 2}, {dtype.I32, 1e30, math.MaxInt32}, {dtype.I64, 1e30, math.MaxInt64},
		{dtype.U64, 1e30, math.MaxUint64}, {dtype.U64, math.NaN(), 0}, {dtype.Bool, math.NaN(), 1}, {dtype.Bool, math.Copysign(0, -1), 0}, {dtype.F8E8M0, 3.1, 4}, {dtype.F8E8M0, 2.9, 2},
	} {
		b := make([]byte, 8)
		v := make([]float64, 1)
		Encode(b, []float64{c.v}, c.k)
		if Decode(v, b, c.k); v[0] != c.want {
			t.Errorf("%s: %v became %v, want %v", c.k, c.v, v[0], c.want)
		}
	}
}

// TestLikeElement: the codecs' conversions of 16-bit floats are the same.
func TestLikeElement(t *testing.T) {
	for p := range 1 << 16 {
		for k, want := range map[dtype.Kind]float32{dtype.F16: element.FromF16(uint16(p)), dtype.BF16: element.FromBF16(uint16(p))} {
			v := make([]float64, 1)
			Decode(v, []byte{byte(p), byte(p >> 8)}, k)
			if float32(v[0]) != want && !math.IsNaN(v[0]) {
				t.Fatalf("%s %x: %v, %v", k, p, v[0], want)
			}
		}
	}
}

func TestSupported(t *testing.T) {
	for k := range dtype.Kind(64) {
		if Supported(k) != (k != dtype.Bytes && k.Width() != 0) {
			t.Errorf("%s (%d): supported %v", k, k, Supported(k))
		}
		if !Supported(k) {
			continue
		}
		in, out := []float64{0, 1}, make([]float64, 2) // every kind has them but E8M0, which has no 0
		b := make([]byte, 2*Width(k))
		Encode(b, in, k)
		if Decode(out, b, k); out[1] != 1 || out[0] != 0 && k != dtype.F8E8M0 {
			t.Errorf("%s: %v became %v", k, in, out)
		}
	}
}
