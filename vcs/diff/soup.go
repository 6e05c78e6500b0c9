package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/object"
)

// A soup is an affine combination of the weights of several models: Σ wᵢ·xᵢ with Σ wᵢ = 1 (Wortsman et al. 2022 average; a step along a task vector is one too,
// with weights outside of 0 to 1). Whether a side is one of given candidates is told from samples: runs of elements out of up to soupTensors tensors that all
// of them have. Over all subsets of candidates, the smallest first, the weights are found by least squares; a subset is it if what is left is no more than
// the rounding of the side's dtype explains, and lowTail of the distance to the nearest candidate.
const (
	MaxCandidates = 8
	soupTensors   = 64
	soupRun       = 4096 // elements of each
	soupFiles     = 1024 // of a side
	leastWeight   = 1e-3 // a candidate with less is not in it
)

// Candidate is a side that the new one may be made of.
type Candidate struct {
	Name string
	Tree Tree
}

// Part is one ingredient of a soup. JSON names are a promise.
type Part struct {
	Name   string `json:"name"`
	Weight Number `json:"weight"`
}

// SoupResult says what a side is made of. JSON names are a promise.
type SoupResult struct {
	Parts    []Part `json:"parts"`              // none: of no combination of the candidates
	Residual Number `json:"residual"`           // ‖side − combination‖ / ‖side − nearest candidate‖; null without parts
	Elements int    `json:"elements"`           // sampled
	Left     int    `json:"left_out,omitempty"` // candidates that lack the tensors
}

// String is "a soup of a and b, weights 0.5 and 0.5"; "" if it is none.
func (s *SoupResult) String() string {
	var names, weights []string
	kind := "a soup"
	for _, p := range s.Parts {
		names = append(names, p.Name)
		weights = append(weights, fmt.Sprintf("%.3g", math.Round(float64(p.Weight)*1e3)/1e3))
		if p.Weight < 0 || p.Weight > 1 {
			kind = "a combination"
		}
	}
	if len(names) == 0 {
		return ""
	}
	if len(names) == 1 {
		return "the same weights as " + names[0]
	}
	return fmt.Sprintf("%s of %s, weights %s", kind, and(names), and(weights))
}

func and(list []string) string {
	n := len(list)
	if n == 1 {
		return list[0]
	}
	return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
}

// Soup tells whether t is a soup of candidates, of which the first MaxCandidates count. What it reads is bounded: 256 Ki elements a side.
func Soup(ctx context.Context, t Tree, candidates []Candidate) (res *SoupResult, err error) {
	p := &pot{ctx: ctx}
	defer func() {
		for _, f := range p.open {
			err = errors.Join(err, f.c.Close())
		}
	}()
	side, err := p.side(t)
	if err != nil {
		return nil, err
	}
	res = &SoupResult{Parts: []Part{}, Residual: NoNumber()}
	if len(candidates) > MaxCandidates {
		res.Left, candidates = len(candidates)-MaxCandidates, candidates[:MaxCandidates]
	}
	var names []string
	var sides []*shelf
	for _, c := range candidates {
		s, err := p.side(c.Tree)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if len(side.common(s)) == 0 {
			res.Left++
			continue
		}
		names, sides = append(names, c.Name), append(sides, s)
	}
	if len(sides) == 0 {
		return res, nil
	}
	x, noise, err := p.sample(side, sides)
	if err != nil {
		return nil, err
	}
	res.Elements = len(x[0])
	res.solve(x, noise, names)
	return res, nil
}

// pot holds what is open.
type pot struct {
	ctx  context.Context
	open []*file
}

// shelf are the float tensors of a side by path and name, and by name where that is unique.
type shelf struct {
	list   []*entry
	exact  map[string]*entry
	unique map[string]*entry // nil values: more than one
}

func (p *pot) side(t Tree) (*shelf, error) {
	s := &shelf{exact: map[string]*entry{}, unique: map[string]*entry{}}
	root, err := t.Root(p.ctx)
	if err != nil {
		return nil, err
	}
	files := 0
	return s, p.add(t, root, s, &files, 0)
}

