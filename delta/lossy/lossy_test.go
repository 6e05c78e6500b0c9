package lossy

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/codectest"
	"coral/delta/element"
	"coral/delta/format/dtype"
)

var kinds = []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16}

// coded is the codec of what a method makes.
func coded(m Method, base []byte) Codec {
	switch {
	case m == Int8 && base == nil:
		return Quant8
	case m == Int16 && base == nil:
		return Quant16
	case m == Int8:
		return Quant8Base
	case m == Int16:
		return Quant16Base
	}
	return Axis
}

// TestApproximationsAreCoded: what each method makes of a near block is found by its codec, comes back, is as near as it says, and
// takes no more than its bits.
func TestApproximationsAreCoded(t *testing.T) {
	m, a := new(Coder), new(Approximator)
	for _, tt := range []struct {
		method   Method
		dt       dtype.Kind
		relation string
		most     float64 // stored bits an element
		l2       float64 // relative
		exact    bool    // the codec must find it
	}{
		{Int8, dtype.F32, "near", 7.6, 2e-4, true},
		{Int8, dtype.F32, "none", 7.6, 0.012, true},
		{Int8, dtype.F32, "sparse", 2, 1e-4, true},
		{Int8, dtype.BF16, "none", 7.6, 0.02, true},
		{Int8, dtype.F16, "none", 7.6, 0.02, true},
		{Int8, dtype.F16, "near", 7.6, 2e-3, true},
		{Int16, dtype.F32, "near", 15.6, 1e-6, true},
		{Int16, dtype.F32, "none", 15.6, 5e-5, true},
		{PerAxis, dtype.F32, "near", 1.6, 0.02, true},
		{PerAxis, dtype.BF16, "near", 1.6, 0.02, true},
		{PerAxis, dtype.F16, "near", 1.6, 0.02, true},
	} {
		name := fmt.Sprint(tt.method, tt.dt, tt.relation)
		raw := codectest.Blob("gauss", tt.dt, MaxBlock, 1)
		base := codectest.Base(tt.relation, raw, tt.dt, 2)
		if base != nil { // rows that differ by other amounts
			for i := 0; i < len(base)/2; i += 512 {
				copy(base[i:i+256], raw[i:i+256])
			}
		}
		was := bytes.Clone(raw)
		var e Errors
		if !a.Block(raw, base, tt.dt, Params{Method: tt.method}, 64, 5, &e) {
			t.Errorf("%s: not approximated", name)
			continue
		}
		if got := e.RelativeL2(); got > tt.l2 || got == 0 || e.MaxAbs == 0 || e.Cosine() < 1-tt.l2 || e.Elements != int64(len(raw)/tt.dt.Width()) || bytes.Equal(was, raw) {
			t.Errorf("%s: %+v, relative %.3g, cosine %v", name, e, got, e.Cosine())
		}
		out, ok := m.Encode(coded(tt.method, base), tt.dt, nil, raw, base)
		bits := 8 * float64(len(out)) / float64(e.Elements)
		t.Logf("%s: %.2f bits an element, relative error %.3g, coded %v", name, bits, e.RelativeL2(), ok)
		if !ok {
			if tt.exact {
				t.Errorf("%s: the codec does not find its approximation", name)
			}
			continue
		}
		if bits > tt.most {
			t.Errorf("%s: %.2f bits an element, at most %.2f", name, bits, tt.most)
		}
		got := make([]byte, len(raw))
		if err := m.Decode(coded(tt.method, base), tt.dt, got, out, base); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: other bytes come back, or %v", name, err)
		}
	}
}

