package derive

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

// nearest returns the index of the value nearest to x among sorted values, ties to the even index.
func nearestOf(values []float64, x float64) int {
	lo, hi := 0, len(values)-1
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; values[mid] <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	a, b := x-values[lo], values[hi]-x
	if a < b || a == b && lo%2 == 0 {
		return lo
	}
	return hi
}

// Rounding to the short kinds is compared with a search among all their values.
func TestRoundingIsToNearestEven(t *testing.T) {
	var halves, brains []float64
	for h := range 0x7c01 {
		halves = append(halves, math.Float64frombits(widenBits(fromF16(uint16(h)))))
	}
	halves[0x7c00] = 65536 // what infinity counts as
	for b := range 0x7f81 {
		brains = append(brains, math.Float64frombits(widenBits(uint32(b)<<16)))
	}
	brains[0x7f80] = 0x1p128
	r := rand.New(rand.NewPCG(1, 2))
	check := func(u uint32) {
		x := float64(math.Float32frombits(u))
		if want := nearestOf(halves, min(x, 65536)); toF16(u) != uint16(want) || toF16(u|1<<31) != uint16(want)|0x8000 {
			t.Fatalf("F16 of %x is %x, want %x", u, toF16(u), want)
		}
		if want := nearestOf(brains, x); toBF16(u) != uint16(want) {
			t.Fatalf("BF16 of %x is %x, want %x", u, toBF16(u), want)
		}
	}
	for range 200_000 {
		check(r.Uint32() & 0x7fffffff % 0x7f800000)
		check(uint32(r.IntN(0x48000000-0x32000000)) + 0x32000000) // around what F16 can hold
	}
	for h := range uint32(0x7bff) { // ties and their neighbours
		u := fromF16(uint16(h))
		v := fromF16(uint16(h + 1))
		mid := math.Float32bits(float32((float64(math.Float32frombits(u)) + float64(math.Float32frombits(v))) / 2))
		for _, m := range []uint32{u, mid - 1, mid, mid + 1} {
			check(m & 0x7fffffff)
		}
	}
}

// Many at a time as one at a time.
func TestCastsOfMany(t *testing.T) {
	for _, shape := range []string{"gauss", "nan", "signedzero", "denormal", "random"} {
		for n := range 40 {
			src := codectest.Blob(shape, dtype.F32, 4*(n+2000), uint64(n))[:4*n+4*(n%2)*1900]
			for dt, one := range map[dtype.Kind]func(uint32) uint16{dtype.BF16: toBF16, dtype.F16: toF16} {
				got, want := make([]byte, len(src)/2), make([]byte, 0, len(src)/2)
				cast(got, src, dt, dtype.F32, Nearest)
				for i := 0; i < len(src); i += 4 {
					want = le.AppendUint16(want, one(le.Uint32(src[i:])))
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%s: %d elements to %s", shape, len(src)/4, dt)
				}
			}
		}
	}
}

func widenBits(u uint32) uint64 { return math.Float64bits(float64(math.Float32frombits(u))) }

// What a wide kind holds of a short one comes back, NaNs of F64 and F32 too.
func TestBackCasts(t *testing.T) {
	for _, shape := range []string{"gauss", "nan", "signedzero", "denormal", "random"} {
		for _, dt := range []dtype.Kind{dtype.BF16, dtype.F16, dtype.F32} {
			raw := codectest.Blob(shape, dt, 4096*dt.Width(), 3)
			for _, wide := range []dtype.Kind{dtype.F32, dtype.F64} {
				if wide == dt {
					continue
				}
				up, back := make([]byte, 4096*wide.Width()), make([]byte, len(raw))
				cast(up, raw, wide, dt, Nearest)
				cast(back, up, dt, wide, Nearest)
				for i := 0; i < len(raw); i += dt.Width() {
					a, b := raw[i:i+dt.Width()], back[i:i+dt.Width()]
					if !bytes.Equal(a, b) && !isNaN(a, dt) {
						t.Fatalf("%s %s by %s: %x came back as %x", shape, dt, wide, a, b)
					}
				}
				if dt.Width() == 2 && shape != "nan" && shape != "random" {
					via := make([]byte, len(up))
					cast(via, up, wide, wide, map[dtype.Kind]Mode{dtype.BF16: ViaBF16, dtype.F16: ViaF16}[dt])
					if !bytes.Equal(via, up) {
						t.Errorf("%s %s: not its own cast by way of itself", shape, dt)
					}
				}
			}
		}
	}
}