func (p *pot) add(t Tree, n Node, s *shelf, files *int, depth int) error {
	switch {
	case n.Kind == object.Dir && depth < maxDepth:
		list, err := t.List(p.ctx, n)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := p.add(t, e, s, files, depth+1); err != nil {
				return err
			}
		}
		return nil
	case n.Kind != object.File:
		return nil
	}
	if *files++; *files > soupFiles {
		return fmt.Errorf("more than %d files on a side: name the model's directory: %w", soupFiles, errs.TooLarge)
	}
	f, err := open(p.ctx, t, &n, false, nil)
	if err != nil {
		return err
	}
	p.open = append(p.open, f)
	for i := range f.tensors {
		e := &f.tensors[i]
		_, _, state := optimizerState(e.t.Name)
		if state || !floatKind(e.t.DType) || e.t.Stride != nil && !format.Contiguous(e.t.Shape, e.t.Stride) {
			continue
		}
		s.list = append(s.list, e)
		s.exact[e.String()] = e
		if _, twice := s.unique[e.t.Name]; twice {
			s.unique[e.t.Name] = nil
		} else {
			s.unique[e.t.Name] = e
		}
	}
	return nil
}

// find returns the tensor of s that belongs to e, of another side.
func (s *shelf) find(e *entry) *entry {
	got := s.exact[e.String()]
	if got == nil {
		got = s.unique[e.t.Name]
	}
	if got == nil || !slices.Equal(got.t.Shape, e.t.Shape) || complexKind(got.t.DType) != complexKind(e.t.DType) {
		return nil
	}
	return got
}

// common lists the tensors of s that another side has too.
func (s *shelf) common(o *shelf) (out []*entry) {
	for _, e := range s.list {
		if o.find(e) != nil {
			out = append(out, e)
		}
	}
	return out
}

// sample reads the same runs of all sides: x[0] is the side in question. noise is the expected energy of its rounding.
func (p *pot) sample(side *shelf, sides []*shelf) (x [][]float64, noise float64, err error) {
	list := slices.DeleteFunc(slices.Clone(side.list), func(e *entry) bool {
		return valuesOf(e.t) == 0 || slices.ContainsFunc(sides, func(o *shelf) bool { return o.find(e) == nil })
	})
	// The largest tensors say most; of one size, in order of names, so that it is the same ones on every run.
	slices.SortStableFunc(list, func(a, b *entry) int {
		if d := valuesOf(b.t) - valuesOf(a.t); d != 0 {
			return int(max(-1, min(1, d)))
		}
		return strings.Compare(a.String(), b.String())
	})
	list = list[:min(len(list), soupTensors)]
	rng := rand.New(rand.NewPCG(1, 2))
	x = make([][]float64, len(sides)+1)
	for _, e := range list {
		n := min(valuesOf(e.t), soupRun)
		from := rng.Int64N(valuesOf(e.t) - n + 1)
		run := make([][]float64, len(x))
		for i := range x {
			o := e
			if i > 0 {
				o = sides[i-1].find(e)
			}
			if run[i], err = p.run(o, from, int(n)); err != nil {
				return nil, 0, err
			}
		}
		for j := range run[0] {
			if slices.ContainsFunc(run, func(v []float64) bool { return math.IsNaN(v[j]) || math.IsInf(v[j], 0) }) {
				continue
			}
			for i := range x {
				x[i] = append(x[i], run[i][j])
			}
			u := ulpOf(run[0][j], e.t.DType)
			noise += u * u / 12
		}
	}
	return x, noise, nil
}

// run reads n values of a contiguous tensor.
func (p *pot) run(e *entry, from int64, n int) ([]float64, error) {
	w := values.Width(e.t.DType)
	raw := make([]byte, n*w)
	if got, err := e.file.f.ReadAt(p.ctx, raw, e.t.Offset+from*int64(w)); got < len(raw) {
		if err == nil {
			err = io.EOF
		}
		return nil, fmt.Errorf("%s: %w", e, endError(err))
	}
	v := make([]float64, n)
	values.Decode(v, raw, e.t.DType)
	return v, nil
}

