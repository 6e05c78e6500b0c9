package similar

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta/format/dtype"
)

func f32(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, e := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(e))
	}
	return b
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.02)
	}
	return x
}

func apply(x []float32, fn func(float64) float64) []float32 {
	y := make([]float32, len(x))
	for i, e := range x {
		y[i] = float32(fn(float64(e)))
	}
	return y
}

func mustMake(t *testing.T, raw []byte, dt dtype.Kind) Sketch {
	t.Helper()
	s, ok := Make(raw, dt)
	if !ok {
		t.Fatalf("no sketch of %d bytes of %s", len(raw), dt)
	}
	return s
}

// lengths have samples that are all of the tensor, one more, many, and more than a unit.
var lengths = []int{MinElements, 100, 255, 4095, 4096, 4097, 147456, 5_000_000}

// TestGolden fails when fingerprints change: then Version must.
func TestGolden(t *testing.T) {
	for n, want := range map[int]string{
		300:    goldenSmall,
		147456: goldenLarge,
	} {
		s := mustMake(t, f32(normal(rand.New(rand.NewPCG(7, 7)), n)), dtype.F32)
		if got := hex.EncodeToString(s.Fingerprint[:]); got != want {
			t.Errorf("%d elements: %s, want %s", n, got, want)
		}
	}
}

// TestAngle compares distances with what the correlation says.
func TestAngle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{4096, 147456} {
		for _, want := range []float64{0, 0.5, 0.9, 0.98, 0.999, -0.98} {
			x, z := normal(rng, n), normal(rng, n)
			y := make([]float32, n)
			for i := range y {
				y[i] = float32(want*float64(x[i]) + math.Sqrt(1-want*want)*float64(z[i]))
			}
			a, b := mustMake(t, f32(x), dtype.F32), mustMake(t, f32(y), dtype.F32)
			d := a.Fingerprint.Distance(&b.Fingerprint)
			p := math.Acos(want) / math.Pi
			if slack := 4 * math.Sqrt(Bits*p*(1-p)); math.Abs(float64(d)-Bits*p) > slack+1 {
				t.Errorf("%d elements of correlation %v: distance %d, want %.0f ± %.0f", n, want, d, Bits*p, slack)
			}
			var m Moments
			m.Add(x, y)
			if math.Abs(m.Correlation()-want) > 0.05 {
				t.Errorf("correlation %v, want %v", m.Correlation(), want)
			}
		}
	}
}

func TestScaleOffsetAndDType(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, n := range lengths {
		x := normal(rng, n)
		want := mustMake(t, f32(x), dtype.F32)
		if want.Count != uint32(min(n, Unit)) || want.DType != dtype.F32 {
			t.Errorf("%d elements: count %d, dtype %s", n, want.Count, want.DType)
		}
		bf := make([]byte, 0, 2*n)
		for _, e := range x {
			bf = binary.LittleEndian.AppendUint16(bf, uint16(math.Float32bits(e)>>16))
		}
		f64 := make([]byte, 0, 8*n)
		for _, e := range x {
			f64 = binary.LittleEndian.AppendUint64(f64, math.Float64bits(float64(e)*1e-60)) // below float32
		}
		f64big := make([]byte, 0, 8*n)
		for _, e := range x {
			f64big = binary.LittleEndian.AppendUint64(f64big, math.Float64bits(float64(e)*8))
		}
		for _, c := range []struct {
			name  string
			raw   []byte
			dt    dtype.Kind
			slack int
		}{
			{"scaled", f32(apply(x, func(e float64) float64 { return e * 1024 })), dtype.F32, 0},
			{"moved", f32(apply(x, func(e float64) float64 { return e + 1 })), dtype.F32, 2},
			{"bf16", bf, dtype.BF16, 6},
			{"f64", f64big, dtype.F64, 0},
			{"odd tail", append(f32(x), 1, 2, 3), dtype.F32, 0},
		} {
			got := mustMake(t, c.raw, c.dt)
			if d := got.Fingerprint.Distance(&want.Fingerprint); d > c.slack || got.Count != want.Count {
				t.Errorf("%s, %d elements: distance %d, want at most %d; count %d", c.name, n, d, c.slack, got.Count)
			}
		}
		if _, ok := Make(f64, dtype.F64); ok {
			t.Errorf("a sketch of F64 that are all 0 as float32")
		}
	}
}

