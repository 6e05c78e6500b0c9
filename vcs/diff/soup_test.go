package diff

import (
	"math"
	"testing"

	"coral/delta/format/dtype"
)

func TestSoup(t *testing.T) {
	const n = 6000
	base := normal(n, 1, 0.05)
	x, y, z := plus(base, normal(n, 2, 0.002)), plus(base, normal(n, 3, 0.002)), plus(base, normal(n, 4, 0.002))
	mix := func(wx, wy, wz float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = wx*x[i] + wy*y[i] + wz*z[i]
		}
		return out
	}
	side := func(k dtype.Kind, v []float64) *Disk {
		return model(t, matrix("h.0.w", k, 60, 100, v), vec("h.0.b", k, v[:50]...), vec("nan", k, math.NaN(), 1), vec("state.0.exp_avg", k, 1, 2, 3))
	}
	cands := func(k dtype.Kind) []Candidate {
		return []Candidate{{"X", side(k, x)}, {"Y", side(k, y)}, {"Z", side(k, z)}, {"other", model(t, vec("else", k, 1, 2))}}
	}
	for _, c := range []struct {
		name string
		k    dtype.Kind
		v    []float64
		want string
	}{
		{"average", dtype.F32, mix(.5, .5, 0), "a soup of X and Y, weights 0.5 and 0.5"},
		{"weighted", dtype.F32, mix(.3, 0, .7), "a soup of X and Z, weights 0.3 and 0.7"},
		{"of three", dtype.F32, mix(1./3, 1./3, 1./3), "a soup of X, Y and Z, weights 0.333, 0.333 and 0.333"},
		{"beyond", dtype.F32, mix(-.5, 1.5, 0), "a combination of X and Y, weights -0.5 and 1.5"},
		{"one of them", dtype.F32, y, "the same weights as Y"},
		{"none", dtype.F32, plus(base, normal(n, 9, 0.002)), ""},
		{"half of it", dtype.F32, plus(mix(.5, .5, 0), normal(n, 9, 0.0005)), ""},
		{"BF16", dtype.BF16, mix(.5, .5, 0), "a soup of X and Y, weights 0.5 and 0.5"},
		{"F8 hides it", dtype.F8E4M3, mix(.5, .5, 0), ""},
		{"F16", dtype.F16, mix(.5, .5, 0), "a soup of X and Y, weights 0.5 and 0.5"},
	} {
		r, err := Soup(bg, side(c.k, c.v), cands(dtype.F32))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.String(); got != c.want || r.Left != 1 || r.Elements != 4096+50+1 {
			t.Errorf("%s: %q, want %q (%+v)", c.name, got, c.want, r)
		}
	}
	if r, err := Soup(bg, side(dtype.F32, x), nil); err != nil || len(r.Parts) != 0 {
		t.Errorf("of nothing: %+v, %v", r, err)
	}
	twice := []Candidate{{"X", side(dtype.F32, x)}, {"X again", side(dtype.F32, x)}, {"Y", side(dtype.F32, y)}}
	if r, err := Soup(bg, side(dtype.F32, mix(.25, .75, 0)), twice); err != nil || r.String() != "a soup of X and Y, weights 0.25 and 0.75" {
		t.Errorf("with one twice: %q, %v", r, err)
	}
}
