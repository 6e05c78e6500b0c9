package predict

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

// predictors are of each kind, weak and strong.
func predictors(t testing.TB) map[string]*Predictor {
	t.Helper()
	out := map[string]*Predictor{}
	add := func(name string, b ...byte) {
		p := new(Predictor)
		if err := p.Parse(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = p
	}
	replay := func(kind Kind, n int, c float32) []byte {
		p := Predictor{kind: kind, n: n, c: c}
		return p.Append(nil)
	}
	add("steps none", 1, 0, 0)
	add("steps down", 1, 0, 28, 128, 128, 128, 2, 131, 128, 1, 5, 128, 128, 2)
	add("steps up", 1, 1, 255, 30, 0, 128, 128, 2, 129, 32, 90)
	add("scale", replay(Scale, 15, 0.999)...)
	add("scale up", replay(Scale, 1, 1.0625)...)
	add("scale to nothing", replay(Scale, maxTimes, 1e-30)...)
	add("scale to infinity", replay(Scale, 3, math.MaxFloat32)...)
	add("lerp", replay(Lerp, 15, 0.1)...)
	add("lerp least", replay(Lerp, maxTimes, minLerp)...)
	add("lerp to zero", replay(Lerp, 2, 1)...)
	add("lerp odd", replay(Lerp, 7, 0.7)...)
	return out
}

// bases have elements of all sorts, of a length that is no multiple of anything.
func bases() map[string][]byte {
	out := map[string][]byte{}
	for _, shape := range codectest.Shapes {
		out[shape] = codectest.Blob(shape, dtype.F32, 4*(64*9+8*3+5)+3, 4)
	}
	return out
}

// plain is the map of a kind, from its description in docs/format-codecs.md.
func plain(p *Predictor, first uint32, b uint32) uint32 {
	f := math.Float32frombits(b)
	switch {
	case p.kind == Steps && b&0x7f800000 == 0, b<<1 == 0:
		return b
	case p.kind == Steps:
		units := first
		for _, s := range p.steps {
			if b&0x7fffff >= s.at {
				units += s.size
			}
		}
		if p.up != 0 {
			return b + units
		}
		return b - units
	}
	for range p.n {
		if p.kind == Scale {
			f = float32(f * p.c)
		} else {
			f = float32(math.FMA(-float64(f), float64(p.c), float64(f)))
		}
	}
	if f != f {
		return 0x7fc00000
	}
	return math.Float32bits(f)
}

func TestApply(t *testing.T) {
	for name, p := range predictors(t) {
		for shape, base := range bases() {
			got := make([]byte, len(base))
			p.Apply(got, base)
			for i := 0; i+4 <= len(base); i += 4 {
				b := le.Uint32(base[i:])
				if want := plain(p, p.bins[0]>>20, b); le.Uint32(got[i:]) != want {
					t.Fatalf("%s, %s: %08x predicts %08x, want %08x", name, shape, b, le.Uint32(got[i:]), want)
				}
			}
			if n := len(base) &^ 3; !bytes.Equal(got[n:], base[n:]) {
				t.Fatalf("%s, %s: the bytes after the last element are not the base's", name, shape)
			}
		}
	}
}

func TestStoredForm(t *testing.T) {
	for name, p := range predictors(t) {
		b := p.Append(nil)
		var q Predictor
		if err := q.Parse(b); err != nil || !bytes.Equal(q.Append(nil), b) {
			t.Errorf("%s: %x comes back as %x, %v", name, b, q.Append(nil), err)
		}
		if q.bins != p.bins {
			t.Errorf("%s: bins differ", name)
		}
	}
	for name, b := range map[string][]byte{
		"empty":              {},
		"no kind":            {0, 0, 0},
		"kind 4":             {4, 1, 0, 0, 0, 128, 63},
		"direction 2":        {1, 2, 0},
		"no units":           {1, 0},
		"4096 units":         {1, 0, 128, 32},
		"sum of 4096":        {1, 0, 255, 31, 2},
		"long number":        {1, 0, 129, 0},
		"a step of 1 as odd": {1, 0, 1, 3, 1},
		"a step of 512":      {1, 0, 1, 3, 128, 4},
		"two in a bin":       {1, 0, 1, 2, 2},
		"past the mantissa":  {1, 0, 1, 128, 128, 128, 8},
		"cut":                {1, 0, 1, 3},
		"scale 0 times":      {2, 0, 0, 0, 0, 128, 63},
		"scale 257 times":    {2, 1, 1, 0, 0, 128, 63},
		"scale by 0":         {2, 1, 0, 0, 0, 0, 0},
		"scale by -1":        {2, 1, 0, 0, 0, 128, 191},
		"scale by NaN":       {2, 1, 0, 0, 0, 192, 127},
		"scale by infinity":  {2, 1, 0, 0, 0, 128, 127},
		"lerp by 2":          {3, 1, 0, 0, 0, 0, 64},
		"lerp by 1/128":      {3, 1, 0, 0, 0, 0, 60},
		"too long":           {3, 1, 0, 0, 0, 128, 63, 0},
	} {
		if err := new(Predictor).Parse(b); err == nil {
			t.Errorf("%s: %x was taken", name, b)
		}
	}
}

// history is a tensor before and after so many optimizer steps: of the rows of 384 elements, one in touched was
// moved by gradients, all others by what move does.
func history(n, touched int, sigma float64, move func(f float32) float32) (raw, base []byte) {
	r := rand.New(rand.NewPCG(uint64(n), 5))
	for i := range n {
		f := float32(sigma * r.NormFloat64())
		base = le.AppendUint32(base, math.Float32bits(f))
		if f = move(f); i/384%touched == 0 {
			f += float32(sigma * 1e-2 * r.NormFloat64())
		}
		raw = le.AppendUint32(raw, math.Float32bits(f))
	}
	return raw, base
}

// decay is AdamW's of untouched weights: w *= 1 - lr*wd, with lr as the schedule has it.
func decay(steps int, rate func(i int) float64) func(f float32) float32 {
	return func(f float32) float32 {
		for i := range steps {
			f = float32(f * float32(1-rate(i)))
		}
		return f
	}
}

// undo returns the inverse of move, or nearly: the greatest float of those that move takes to f or below.
func undo(move func(float32) float32) func(float32) float32 {
	return func(f float32) float32 {
		bits := math.Float32bits(f)
		for k := range uint32(200) {
			if g := math.Float32frombits(bits + k); math.Abs(float64(move(g))) > math.Abs(float64(f)) {
				return math.Float32frombits(bits + k - 1)
			}
		}
		return f
	}
}

// TestFit finds what moved the rows without gradient, and hits nearly all of their elements.
func TestFit(t *testing.T) {
	constant := func(c float64) func(int) float64 { return func(int) float64 { return c } }
	lerp := func(f float32) float32 {
		for range 15 {
			f = float32(float64(f) - float64(float64(f)*float64(float32(0.1))))
		}
		return f
	}
	for _, tt := range []struct {
		name    string
		move    func(float32) float32
		touched int
		kind    Kind
		hit     float64 // of all elements
	}{
		{"AdamW, falling rate", decay(15, func(i int) float64 { return 5e-7 * float64(60-i) / 60 }), 17, Steps, 0.93},
		{"AdamW, rate below an ulp", decay(100, constant(1e-7)), 17, Steps, 0.93},
		{"AdamW, long", decay(500, constant(3e-7)), 17, Steps, 0.92},
		{"AdamW, most rows touched", decay(15, constant(5e-7)), 1, 0, 0},
		{"growth", decay(20, constant(-4e-7)), 17, Steps, 0.93},
		{"AdamW, undone", undo(decay(15, func(i int) float64 { return 5e-7 * float64(60-i) / 60 })), 17, Steps, 0.93},
		{"AdamW, strong", decay(50, constant(1.3e-4)), 17, Scale, 0.1},
		{"second moment", decay(15, constant(0.001)), 17, Scale, 0.93},
		{"first moment", lerp, 17, Lerp, 0.93},
		{"nothing", decay(0, nil), 17, 0, 0},
	} {
		raw, base := history(1<<18, tt.touched, 0.05, tt.move)
		var f Fitter
		var p Predictor
		for range 2 { // the second time with memory of the first
			f.Reset()
			const block = 64 << 10
			for at := 0; at < len(raw); at += block {
				f.Sample(raw[at:at+block], base[at:at+block], 16)
			}
			for at := 0; at < len(raw) && f.Wants(); at += block {
				f.Learn(raw[at:at+block], base[at:at+block])
			}
			ok := f.Done(&p)
			if ok != (tt.kind != 0) || ok && p.kind != tt.kind {
				t.Fatalf("%s: found %v of kind %d, want %d", tt.name, ok, p.kind, tt.kind)
			}
			if !ok {
				continue
			}
			var q Predictor
			if err := q.Parse(p.Append(nil)); err != nil || q.bins != p.bins && p.kind == Steps {
				t.Fatalf("%s: what was found does not come back: %v", tt.name, err)
			}
			got := make([]byte, len(raw))
			q.Apply(got, base)
			hits := 0
			for i := 0; i < len(raw); i += 4 {
				if le.Uint32(raw[i:]) == le.Uint32(got[i:]) {
					hits++
				}
			}
			share := float64(hits) / float64(len(raw)/4)
			t.Logf("%s: %.4f hit, %d bytes", tt.name, share, len(p.Append(nil)))
			if share < tt.hit {
				t.Errorf("%s: %.4f of the elements hit, want %.2f", tt.name, share, tt.hit)
			}
		}
	}
}

// TestFitAnything must not fail or panic on data of any sort.
func TestFitAnything(t *testing.T) {
	var f Fitter
	var p Predictor
	for _, shape := range codectest.Shapes {
		for _, relation := range []string{"same", "near", "sparse", "rows", "far"} {
			for _, n := range []int{0, 3, 4, 63, 64, 65, 1000, 65536} {
				raw := codectest.Blob(shape, dtype.F32, n, 1)
				base := codectest.Base(relation, raw, dtype.F32, 2)
				f.Reset()
				f.Sample(raw, base, 64)
				f.Learn(raw, base)
				if f.Done(&p) && new(Predictor).Parse(p.Append(nil)) != nil {
					t.Fatalf("%s %s %d: found what cannot be stored", shape, relation, n)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range predictors(f) {
		f.Add(p.Append(nil), []byte("0123456789abcdef"))
	}
	f.Fuzz(func(t *testing.T, b, base []byte) {
		var p Predictor
		if p.Parse(b) != nil {
			return
		}
		if !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("%x comes back as %x", b, p.Append(nil))
		}
		p.Apply(make([]byte, len(base)), base)
	})
}

func BenchmarkApply(b *testing.B) {
	base := codectest.Blob("gauss", dtype.F32, 64<<10, 1)
	dst := make([]byte, len(base))
	for name, p := range predictors(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(base)))
			b.ReportAllocs()
			for b.Loop() {
				p.Apply(dst, base)
			}
		})
	}
}