// TestIntegers writes the same numbers in every dtype that holds them.
func TestIntegers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x := make([]float32, 9000)
	for i := range x {
		x[i] = float32(rng.IntN(16)) // exact in E4M3 and E5M2 when divided by 2
	}
	want := mustMake(t, f32(x), dtype.F32)
	for _, dt := range []dtype.Kind{dtype.F64, dtype.F16, dtype.BF16, dtype.I64, dtype.I32, dtype.I16, dtype.I8, dtype.U64, dtype.U32, dtype.U16, dtype.U8, dtype.F8E4M3} {
		var raw []byte
		for _, e := range x {
			switch dt {
			case dtype.F64:
				raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(float64(e)))
			case dtype.F16:
				raw = binary.LittleEndian.AppendUint16(raw, halfOf(e))
			case dtype.BF16:
				raw = binary.LittleEndian.AppendUint16(raw, uint16(math.Float32bits(e)>>16))
			case dtype.F8E4M3:
				raw = append(raw, quarterOf(e))
			default:
				b := binary.LittleEndian.AppendUint64(nil, uint64(e))
				raw = append(raw, b[:dt.Width()]...)
			}
		}
		got := mustMake(t, raw, dt)
		if got.Fingerprint != want.Fingerprint {
			t.Errorf("%s: another fingerprint than F32", dt)
		}
	}
	c := mustMake(t, f32(x), dtype.C64)
	if c.Fingerprint != want.Fingerprint || c.Count != want.Count {
		t.Error("C64: another sketch than its parts")
	}
}

// halfOf and quarterOf find the code of a value by trying all.
func halfOf(e float32) uint16 {
	for h := range 1 << 15 {
		if half(uint16(h)) == e {
			return uint16(h)
		}
	}
	return 0
}

func quarterOf(e float32) uint8 {
	for q := range 128 {
		if quarter(uint8(q)) == e {
			return uint8(q)
		}
	}
	return 0
}

// TestSmallFloats compares every F16 and F8 with the definition.
func TestSmallFloats(t *testing.T) {
	value := func(code uint32, expBits, manBits, bias int) float64 {
		man, exp, sign := code&(1<<manBits-1), int(code>>manBits)&(1<<expBits-1), code>>(expBits+manBits)
		v := math.Ldexp(float64(man), 1-bias-manBits)
		if exp > 0 {
			v = math.Ldexp(float64(man|1<<manBits), exp-bias-manBits)
		}
		return math.Copysign(v, 1-2*float64(sign))
	}
	for c := range uint32(1 << 16) {
		got := float64(half(uint16(c)))
		switch {
		case c>>10&31 == 31 && c&1023 == 0:
			if !math.IsInf(got, 1-2*int(c>>15)) {
				t.Fatalf("half %x is %v", c, got)
			}
		case c>>10&31 == 31:
			if !math.IsNaN(got) {
				t.Fatalf("half %x is %v", c, got)
			}
		case math.Float64bits(got) != math.Float64bits(value(c, 5, 10, 15)):
			t.Fatalf("half %x is %v, want %v", c, got, value(c, 5, 10, 15))
		}
	}
	for c := range uint32(256) {
		got := float64(quarter(uint8(c)))
		if c&127 == 127 {
			if !math.IsNaN(got) {
				t.Errorf("E4M3 %x is %v", c, got)
			}
		} else if math.Float64bits(got) != math.Float64bits(value(c, 4, 3, 7)) {
			t.Errorf("E4M3 %x is %v, want %v", c, got, value(c, 4, 3, 7))
		}
	}
}

func TestNothingToGoBy(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	constant := func(v float32, n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = v
		}
		return x
	}
	for name, c := range map[string]struct {
		raw []byte
		dt  dtype.Kind
	}{
		"empty":    {nil, dtype.F32},
		"short":    {f32(normal(rand.New(rand.NewPCG(1, 1)), MinElements-1)), dtype.F32},
		"zero":     {f32(constant(0, 5000)), dtype.F32},
		"constant": {f32(constant(0.1, 5000)), dtype.F32},
		"NaN":      {f32(constant(nan, 5000)), dtype.F32},
		"Inf":      {f32(constant(inf, 5000)), dtype.F32},
		"bytes":    {make([]byte, 5000), dtype.Bytes},
		"packed":   {make([]byte, 5000), dtype.Q4_0},
		"bool":     {make([]byte, 5000), dtype.Bool},
	} {
		if _, ok := Make(c.raw, c.dt); ok {
			t.Errorf("%s: a sketch", name)
		}
	}
	// A few bad values change little.
	x := normal(rand.New(rand.NewPCG(1, 1)), 9000)
	a := mustMake(t, f32(x), dtype.F32)
	for i := 0; i < len(x); i += 500 {
		x[i] = []float32{nan, inf, -inf}[i/500%3]
	}
	b := mustMake(t, f32(x), dtype.F32)
	if d := a.Fingerprint.Distance(&b.Fingerprint); d > 20 {
		t.Errorf("distance %d after NaN and Inf in one of 500", d)
	}
	// The largest numbers do not overflow.
	mustMake(t, f32(apply(normal(rand.New(rand.NewPCG(1, 1)), 9000), func(e float64) float64 { return math.Copysign(math.MaxFloat32, e) })), dtype.F32)
}

