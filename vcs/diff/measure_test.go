package diff

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
)

// plain is what measure must give, by the definitions.
type plain struct {
	cos, rel, max          float64
	changed, zeroA, zeroB  int64
	nanA, nanB, infA, infB int64
	finite                 int64
	median, maxULP         uint64
}

func byDefinition(k dtype.Kind, ba, bb []byte) (p plain) {
	n := len(ba) / values.Width(k)
	a, b := make([]float64, n), make([]float64, n)
	values.Decode(a, ba, k)
	values.Decode(b, bb, k)
	w := values.Width(k)
	var aa, bb2, ab, dd float64
	var dist []uint64
	for i := range a {
		if string(ba[i*w:(i+1)*w]) != string(bb[i*w:(i+1)*w]) {
			p.changed++
		}
		for _, c := range []struct {
			v              float64
			nan, inf, zero *int64
		}{{a[i], &p.nanA, &p.infA, &p.zeroA}, {b[i], &p.nanB, &p.infB, &p.zeroB}} {
			switch {
			case math.IsNaN(c.v):
				*c.nan++
			case math.IsInf(c.v, 0):
				*c.inf++
			case c.v == 0:
				*c.zero++
			}
		}
		if math.IsNaN(a[i]) || math.IsNaN(b[i]) || math.IsInf(a[i], 0) || math.IsInf(b[i], 0) {
			continue
		}
		p.finite++
		aa, bb2, ab, dd = aa+a[i]*a[i], bb2+b[i]*b[i], ab+a[i]*b[i], dd+(b[i]-a[i])*(b[i]-a[i])
		p.max = math.Max(p.max, math.Abs(b[i]-a[i]))
		dist = append(dist, distance(k, ba[i*w:], bb[i*w:]))
	}
	s := sums{n: int64(n), finite: p.finite, aa: aa, bb: bb2, ab: ab, dd: dd}
	p.cos, p.rel = s.cosine(), s.relL2()
	slices.Sort(dist)
	if len(dist) > 0 {
		p.median, p.maxULP = dist[(len(dist)-1)/2], dist[len(dist)-1]
	}
	return p
}

// distance counts floats between two, by 16-bit kinds' patterns in order.
func distance(k dtype.Kind, a, b []byte) uint64 {
	order := func(p []byte) int64 {
		switch values.Width(k) {
		case 4:
			v := binary.LittleEndian.Uint32(p)
			if v>>31 != 0 {
				return -int64(v &^ (1 << 31))
			}
			return int64(v)
		case 2:
			v := binary.LittleEndian.Uint16(p)
			if v>>15 != 0 {
				return -int64(v &^ (1 << 15))
			}
			return int64(v)
		}
		if k == dtype.F8E8M0 {
			return int64(p[0])
		}
		if p[0]>>7 != 0 {
			return -int64(p[0] &^ 0x80)
		}
		return int64(p[0])
	}
	d := order(a) - order(b)
	return uint64(max(d, -d))
}

// TestMeasureByDefinition: any bytes of any kind, with NaN, infinities, denormals and both zeros as they come, in lengths around the steps.
func TestMeasureByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom([]dtype.Kind{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3, dtype.F8E5M2, dtype.F8E8M0}).Draw(t, "kind")
		w := values.Width(k)
		n := rapid.SampledFrom([]int{0, 1, 2, 3, 100, valuesPerStep - 1, valuesPerStep + 1}).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		wild := rapid.Bool().Draw(t, "any bits")
		ba := encode(k, normal(n, seed, 1))
		bb := slices.Clone(ba)
		moved := normal(n, seed+1, 1)
		for i := range n {
			if math.Abs(moved[i]) > 0.5 {
				bb[i*w] ^= byte(i)
				if wild {
					bits := math.Float64bits(moved[i])
					for j := range w {
						bb[i*w+j] = byte(bits >> (8 * j))
						ba[i*w+j] = byte(bits >> (8*j + 16))
					}
				}
			}
		}
		if n > 3 && w > 1 {
			clear(bb[:w])
			clear(ba[w : 2*w])
			ba[2*w-1] = 0x80 // −0
		}
		shape := []int64{int64(n)}
		m, err := newWorker(bg, func(int64) {}).pair(rawOperand(k, ba, shape), rawOperand(k, bb, shape), int64(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := byDefinition(k, ba, bb)
		if m.changed != want.changed || m.zeroA != want.zeroA || m.zeroB != want.zeroB || m.nanA != want.nanA || m.nanB != want.nanB || m.infA != want.infA || m.infB != want.infB || m.finite != want.finite {
			t.Fatalf("%s: counts %+v, want %+v", k, m.sums, want)
		}
		if !near(m.cosine(), want.cos, 1e-12) && math.Abs(m.cosine()-want.cos) > 1e-12 || !near(m.relL2(), want.rel, 1e-12) || m.max != want.max {
			t.Fatalf("%s: cos %v rel %v max %v, want %+v", k, m.cosine(), m.relL2(), m.max, want)
		}
		if m.ulpMax != want.maxULP || want.median < ulpExact && m.median != want.median || math.Abs(float64(m.median)-float64(want.median)) > float64(want.median)/100 {
			t.Fatalf("%s: ulp %d, at most %d, want %+v", k, m.median, m.ulpMax, want)
		}
	})
}

