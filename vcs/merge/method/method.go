// Package method holds the arithmetic of merges: how the values of one tensor on several sides, and in what they come from, become one tensor.
// Everything is computed in binary64 and rounded once, by the caller, to the kind of the output. The definitions are those of mergekit (its
// revision a6e4028, June 2026), except that nothing is rounded in between, equal magnitudes are told apart by their place, and a random mask
// depends on seed, tensor and place alone, so that a merge gives the same bytes on every machine.
//
// A tensor is never in memory: Prepare goes over it in windows as often as its statistics need (see Source), and the Kernel it returns over one
// window at a time. Nothing here reads files or knows their formats.
package method

import (
	"fmt"
	"slices"
	"strings"

	"coral/internal/errs"
)

// The methods. Fail, Ours and Theirs compute nothing: they say which side is taken.
const (
	Fail            = "fail"
	Ours            = "ours"
	Theirs          = "theirs"
	Average         = "average"          // the mean of all sides
	Weighted        = "weighted"         // alpha·ours + (1-alpha)·theirs, of two
	Linear          = "linear"           // weighted mean (weighted sum without normalize) of all sides: model soups, arXiv 2203.05482
	Slerp           = "slerp"            // along the great circle from ours (t=0) to theirs (t=1)
	TaskArithmetic  = "task-arithmetic"  // base + λ·Σ weight·(side-base): arXiv 2212.04089
	Ties            = "ties"             // the largest changes, of the sign that most of them have: arXiv 2306.01708
	DareLinear      = "dare-linear"      // random changes: arXiv 2311.03099
	DareTies        = "dare-ties"        // the same with the election of signs of Ties
	Breadcrumbs     = "breadcrumbs"      // neither the largest nor the smallest changes: arXiv 2312.06795
	BreadcrumbsTies = "breadcrumbs-ties" // the same with the election of signs of Ties
	ModelStock      = "model-stock"      // between base and mean, by the angle between the changes: arXiv 2403.19522
)

// Rescalings of what a sparsified change has left.
const (
	RescaleNone    = "none"
	RescaleL1      = "l1"      // to the sum of magnitudes it had: mergekit's
	RescaleDensity = "density" // divided by the density: the paper's (DARE)
)

// MaxSides bounds how many sides a merge has: the parents of a commit.
const MaxSides = 64

// Spec is a method with its parameters, all of them: what a merge records. JSON names are a promise.
type Spec struct {
	Method    string    `json:"method"`
	Alpha     float64   `json:"alpha,omitempty"`     // of Weighted
	T         float64   `json:"t,omitempty"`         // of Slerp
	Weights   []float64 `json:"weights,omitempty"`   // one for all sides, or one for each, ours first
	Density   []float64 `json:"density,omitempty"`   // likewise: the share of changes that is kept
	Gamma     float64   `json:"gamma,omitempty"`     // of Breadcrumbs: the share of the largest changes that is dropped
	Lambda    float64   `json:"lambda,omitempty"`    // of the methods with a base
	Normalize bool      `json:"normalize,omitempty"` // divide by the sum of weights
	Rescale   string    `json:"rescale,omitempty"`
	Seed      uint64    `json:"seed,omitempty"` // of Dare
}

// info says what a method needs.
type info struct {
	base, two bool     // a base; exactly two sides
	params    []string // that it has
	preset    Spec     // their defaults
}

// task is the default of what has a base.
func task(density float64, normalize bool, rescale string) Spec {
	s := Spec{Weights: []float64{1}, Lambda: 1, Normalize: normalize}
	if density > 0 {
		s.Density, s.Rescale = []float64{density}, rescale
	}
	return s
}

var taskParams = []string{"weights", "lambda", "normalize"}

// with returns the parameters of task arithmetic and more.
func with(more ...string) []string { return append(slices.Clone(taskParams), more...) }