// solve finds the smallest subset of x[1:] that x[0] is a combination of.
func (res *SoupResult) solve(x [][]float64, noise float64, names []string) {
	k := len(x) - 1
	dist := make([]float64, k) // of each candidate to the side
	nearest := 0
	for i := range k {
		dist[i] = distance2(x[0], x[i+1])
		if dist[i] < dist[nearest] {
			nearest = i
		}
	}
	if dist[nearest] <= 4*noise {
		if dist[nearest] == 0 {
			res.Parts, res.Residual = []Part{{names[nearest], 1}}, 0
		}
		return
	}
	if noise > noiseLimit*dist[nearest] {
		return // the difference is mostly rounding: anything would fit
	}
	for size := 2; size <= k; size++ {
		best, weights, left := 0, []float64(nil), math.Inf(1)
		for set := range 1 << k {
			if bits.OnesCount(uint(set)) != size {
				continue
			}
			if w, l := affine(x, set); l < left {
				best, weights, left = set, w, l
			}
		}
		if left > lowTail*dist[nearest]+4*noise || slices.ContainsFunc(weights, func(w float64) bool { return math.Abs(w) < leastWeight }) {
			continue
		}
		for i, at := 0, 0; i < k; i++ {
			if best>>i&1 != 0 {
				res.Parts = append(res.Parts, Part{names[i], Number(weights[at])})
				at++
			}
		}
		res.Residual = Number(math.Sqrt(left / dist[nearest]))
		return
	}
}

func distance2(a, b []float64) (s float64) {
	for i, v := range a {
		d := v - b[i]
		s += float64(d * d)
	}
	return s
}

// affine returns the weights, which sum to 1, of the candidates in set that come nearest to x[0], and the energy that is left. With x₀ one of them it is the least
// squares of x[0]−x₀ by the others' xᵢ−x₀, by Cholesky of their Gram matrix; candidates that depend on each other give +Inf: a smaller set does as well.
func affine(x [][]float64, set int) (weights []float64, left float64) {
	var in []int
	for i := range len(x) - 1 {
		if set>>i&1 != 0 {
			in = append(in, i+1)
		}
	}
	n := len(in) - 1
	diffs := make([][]float64, n)
	target := minus(x[0], x[in[0]])
	for i := range n {
		diffs[i] = minus(x[in[i+1]], x[in[0]])
	}
	g := make([][]float64, n)
	w := make([]float64, n)
	for i := range n {
		g[i] = make([]float64, n)
		for j := range i + 1 {
			g[i][j] = dot(diffs[i], diffs[j])
		}
		w[i] = dot(diffs[i], target)
	}
	for i := range n { // L·Lᵀ = g in place
		own := g[i][i]
		for j := range i + 1 {
			s := g[i][j]
			for l := range j {
				s -= float64(g[i][l] * g[j][l])
			}
			if i != j {
				g[i][j] = s / g[j][j]
				continue
			}
			if s <= 1e-10*own || own == 0 {
				return nil, math.Inf(1)
			}
			g[i][i] = math.Sqrt(s)
		}
	}
	for i := range n { // L·y = w
		for j := range i {
			w[i] -= float64(g[i][j] * w[j])
		}
		w[i] /= g[i][i]
	}
	for i := n - 1; i >= 0; i-- { // Lᵀ·w = y
		for j := i + 1; j < n; j++ {
			w[i] -= float64(g[j][i] * w[j])
		}
		w[i] /= g[i][i]
	}
	first := 1.0
	for i, wi := range w {
		first -= wi
		for j, d := range diffs[i] {
			target[j] -= float64(wi * d)
		}
	}
	return append([]float64{first}, w...), dot(target, target)
}

func minus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i, v := range a {
		out[i] = v - b[i]
	}
	return out
}
