package derive

import (
	"math"
	"slices"

	"coral/delta/format/dtype"
)

// Fit is a linear combination that FindLinear found.
type Fit struct {
	Mode  Mode
	Terms []int     // indices of the tensors, in the order of the arithmetic
	Coefs []float32 // of each
	Exact int       // of the sample's elements, how many it reproduces
}

const (
	fitUlps = 4 // what a combination of F32 may be off, in units of the last place of the largest number in it; of short kinds 1
	maxFits = 3
)

// FindLinear looks for combinations of a few tensors that give another one, on a sample of 16 or more elements of each: y of the result, whose elements are
// of dt, and xs of the tensors, at most MaxTerms, the newest first. Least squares over all of them rejects nearly everything that is none,
// in a few µs; then every single one, pair, triple, and the newest few together are tried, with coefficients snapped to decimals and
// fractions, in every order and rounding of Mode. What is found is at most three sets of tensors, that which reproduces most of the sample first: several may
// when one of the tensors is a sum of others. The sample cannot tell them apart better.
func FindLinear(y []float32, xs [][]float32, dt dtype.Kind) []Fit {
	xs = xs[:min(len(xs), MaxTerms)]
	f := fitter{y: y, xs: xs, dt: dt}
	switch dt {
	case dtype.F32:
		f.ulp = fitUlps * 0x1p-23
	case dtype.BF16:
		f.ulp = 0x1p-7
	case dtype.F16:
		f.ulp = 0x1p-10
	}
	if f.ulp == 0 || len(xs) == 0 || len(y) < 2*MaxTerms || !f.tolerate() {
		return nil
	}
	all := make([]int, len(xs))
	for i := range all {
		all[i] = i
	}
	// A copy of one of them is found by other means; so is one that is nearly that. A run in a short kind, whose steps are often less than a unit, looks like any sum.
	copies := f.copies()
	if dt != dtype.F32 && copies > len(y)/3 && f.short() {
		return nil
	}
	if _, ok := f.solve(all); !ok {
		return nil
	}
	f.subsets(all)
	least := copies + len(y)/8
	f.found = slices.DeleteFunc(f.found, func(c Fit) bool { return c.Exact < least })
	slices.SortStableFunc(f.found, func(a, b Fit) int { return b.Exact - a.Exact })
	return f.found[:min(len(f.found), maxFits)]
}

type fitter struct {
	y      []float32
	xs     [][]float32
	dt     dtype.Kind
	ulp    float64   // relative, that a combination may be off
	weight []float64 // 1/tol for each element; 0 if all are 0
	best   Fit       // of the set in work
	found  []Fit     // the best of each set
}

// tolerate fills in weight; ok is false if a number is not finite.
func (f *fitter) tolerate() bool {
	f.weight = make([]float64, len(f.y))
	for k, v := range f.y {
		m := math.Abs(float64(v))
		for _, x := range f.xs {
			m = max(m, math.Abs(float64(x[k])))
		}
		if math.IsInf(m, 0) || math.IsNaN(m) {
			return false
		}
		if m > 0 {
			f.weight[k] = 1 / (f.ulp * m)
		}
	}
	return true
}

// short reports whether the tensors are of dt, which is a short kind, themselves.
func (f *fitter) short() bool {
	for _, x := range f.xs {
		for _, v := range x {
			if round(v, f.dt) != v {
				return false
			}
		}
	}
	return true
}