func TestMeasureEdges(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name          string
		k             dtype.Kind
		a, b          []float64
		cos, rel, max float64
	}{
		{"equal", dtype.F32, []float64{1, 2}, []float64{1, 2}, 1, 0, 0},
		{"empty", dtype.F32, nil, nil, 1, 0, 0},
		{"one, opposite", dtype.F32, []float64{1}, []float64{-1}, -1, 2, 2},
		{"both zero", dtype.F32, []float64{0, 0}, []float64{0, math.Copysign(0, -1)}, 1, 0, 0},
		{"from zero", dtype.F32, []float64{0, 0}, []float64{0, 3}, 0, inf, 3},
		{"to zero", dtype.F32, []float64{0, 3}, []float64{0, 0}, 0, 1, 3},
		{"all NaN", dtype.F32, []float64{nan}, []float64{nan}, nan, nan, 0},
		{"one NaN left out", dtype.F32, []float64{nan, 3, 4}, []float64{1, 3, 4}, 1, 0, 0},
		{"infinities left out", dtype.F32, []float64{inf, 3, 4}, []float64{inf, 3, 4}, 1, 0, 0},
		{"denormals of F32", dtype.F32, []float64{0x1p-149, 0}, []float64{0, 0x1p-149}, 0, math.Sqrt2, 0x1p-149},
		{"F64 too large to square", dtype.F64, []float64{3e300, 4e300}, []float64{4e300, 3e300}, 0.96, math.Sqrt2 / 5, 1e300},
		{"F64 too small to square", dtype.F64, []float64{3e-300, 4e-300}, []float64{4e-300, 3e-300}, 0.96, math.Sqrt2 / 5, 1e-300},
		{"F64 difference overflows", dtype.F64, []float64{1.7e308, 0}, []float64{-1.7e308, 0}, -1, 2, inf},
		{"integers", dtype.I64, []float64{3, -4}, []float64{3, 4}, -0.28, 8.0 / 5, 8},
		{"bools", dtype.Bool, []float64{1, 0}, []float64{1, 1}, 1 / math.Sqrt2, 1, 1},
		{"complex, by parts", dtype.C64, []float64{3, 4}, []float64{4, 3}, 0.96, math.Sqrt2 / 5, 1},
	} {
		m := measurePair(t, operandOf(c.k, c.a), operandOf(c.k, c.b))
		if !near(m.cosine(), c.cos, 1e-12) || !near(m.relL2(), c.rel, 1e-12) || !near(m.max, c.max, 1e-9) {
			t.Errorf("%s: cos %v rel %v max %v, want %v %v %v", c.name, m.cosine(), m.relL2(), m.max, c.cos, c.rel, c.max)
		}
	}
}

// A tensor that an I64 cannot hold as float64 has changed even so.
func TestChangedByBits(t *testing.T) {
	a := binary.LittleEndian.AppendUint64(nil, 1<<60)
	b := binary.LittleEndian.AppendUint64(nil, 1<<60+1)
	if m := measurePair(t, rawOperand(dtype.I64, a, []int64{1}), rawOperand(dtype.I64, b, []int64{1})); m.changed != 1 {
		t.Errorf("%d changed", m.changed)
	}
	q := make([]byte, 36)
	p := slices.Clone(q)
	p[3] = 1
	m := measurePair(t, rawOperand(dtype.GGUFOther, q, []int64{64}), rawOperand(dtype.GGUFOther, p, []int64{64}))
	if f := m.figures(); m.changed != 1 || !f.Opaque || !math.IsNaN(float64(f.Cosine)) || f.Elements != 36 {
		t.Errorf("packed: %+v", f)
	}
}

