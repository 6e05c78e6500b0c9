package derive

import (
	"math/rand/v2"
	"slices"
	"testing"

	"coral/delta/format/dtype"
)

// path returns samples of checkpoints of a training run, the newest first.
func path(r *rand.Rand, n, elements int) [][]float32 {
	w := make([]float32, elements)
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.02)
	}
	var out [][]float32
	for range n {
		next := slices.Clone(w)
		for i := range next {
			next[i] += float32(r.NormFloat64() * 1e-4)
		}
		out = append(out, next)
		w = next
	}
	slices.Reverse(out)
	return out
}

func sumOf(dt dtype.Kind, mode Mode, coefs []float32, xs ...[]float32) []float32 {
	p := Piece{Op: Linear, Mode: mode}
	var in [][]byte
	for i, x := range xs {
		p.Terms = append(p.Terms, Term{DType: dtype.F32, Coef: coefs[i]})
		b := make([]byte, 4*len(x))
		store(b, x, dtype.F32)
		in = append(in, b)
	}
	b := make([]byte, dt.Width()*len(xs[0]))
	linear(b, in, dt, &p)
	y := make([]float32, len(xs[0]))
	load(y, b, dt)
	return y
}

func TestFindLinear(t *testing.T) {
	third := float32(1) / 3
	for _, tc := range []struct {
		name  string
		dt    dtype.Kind
		mode  Mode
		coefs []float32
		of    []int
		want  []int // the tensors found, in any order
	}{
		{"soup of two", dtype.F32, Sum, []float32{0.5, 0.5}, []int{4, 1}, []int{1, 4}},
		{"weighted", dtype.F32, Sum, []float32{0.3, 0.7}, []int{6, 0}, []int{0, 6}},
		{"soup of three", dtype.F32, Sum, []float32{third, third, third}, []int{5, 3, 0}, []int{0, 3, 5}},
		{"mean of three", dtype.F32, Mean, []float32{3, 0, 0}, []int{5, 3, 0}, []int{0, 3, 5}},
		{"mean of all", dtype.F32, Mean, []float32{7, 0, 0, 0, 0, 0, 0}, []int{6, 5, 4, 3, 2, 1, 0}, []int{0, 1, 2, 3, 4, 5, 6}},
		{"ema", dtype.F32, Fused, []float32{0.999, 0.001}, []int{3, 0}, []int{0, 3}},
		{"lerp", dtype.F32, Lerp, []float32{0, 0.75}, []int{3, 0}, []int{0, 3}},
		{"task vector", dtype.F32, TaskF, []float32{0, 0.4, 0}, []int{0, 2, 6}, []int{0, 2, 6}},
		{"difference", dtype.F32, Sum, []float32{1, -1}, []int{0, 6}, []int{0, 6}},
		{"scaled", dtype.F32, Sum, []float32{0.9}, []int{2}, []int{2}},
		{"odd weights", dtype.F32, Sum, []float32{0.123457, 0.876543}, []int{6, 0}, []int{0, 6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			xs := path(rand.New(rand.NewPCG(3, 4)), 7, 24)
			var of [][]float32
			for _, i := range tc.of {
				of = append(of, xs[i])
			}
			y := sumOf(tc.dt, tc.mode, tc.coefs, of...)
			fits := FindLinear(y, xs, tc.dt)
			if len(fits) == 0 {
				t.Fatal("nothing found")
			}
			got := slices.Sorted(slices.Values(fits[0].Terms))
			if !slices.Equal(got, tc.want) || fits[0].Exact < 23 {
				t.Errorf("found %+v", fits)
			}
		})
	}
}

// The next checkpoint of a run is no sum of the ones before, nor is anything that is not finite.
func TestFindLinearFindsNothing(t *testing.T) {
	for seed := range uint64(200) {
		xs := path(rand.New(rand.NewPCG(seed, 9)), 9, 24)
		if fits := FindLinear(xs[0], xs[1:], dtype.F32); len(fits) > 0 {
			t.Errorf("seed %d: found %+v", seed, fits)
		}
	}
	xs := path(rand.New(rand.NewPCG(1, 9)), 3, 24)
	zero := float32(0)
	xs[2][3] = 1 / zero
	if fits := FindLinear(xs[0], xs[1:], dtype.F32); len(fits) > 0 {
		t.Errorf("found %+v with an infinity", fits)
	}
	none := make([]float32, 24)
	if fits := FindLinear(none, [][]float32{none, none}, dtype.F32); len(fits) > 0 {
		t.Errorf("found %+v for zeros", fits)
	}
	if fits := FindLinear(xs[0][:4], [][]float32{xs[1][:4]}, dtype.F32); len(fits) > 0 {
		t.Errorf("found %+v in 4 elements", fits)
	}
}

func BenchmarkFindLinear(b *testing.B) {
	for name, k := range map[string]int{"next": 0, "soup": 1} {
		xs := path(rand.New(rand.NewPCG(3, 4)), 9, 24)
		y := xs[0]
		if k == 1 {
			y = sumOf(dtype.F32, Sum, []float32{0.3, 0.7}, xs[8], xs[2])
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				FindLinear(y, xs[1:], dtype.F32)
			}
		})
	}
}