// copies returns how many elements of the best single tensor equal y.
func (f *fitter) copies() (most int) {
	for _, x := range f.xs {
		n := 0
		for k, v := range f.y {
			if round(x[k], f.dt) == v {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// subsets tries sets of tensors, small ones first, until one of a size gives the whole sample.
func (f *fitter) subsets(all []int) {
	n := len(all)
	for i := range n {
		f.try([]int{i})
	}
	if f.whole() {
		return
	}
	for i := range n {
		for j := i + 1; j < n; j++ {
			f.try([]int{i, j})
		}
	}
	if f.whole() {
		return
	}
	for i := range n {
		for j := i + 1; j < n; j++ {
			for k := j + 1; k < n; k++ {
				f.try([]int{i, j, k})
			}
		}
	}
	for k := 4; k <= n && !f.whole(); k++ {
		f.try(all[:k])
	}
}

// whole reports whether something found gives all of the sample.
func (f *fitter) whole() bool {
	return slices.ContainsFunc(f.found, func(c Fit) bool { return c.Exact == len(f.y) })
}

// solve returns the least-squares coefficients of the set, by modified Gram–Schmidt; ok is false if what they give is farther from y than is tolerated. Elements
// count in units of that, else the rounding of large ones would hide small ones.
func (f *fitter) solve(set []int) (coef []float64, ok bool) {
	n := len(set)
	q := make([][]float64, n)
	r := make([][]float64, n) // r[j][i], i <= j
	rest := make([]float64, len(f.y))
	for k, v := range f.y {
		rest[k] = float64(v) * f.weight[k]
	}
	coef = make([]float64, n)
	for j, s := range set {
		v := make([]float64, len(f.y))
		for k, x := range f.xs[s] {
			v[k] = float64(x) * f.weight[k]
		}
		size := norm(v)
		r[j] = make([]float64, n)
		for i := range j {
			r[j][i] = dot(q[i], v)
			axpy(v, -r[j][i], q[i])
		}
		r[j][j] = norm(v)
		if r[j][j] <= size*1e-11 { // depends on the ones before: left out
			r[j][j], v = 0, make([]float64, len(f.y))
		} else {
			scale(v, 1/r[j][j])
		}
		q[j] = v
		coef[j] = dot(v, rest)
		axpy(rest, -coef[j], v)
	}
	for j := n - 1; j >= 0; j-- {
		if r[j][j] == 0 {
			coef[j] = 0
			continue
		}
		for i := j + 1; i < n; i++ {
			coef[j] -= r[i][j] * coef[i]
		}
		coef[j] /= r[j][j]
	}
	return coef, dot(rest, rest) <= float64(len(rest))
}

// try looks at one set.
func (f *fitter) try(set []int) {
	coef, ok := f.solve(set)
	if !ok {
		return
	}
	f.best = Fit{}
	var last []float32
	for level := 0; level < levels && f.best.Exact < len(f.y); level++ {
		c := snap(coef, level)
		if c != nil && !slices.Equal(c, last) {
			last = c
			f.orders(set, c)
		}
	}
	if f.best.Exact > 0 {
		f.found = append(f.found, f.best)
	}
}

// Levels of snapping: fractions by 1 to 16, decimals of 1 to 6 digits, the numbers as they are.
const levels = 16 + 6 + 1

// snap rounds coefficients to the level, or returns nil if that moves one of them too far.
func snap(coef []float64, level int) []float32 {
	out := make([]float32, len(coef))
	unit := 0.0
	switch {
	case level < 16:
		unit = float64(level + 1)
	case level < 22:
		unit = math.Pow(10, float64(level-15))
	}
	for i, c := range coef {
		v := c
		if unit > 0 {
			v = math.Round(c*unit) / unit
			if v == 0 || math.Abs(v-c) > 2e-3 {
				return nil
			}
		}
		out[i] = float32(v)
	}
	return out
}

// orders tries every mode and order of the arithmetic that programs use.
func (f *fitter) orders(set []int, coef []float32) {
	steps := []Mode{0}
	if f.dt != dtype.F32 {
		steps = append(steps, Stepwise)
	}
	for _, each := range steps {
		permute(len(set), func(order []int) {
			terms, c := make([]int, len(set)), make([]float32, len(set))
			for i, o := range order {
				terms[i], c[i] = set[o], coef[o]
			}
			f.modes(terms, c, each)
		})
	}
}

// permute calls fn with the orders of n terms: all for up to 3, else from the newest and from the oldest.
func permute(n int, fn func(order []int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = n - 1 - i
	}
	fn(order)
	if n == 1 {
		return
	}
	if n != 3 {
		slices.Reverse(order)
		fn(order)
		return
	}
	for _, o := range [][]int{{2, 0, 1}, {1, 2, 0}, {1, 0, 2}, {0, 2, 1}, {0, 1, 2}} {
		fn(o)
	}
}

func (f *fitter) modes(terms []int, c []float32, each Mode) {
	f.test(Fit{Mode: Sum | each, Terms: terms, Coefs: c})
	n := len(terms)
	if n == 1 {
		return
	}
	f.test(Fit{Mode: Fused | each, Terms: terms, Coefs: c})
	if d := float32(math.Round(1 / float64(c[0]))); uniform(c) && d == float32(n) {
		mean := make([]float32, n)
		mean[0] = d
		f.test(Fit{Mode: Mean | each, Terms: terms, Coefs: mean})
	}
	if n == 2 && math.Abs(float64(c[0])+float64(c[1])-1) < 1e-3 {
		f.test(Fit{Mode: Lerp | each, Terms: terms, Coefs: []float32{0, c[1]}})
	}
	if n == 3 && c[0] == 1 && c[1] == -c[2] {
		f.test(Fit{Mode: Task | each, Terms: terms, Coefs: []float32{0, c[1], 0}})
		f.test(Fit{Mode: TaskF | each, Terms: terms, Coefs: []float32{0, c[1], 0}})
	}
}

func uniform(c []float32) bool {
	for _, v := range c {
		if v != c[0] {
			return false
		}
	}
	return true
}

// test counts the elements that a candidate reproduces.
func (f *fitter) test(c Fit) {
	if f.best.Exact == len(f.y) {
		return
	}
	p := Piece{Op: Linear, Mode: c.Mode, Terms: make([]Term, len(c.Terms))}
	in := make([][]byte, len(c.Terms))
	for i, t := range c.Terms {
		p.Terms[i] = Term{DType: dtype.F32, Coef: c.Coefs[i]}
		in[i] = make([]byte, 4*len(f.y))
		store(in[i], f.xs[t], dtype.F32)
	}
	w := f.dt.Width()
	got, want := make([]byte, w*len(f.y)), make([]byte, w*len(f.y))
	linear(got, in, f.dt, &p)
	store(want, f.y, f.dt)
	for k := 0; k < len(got); k += w {
		if string(got[k:k+w]) == string(want[k:k+w]) {
			c.Exact++
		}
	}
	if c.Exact > f.best.Exact {
		f.best = c
	}
}

func dot(a, b []float64) (s float64) {
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func norm(a []float64) float64 { return math.Sqrt(dot(a, a)) }

func axpy(a []float64, c float64, x []float64) {
	for i, v := range x {
		a[i] += c * v
	}
}

func scale(a []float64, c float64) {
	for i := range a {
		a[i] *= c
	}
}