// Quantised blocks are compared by what they stand for: here d = 1 and quants of −8 … 7.
func TestQuantised(t *testing.T) {
	block := func(quants ...byte) []byte {
		b := append([]byte{0x00, 0x3c}, make([]byte, 16)...)
		for i := range 16 {
			b[2+i] = 0x88 // zeros
		}
		copy(b[2:], quants)
		return b
	}
	a := append(block(0x8b), block()...) // 3, then zeros
	b := append(block(0x8c), block()...) // 4
	m := measurePair(t, rawOperand(dtype.Q4_0, a, []int64{64}), rawOperand(dtype.Q4_0, b, []int64{64}))
	f := m.figures()
	if f.Opaque || f.Elements != 64 || f.Changed != 1.0/64 || f.MaxAbs != 1 || !near(float64(f.RelL2), 1.0/3, 1e-12) || f.Cosine != 1 || f.ULP != nil || f.Sparsity != 63.0/64 || !m.other {
		t.Errorf("%+v", f)
	}
	plain := make([]float64, 64)
	plain[0] = 3
	m = measurePair(t, operandOf(dtype.F32, plain), rawOperand(dtype.Q4_0, a, []int64{64}))
	if f := m.figures(); f.Changed != 0 || f.RelL2 != 0 || m.cast != castNone {
		t.Errorf("of another dtype: %+v", f)
	}
	zero := slices.Clone(a)
	zero[18], zero[19] = 0, 0 // the scale of a block of zeros: other bytes, the same values
	m = measurePair(t, rawOperand(dtype.Q4_0, a, []int64{64}), rawOperand(dtype.Q4_0, zero, []int64{64}))
	if m.changed != 0 || !m.other || m.dd != 0 {
		t.Errorf("other bytes: %+v", m.sums)
	}
}

func TestCasts(t *testing.T) {
	v := normal(20_000, 3, 1)
	f32 := make([]float64, len(v))
	values.Decode(f32, encode(dtype.F32, v), dtype.F32)
	cut := make([]float64, len(v)) // bits cut off, not rounded
	for i, x := range f32 {
		cut[i] = float64(math.Float32frombits(math.Float32bits(float32(x)) &^ 0xffff))
	}
	other := slices.Clone(f32)
	other[7] *= 1.5
	for _, c := range []struct {
		name   string
		ka, kb dtype.Kind
		a, b   []float64
		want   castKind
	}{
		{"F32 to BF16", dtype.F32, dtype.BF16, f32, f32, castExact}, {"F32 to F16", dtype.F32, dtype.F16, f32, f32, castExact}, {"F32 to F8", dtype.F32, dtype.F8E4M3, f32, f32, castExact},
		{"BF16 to F32", dtype.BF16, dtype.F32, f32, cut, castNear}, {"cut off", dtype.F32, dtype.BF16, f32, cut, castNear}, {"not", dtype.F32, dtype.BF16, f32, other, castNone},
		{"same dtype is none", dtype.F32, dtype.F32, f32, f32, castNone}, {"to integers", dtype.F32, dtype.I32, f32, f32, castNone},
	} {
		if m := measurePair(t, operandOf(c.ka, c.a), operandOf(c.kb, c.b)); m.cast != c.want {
			t.Errorf("%s: %d, want %d (ulp at most %d)", c.name, m.cast, c.want, m.ulpMax)
		}
	}
}

func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Uint64().Draw(t, "d") >> rapid.IntRange(0, 63).Draw(t, "shift")
		i := bucket(d)
		if i < 0 || i >= ulpBuckets {
			t.Fatalf("bucket %d of %d", i, d)
		}
		m := middle(i)
		if bucket(m) != i || d < ulpExact && m != d || math.Abs(float64(m)-float64(d)) > float64(d)/128*1.01 {
			t.Fatalf("%d is in bucket %d, whose middle is %d", d, i, m)
		}
	})
}

func TestDamagedTensorIsNoSuccess(t *testing.T) {
	a, b := operandOf(dtype.F32, []float64{1, 2, 3}), operandOf(dtype.F32, []float64{1, 2, 3})
	b.t.Length -= 4
	if _, err := newWorker(bg, func(int64) {}).pair(a, b, 3, nil); err == nil {
		t.Error("a tensor that is cut off compares")
	}
}

func BenchmarkMeasure(b *testing.B) {
	for _, k := range []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16} {
		b.Run(k.String(), func(b *testing.B) {
			n := 1 << 20
			v := normal(n, 1, 0.05)
			moved := normal(n, 2, 0.001)
			for i := range moved {
				moved[i] += v[i]
			}
			x, y := operandOf(k, v), operandOf(k, moved)
			w := newWorker(b.Context(), func(int64) {})
			b.SetBytes(2 * x.t.Length)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.pair(x, y, int64(n), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