// TestBlockBounds: errors and values of small blocks, by hand.
func TestBlockBounds(t *testing.T) {
	a := new(Approximator)
	f32 := func(v ...float32) []byte {
		b := make([]byte, 4*len(v))
		element.Store(b, v, dtype.F32)
		return b
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tt := range []struct {
		name            string
		raw, base, want []byte // want nil: refused
		p               Params
	}{
		{"sparse", f32(1, 2, 3.5), f32(1.25, 2, 3), f32(1.25, 2, 3.5), Params{Method: Sparse, Threshold: 0.25}},
		{"sparse alone", f32(0.1, -0.5, 2), nil, f32(0, 0, 2), Params{Method: Sparse, Threshold: 0.5}},
		{"per axis", f32(2, 0, 5, 5), f32(1, 1, 4, 4), f32(2, 0, 5, 5), Params{Method: PerAxis}},
		{"int8", f32(127, 1.4, -3), nil, f32(127, 1, -3), Params{Method: Int8}},
		{"int8 of zeros", f32(0, 0), nil, f32(0, 0), Params{Method: Int8}},
		{"int8 of the base", f32(1, 3), f32(1, 3), f32(1, 3), Params{Method: Int8}},
		{"empty", nil, nil, []byte{}, Params{Method: Int8}},
		{"tail", append(f32(127, 1.4), 1, 2, 3), nil, append(f32(127, 1), 1, 2, 3), Params{Method: Int8}},
		{"NaN", f32(1, nan), nil, nil, Params{Method: Int8}},
		{"infinity", f32(1, inf), f32(1, 1), nil, Params{Method: Sparse, Threshold: 1}},
		{"NaN in the base", f32(1, 1), f32(1, nan), nil, Params{Method: Int16}},
		{"overflow", f32(math.MaxFloat32), f32(-math.MaxFloat32), nil, Params{Method: Int8}},
		{"per axis alone", f32(1), nil, nil, Params{Method: PerAxis}},
		{"other length of base", f32(1, 2), f32(1), nil, Params{Method: Int8}},
	} {
		raw := append([]byte{}, tt.raw...)
		var e Errors
		ok := a.Block(raw, tt.base, dtype.F32, tt.p, 2, 0, &e)
		switch {
		case ok != (tt.want != nil):
			t.Errorf("%s: approximated: %v", tt.name, ok)
		case ok && !bytes.Equal(raw, tt.want):
			t.Errorf("%s: % x, want % x", tt.name, raw, tt.want)
		case !ok && (!bytes.Equal(raw, tt.raw) || e != Errors{}):
			t.Errorf("%s: refused and changed", tt.name)
		}
	}
	if a.Block(make([]byte, 64), nil, dtype.I32, Params{}, 1, 0, new(Errors)) || a.Block(make([]byte, MaxBlock+4), nil, dtype.F32, Params{}, 1, 0, new(Errors)) {
		t.Error("integers, or a long block, approximated")
	}
}

func TestErrors(t *testing.T) {
	var e, sum Errors
	if e.RelativeL2() != 0 || e.Cosine() != 1 {
		t.Errorf("nothing: %v, %v", e.RelativeL2(), e.Cosine())
	}
	e.add([]float32{3, 4}, []float32{3, 3})
	if got := e.RelativeL2(); math.Abs(got-0.2) > 1e-12 || e.MaxAbs != 1 || math.Abs(e.Cosine()-21/math.Sqrt(25*18)) > 1e-12 {
		t.Errorf("%+v: %v, %v", e, got, e.Cosine())
	}
	sum.Add(e)
	sum.Add(e)
	if sum.Elements != 4 || math.Abs(sum.RelativeL2()-0.2) > 1e-12 {
		t.Errorf("sum: %+v", sum)
	}
	var zero Errors
	zero.add([]float32{0}, []float32{1})
	if zero.RelativeL2() != 1 || zero.Cosine() != 0 {
		t.Errorf("of zeros: %v, %v", zero.RelativeL2(), zero.Cosine())
	}
}

func TestMethods(t *testing.T) {
	for m := range methods {
		if got, err := ParseMethod(m.String()); got != m || err != nil {
			t.Errorf("%s: %s, %v", m, got, err)
		}
	}
	for name, want := range map[string]Method{"int8_quantized": Int8, "int16_quantized": Int16, "per_axis_scaled": PerAxis} {
		if got, err := ParseMethod(name); got != want || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := ParseMethod("int4"); err == nil {
		t.Error("int4 is a method")
	}
	for _, bad := range []Params{{Method: methods}, {Method: Sparse}, {Method: Sparse, Threshold: -1}, {Method: Sparse, Threshold: math.NaN()}, {Method: Sparse, Threshold: math.Inf(1)}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// TestAnyBlock: whatever is given, a refusal changes nothing, and what is coded comes back.
func TestAnyBlock(t *testing.T) {
	m, a := new(Coder), new(Approximator)
	rapid.Check(t, func(t *rapid.T) {
		dt := rapid.SampledFrom(kinds).Draw(t, "kind")
		raw := codectest.Blob(rapid.SampledFrom(codectest.Shapes).Draw(t, "shape"), dt, rapid.IntRange(0, 700).Draw(t, "length"), rapid.Uint64().Draw(t, "seed"))
		base := codectest.Base(rapid.SampledFrom([]string{"none", "same", "near", "sparse", "far"}).Draw(t, "relation"), raw, dt, 3)
		p := Params{Method: Method(rapid.IntRange(0, int(methods)-1).Draw(t, "method")), Threshold: rapid.Float64Range(1e-6, 1).Draw(t, "threshold")}
		row := int64(rapid.IntRange(1, 300).Draw(t, "row"))
		var e Errors
		was := bytes.Clone(raw)
		if !a.Block(raw, base, dt, p, row, int64(rapid.IntRange(0, int(row)-1).Draw(t, "first")), &e) && !bytes.Equal(was, raw) {
			t.Fatal("refused and changed")
		}
		if r := e.RelativeL2(); !(r >= 0) || !(math.Abs(e.Cosine()) <= 1) {
			t.Fatalf("relative error %v, cosine %v", r, e.Cosine())
		}
		for _, c := range []Codec{Quant8, Quant16, Quant8Base, Quant16Base, Axis} {
			under := base
			if !c.needsBase() {
				under = nil
			}
			out, ok := m.Encode(c, dt, []byte("x"), raw, under)
			if !ok {
				continue
			}
			got := make([]byte, len(raw))
			if err := m.Decode(c, dt, got, out[1:], under); err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("codec %d: other bytes come back, or %v", c, err)
			}
		}
	})
}

func TestSuite(t *testing.T) {
	m := new(Coder)
	for _, c := range []Codec{Quant8, Quant16, Quant8Base, Quant16Base, Axis} {
		codectest.Run(t, codectest.Block{
			Encode: func(dt dtype.Kind, raw, base []byte) ([]byte, []byte, bool) {
				if !c.needsBase() {
					base = nil
				}
				out, ok := m.Encode(c, dt, nil, raw, base)
				return nil, out, ok
			},
			Decode: func(dt dtype.Kind, _, dst, stored, base []byte) error { return m.Decode(c, dt, dst, stored, base) },
		}, []dtype.Kind{dtype.F32, dtype.F16}, []string{"near"})
	}
}

func FuzzDecode(f *testing.F) {
	m, a := new(Coder), new(Approximator)
	for i, dt := range kinds {
		for _, p := range []Method{Int8, Int16, PerAxis} {
			for _, relation := range []string{"near", "none"} {
				raw := codectest.Blob("gauss", dt, 403, 1)
				base := codectest.Base(relation, raw, dt, 2)
				if !a.Block(raw, base, dt, Params{Method: p}, 20, 3, new(Errors)) {
					continue
				}
				if out, ok := m.Encode(coded(p, base), dt, nil, raw, base); ok {
					f.Add(uint8(coded(p, base)), uint8(i), uint16(len(raw)), out, base)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, c, k uint8, n uint16, stored, base []byte) {
		dst := make([]byte, n)
		base = append(base, make([]byte, max(0, int(n)-len(base)))...)[:n]
		if !Codec(c % 6).needsBase() {
			base = nil
		}
		_ = m.Decode(Codec(c%6), kinds[int(k)%len(kinds)], dst, stored, base)
	})
}

func BenchmarkCode(b *testing.B) {
	m, a := new(Coder), new(Approximator)
	for _, p := range []Method{Int8, Int16, PerAxis} {
		raw := codectest.Blob("gauss", dtype.F32, MaxBlock, 1)
		base := codectest.Base("near", raw, dtype.F32, 2)
		a.Block(raw, base, dtype.F32, Params{Method: p}, 384, 0, new(Errors))
		c := coded(p, base)
		out, ok := m.Encode(c, dtype.F32, nil, raw, base)
		if !ok {
			b.Fatal(p, "is not found")
		}
		b.Run("encode/"+p.String(), func(b *testing.B) {
			b.SetBytes(MaxBlock)
			b.ReportAllocs()
			for b.Loop() {
				out, _ = m.Encode(c, dtype.F32, out[:0], raw, base)
			}
			b.ReportMetric(float64(len(out))/MaxBlock, "ratio")
		})
		dst := make([]byte, MaxBlock)
		b.Run("decode/"+p.String(), func(b *testing.B) {
			b.SetBytes(MaxBlock)
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Decode(c, dtype.F32, dst, out, base); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