// TestNorms are the case for taking the mean away: the weights of a norm lie near 1, all of them.
func TestNorms(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	near1 := func() []float32 {
		return apply(normal(rng, 8192), func(e float64) float64 { return 1 + e })
	}
	x, y := near1(), near1()
	var m Moments
	m.Add(x, y)
	a, b := mustMake(t, f32(x), dtype.F32), mustMake(t, f32(y), dtype.F32)
	if m.Cosine() < 0.99 || math.Abs(m.Correlation()) > 0.1 || Cosine(a.Fingerprint.Distance(&b.Fingerprint)) > 0.5 {
		t.Errorf("cosine %.3f, correlation %.3f, distance %d", m.Cosine(), m.Correlation(), a.Fingerprint.Distance(&b.Fingerprint))
	}
}

// TestSteps has rows of every power of two: samples at equal steps would see a few columns only.
func TestSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for cols := 2; cols <= 1024; cols *= 2 {
		x, y := normal(rng, 1<<20), normal(rng, 1<<20)
		for i := range y { // equal in one column
			if i%cols == cols/2 {
				y[i] = x[i]
			}
		}
		a, b := mustMake(t, f32(x), dtype.F32), mustMake(t, f32(y), dtype.F32)
		want := 1 / float64(cols)
		if got := Cosine(a.Fingerprint.Distance(&b.Fingerprint)); math.Abs(got-want) > 0.4 {
			t.Errorf("rows of %d: cosine %.2f, want %.2f", cols, got, want)
		}
	}
}

func TestMoments(t *testing.T) {
	var m Moments
	m.Add([]float32{1, 2, float32(math.NaN()), 3}, []float32{2, 4, 1, 6})
	if c, r := m.Cosine(), m.Correlation(); math.Abs(c-1) > 1e-12 || math.Abs(r-1) > 1e-12 {
		t.Errorf("cosine %v, correlation %v of multiples", c, r)
	}
	m = Moments{}
	m.Add([]float32{1, 2, 3, 5}, []float32{-4, 0, 1, 1})
	if c, r := m.Cosine(), m.Correlation(); math.Abs(c-0.1509703) > 1e-6 || math.Abs(r-0.7789241) > 1e-6 {
		t.Errorf("cosine %v, correlation %v", c, r)
	}
	for _, c := range []struct {
		x, y float32
		want float64
	}{{0, 0, 1}, {0, 1, 0}, {1, 2, 1}} {
		m = Moments{}
		m.Add([]float32{c.x, c.x}, []float32{c.y, c.y})
		if got := m.Cosine(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("cosine of constants %v and %v: %v, want %v", c.x, c.y, got, c.want)
		}
	}
	if r := (&Moments{}).Correlation(); r != 0 {
		t.Errorf("correlation of nothing: %v", r)
	}
}

func TestKeysAndDistances(t *testing.T) {
	s := Sketch{Count: 147456}
	for i := range s.Fingerprint {
		s.Fingerprint[i] = byte(i)
	}
	keys := s.Keys()
	other := s
	other.Fingerprint[5] ^= 0x10
	for i, k := range other.Keys() {
		if (k == keys[i]) == (i == 2) {
			t.Errorf("table %d: key %x and %x after a change in byte 5", i, keys[i], k)
		}
	}
	other = s
	other.Count++
	for i, k := range other.Keys() {
		if k == keys[i] || k&0xFFFF != keys[i]&0xFFFF {
			t.Errorf("table %d: key %x and %x of another count", i, keys[i], k)
		}
	}
	if d := MaxDistance(0.98); d != 24 {
		t.Errorf("MaxDistance(0.98) = %d", d)
	}
	if MaxDistance(1) != 0 || MaxDistance(2) != 0 || MaxDistance(-1) != Bits || Cosine(0) != 1 || math.Abs(Cosine(128)) > 1e-12 {
		t.Error("ends of the scale")
	}
}

func FuzzMake(f *testing.F) {
	f.Add(f32(normal(rand.New(rand.NewPCG(1, 1)), 200)), uint8(dtype.F32))
	f.Add(make([]byte, 300), uint8(dtype.U8))
	f.Add([]byte{1}, uint8(dtype.C128))
	f.Fuzz(func(t *testing.T, raw []byte, dt uint8) {
		a, ok := Make(raw, dtype.Kind(dt))
		b, again := Make(raw, dtype.Kind(dt))
		if ok != again || a != b {
			t.Error("two sketches of the same bytes differ")
		}
		x := make([]float32, 64)
		if n := Floats(x, raw, dtype.Kind(dt)); n > 64 || n > len(raw) {
			t.Errorf("%d floats of %d bytes", n, len(raw))
		}
	})
}

func BenchmarkMake(b *testing.B) {
	for _, n := range []int{4096, 147456, 4 << 20} {
		raw := f32(normal(rand.New(rand.NewPCG(1, 1)), n))
		b.Run(dtype.F32.String()+"/"+hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(n))), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for range b.N {
				if _, ok := Make(raw, dtype.F32); !ok {
					b.Fatal("no sketch")
				}
			}
		})
	}
}

const (
	goldenSmall = "54013e682988902f0b2afeab8a11747712177215248c4e476210d25aaae22af5"
	goldenLarge = "58e7298bf65916cb45ca3d0c138ecfdf51035ab6eab828901a51653ac1686ae5"
)