func isNaN(b []byte, dt dtype.Kind) bool {
	var v [1]float32
	load(v[:], b, dt)
	return v[0] != v[0]
}

func TestTruncate(t *testing.T) {
	raw := codectest.Blob("nan", dtype.F32, 4000, 1)
	out := make([]byte, 2000)
	cast(out, raw, dtype.BF16, dtype.F32, Truncate)
	for i := range 1000 {
		if !bytes.Equal(out[2*i:2*i+2], raw[4*i+2:4*i+4]) {
			t.Fatalf("element %d", i)
		}
	}
}

// Every mode against arithmetic written out, in numbers where the order and the rounding show.
func TestLinearModes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n = 1500
	x := make([][]float32, 3)
	in := make([][]byte, 3)
	for i := range x {
		for range n {
			x[i] = append(x[i], float32(r.NormFloat64()))
		}
		in[i] = make([]byte, 4*n)
		store(in[i], x[i], dtype.F32)
	}
	f := func(v float32) float32 { return v }
	c := []float32{0.3, 0.7, -0.1}
	for _, tc := range []struct {
		mode  Mode
		terms int
		want  func(a, b, d float32) float32
	}{
		{Sum, 1, func(a, _, _ float32) float32 { return c[0] * a }},
		{Sum, 3, func(a, b, d float32) float32 { return f(f(f(c[0]*a)+f(c[1]*b)) + f(c[2]*d)) }},
		{Fused, 2, func(a, b, _ float32) float32 { return float32(math.FMA(float64(c[1]), float64(b), float64(f(c[0]*a)))) }},
		{Mean, 3, func(a, b, d float32) float32 { return f(f(f(a+b)+d) / c[0]) }},
		{Lerp, 2, func(a, b, _ float32) float32 {
			return float32(math.FMA(float64(f(c[1]-1)), float64(f(b-a)), float64(b)))
		}},
		{Task, 3, func(a, b, d float32) float32 { return f(a + f(c[1]*f(b-d))) }},
		{TaskF, 3, func(a, b, d float32) float32 { return float32(math.FMA(float64(c[1]), float64(f(b-d)), float64(a))) }},
	} {
		p := Piece{Op: Linear, Mode: tc.mode}
		for i := range tc.terms {
			p.Terms = append(p.Terms, Term{DType: dtype.F32, Coef: c[i]})
		}
		for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16} {
			got := make([]byte, n*dt.Width())
			linear(got, in[:tc.terms], dt, &p)
			var v []float32
			for k := range n {
				v = append(v, tc.want(x[0][k], x[1][k], x[2][k]))
			}
			want := make([]byte, len(got))
			store(want, v, dt)
			if !bytes.Equal(got, want) {
				t.Errorf("mode %d, %d terms to %s", tc.mode, tc.terms, dt)
			}
		}
	}
}