var methods = map[string]info{
	Fail:            {},
	Ours:            {},
	Theirs:          {},
	Average:         {},
	Weighted:        {two: true, params: []string{"alpha"}, preset: Spec{Alpha: 0.5}},
	Linear:          {params: []string{"weights", "normalize"}, preset: Spec{Weights: []float64{1}, Normalize: true}},
	Slerp:           {two: true, params: []string{"t"}, preset: Spec{T: 0.5}},
	TaskArithmetic:  {base: true, params: taskParams, preset: task(0, false, "")},
	Ties:            {base: true, params: with("density", "rescale"), preset: task(0.5, true, RescaleNone)},
	DareLinear:      {base: true, params: with("density", "rescale", "seed"), preset: task(0.5, false, RescaleL1)},
	DareTies:        {base: true, params: with("density", "rescale", "seed"), preset: task(0.5, false, RescaleL1)},
	Breadcrumbs:     {base: true, params: with("density", "rescale", "gamma"), preset: crumbs()},
	BreadcrumbsTies: {base: true, params: with("density", "rescale", "gamma"), preset: crumbs()},
	ModelStock:      {base: true},
}

func crumbs() Spec {
	s := task(0.9, false, RescaleNone)
	s.Gamma = 0.01
	return s
}

// Names lists the methods, sorted.
func Names() []string {
	var out []string
	for name := range methods {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Canonical returns the name of a method as this package writes it: any case, _ for -, dare for dare-linear.
func Canonical(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	if name == "dare" {
		return DareLinear
	}
	return name
}

// New returns a method with the defaults of its parameters; an unknown one is errs.Invalid and lists those there are.
func New(name string) (Spec, error) {
	name = Canonical(name)
	m, ok := methods[name]
	if !ok {
		return Spec{}, fmt.Errorf("merge strategy %q: want one of %s: %w", name, strings.Join(Names(), ", "), errs.Invalid)
	}
	s := m.preset
	s.Method = name
	s.Weights, s.Density = slices.Clone(s.Weights), slices.Clone(s.Density)
	return s, nil
}

// Computes reports whether the method makes new values.
func (s Spec) Computes() bool { return s.Method != Fail && s.Method != Ours && s.Method != Theirs }

// NeedsBase reports whether values of a base are needed.
func (s Spec) NeedsBase() bool { return methods[s.Method].base }

// KeepsEqual reports whether equal sides, whatever the base, are their own result. It is so by definition of three-way merges, and not where somebody asked
// for a sum.
func (s Spec) KeepsEqual() bool { return s.Method != Linear || s.Normalize }

// Check says whether the method can be used for so many sides.
func (s Spec) Check(sides int) error {
	m, ok := methods[s.Method]
	bad := func(text string, args ...any) error {
		return fmt.Errorf("merge strategy %s: %s: %w", s.Method, fmt.Sprintf(text, args...), errs.Invalid)
	}
	switch {
	case !ok:
		return bad("want one of %s", strings.Join(Names(), ", "))
	case sides > MaxSides:
		return bad("%d sides, at most %d", sides, MaxSides)
	case (m.two || s.Method == Theirs) && sides != 2:
		return bad("needs exactly two sides, there are %d", sides)
	case s.Method == ModelStock && sides < 2:
		return bad("needs two sides at least")
	case s.Rescale != "" && s.Rescale != RescaleNone && s.Rescale != RescaleL1 && s.Rescale != RescaleDensity:
		return bad("rescale %q: want none, l1 or density", s.Rescale)
	}
	for name, list := range map[string][]float64{"weights": s.Weights, "density": s.Density} {
		if n := len(list); n > 1 && n != sides {
			return bad("%d %s for %d sides", n, name, sides)
		}
	}
	for _, d := range s.Density {
		if !(d > 0 && d <= 1) {
			return bad("density %v: want more than 0 and at most 1", d)
		}
	}
	if !(s.Gamma >= 0 && s.Gamma < 1) {
		return bad("gamma %v: want 0 or more, and less than 1", s.Gamma)
	}
	for _, v := range append([]float64{s.Alpha, s.T, s.Lambda}, s.Weights...) {
		if v-v != 0 {
			return bad("%v is no finite number", v)
		}
	}
	if s.Method == Linear && s.Normalize && sum(s.weights(sides)) == 0 {
		return bad("the weights sum to 0: nothing can be divided by that")
	}
	return nil
}

// weights returns one weight a side.
func (s Spec) weights(sides int) []float64 { return spread(s.Weights, sides) }

// densities returns one density a side.
func (s Spec) densities(sides int) []float64 { return spread(s.Density, sides) }

func spread(list []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		switch len(list) {
		case 0:
			out[i] = 1
		case 1:
			out[i] = list[0]
		default:
			out[i] = list[i]
		}
	}
	return out
}

func sum(list []float64) (t float64) {
	for _, v := range list {
		t += v
	}
	return t
}