func TestStepwise(t *testing.T) {
	a, b := float32(1.0078125), float32(3.03125) // 1 + 2^-7
	in := [][]byte{make([]byte, 4), make([]byte, 4)}
	store(in[0], []float32{a}, dtype.F32)
	store(in[1], []float32{b}, dtype.F32)
	p := Piece{Op: Linear, Mode: Sum, Terms: []Term{{DType: dtype.F32, Coef: 0.3}, {DType: dtype.F32, Coef: 0.7}}}
	for _, mode := range []Mode{Sum, Sum | Stepwise} {
		p.Mode = mode
		got, want := make([]byte, 2), make([]byte, 2)
		linear(got, in, dtype.BF16, &p)
		v := float32(0.3*a) + float32(0.7*b)
		if mode&Stepwise != 0 {
			v = round(float32(0.3)*a, dtype.BF16) + round(float32(0.7)*b, dtype.BF16)
		}
		store(want, []float32{v}, dtype.BF16)
		if !bytes.Equal(got, want) {
			t.Errorf("mode %d: %x, want %x", mode, got, want)
		}
	}
}

// A NaN has one form, whatever made it.
func TestNaNIsCanonical(t *testing.T) {
	inf := float32(math.Inf(1))
	in := [][]byte{make([]byte, 12), make([]byte, 12)}
	store(in[0], []float32{inf, math.Float32frombits(0xffc12345), 1}, dtype.F32)
	store(in[1], []float32{-inf, 1, math.Float32frombits(0x7f800001)}, dtype.F32)
	p := Piece{Op: Linear, Mode: Sum, Terms: []Term{{DType: dtype.F32, Coef: 1}, {DType: dtype.F32, Coef: 1}}}
	got := make([]byte, 12)
	linear(got, in, dtype.F32, &p)
	for i := range 3 {
		if u := le.Uint32(got[4*i:]); u != 0x7fc00000 {
			t.Errorf("element %d is %x", i, u)
		}
	}
}

func TestTranspose(t *testing.T) {
	for _, dt := range []dtype.Kind{dtype.U8, dtype.BF16, dtype.F32, dtype.F64, dtype.C128} {
		w := dt.Width()
		const rows, cols = 7, 13
		src := codectest.Blob("random", dt, rows*cols*w, 4)
		r := mustNew(t, dt, 1, Piece{Op: Transpose, Len: int64(len(src)), Rows: rows, Terms: []Term{{DType: dt}}})
		got := whole(t, r, [][]byte{src})
		for i := range rows {
			for j := range cols {
				if !bytes.Equal(got[(j*rows+i)*w:][:w], src[(i*cols+j)*w:][:w]) {
					t.Fatalf("%s: element %d,%d", dt, i, j)
				}
			}
		}
		if off := int64(5 * w); !bytes.Equal(part(t, r, [][]byte{src}, off, int64(20*w)), got[off:off+int64(20*w)]) {
			t.Errorf("%s: part differs", dt)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	const n = 64 << 10
	term := func(dt dtype.Kind) Term { return Term{DType: dt, Coef: 0.5} }
	for name, r := range map[string]*Recipe{
		"F32-BF16": mustNew(b, dtype.BF16, 1, Piece{Op: Cast, Len: n, Terms: []Term{term(dtype.F32)}}),
		"F32-F16":  mustNew(b, dtype.F16, 1, Piece{Op: Cast, Len: n, Terms: []Term{term(dtype.F32)}}),
		"F16-F32":  mustNew(b, dtype.F32, 1, Piece{Op: Cast, Len: n, Terms: []Term{term(dtype.F16)}}),
		"soup2":    mustNew(b, dtype.F32, 1, Piece{Op: Linear, Len: n, Terms: []Term{term(dtype.F32), term(dtype.F32)}}),
		"ema":      mustNew(b, dtype.F32, 1, Piece{Op: Linear, Mode: Fused, Len: n, Terms: []Term{term(dtype.F32), term(dtype.F32)}}),
	} {
		b.Run(name, func(b *testing.B) {
			src := codectest.Blob("gauss", dtype.F32, 2*n, 1)
			dst := make([]byte, n)
			var needs []Need
			var in [][]byte
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				needs, in = r.Needs(needs[:0], 0, n), in[:0]
				for _, need := range needs {
					in = append(in, src[need.Off:need.Off+need.Len])
				}
				if err := r.Eval(dst, 0, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
