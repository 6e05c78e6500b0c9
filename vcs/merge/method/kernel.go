package method

import (
	"fmt"
	"math"

	"coral/internal/errs"
)

// Window is a run of a tensor's elements, on all sides. Kernels do not keep it.
type Window struct {
	At    int64       // the first element
	Base  []float64   // nil unless the method needs a base
	Sides [][]float64 // ours first; as long as Base
}

// Source is one tensor on all sides.
type Source interface {
	// Name is the tensor's: random masks depend on it.
	Name() string
	// Len is how many elements it has.
	Len() int64
	// Sides is how many sides there are.
	Sides() int
	// Windows calls fn for all windows in order of place, from the beginning each time it is called. An error of fn ends it.
	Windows(fn func(w Window) error) error
}

// Kernel computes the output, window by window and in order of place, each once.
type Kernel interface {
	// Apply fills dst, as long as the window.
	Apply(dst []float64, w Window)
}

// ErrNotFinite is wrapped by what Prepare returns if a length or angle of tensors is no number.
var ErrNotFinite = fmt.Errorf("lengths are not finite (NaN or infinity in it): %w", errs.Conflict)

// Prepare takes the statistics that the method needs of a tensor and returns what computes it. The method passes Check.
func (s Spec) Prepare(src Source) (Kernel, error) {
	switch s.Method {
	case Average:
		return linear{weights: spread(nil, src.Sides()), divisor: float64(src.Sides())}, nil
	case Weighted:
		return linear{weights: []float64{s.Alpha, 1 - s.Alpha}, divisor: 1}, nil
	case Linear:
		k := linear{weights: s.weights(src.Sides()), divisor: 1}
		if s.Normalize {
			k.divisor = sum(k.weights)
		}
		return k, nil
	case Slerp:
		return newSlerp(s.T, src)
	case ModelStock:
		return newStock(src)
	case TaskArithmetic, Ties, DareLinear, DareTies, Breadcrumbs, BreadcrumbsTies:
		return newTaskKernel(s, src)
	}
	return nil, fmt.Errorf("merge strategy %s computes nothing: %w", s.Method, errs.Invalid)
}

// linear is Σ weight·side / divisor, in order of the sides. Products and sums are kept apart by conversions, so that no platform fuses them.
type linear struct {
	weights []float64
	divisor float64
}

// Apply implements Kernel.
func (k linear) Apply(dst []float64, w Window) {
	for i, c := range k.weights {
		side := w.Sides[i]
		switch {
		case i == 0 && c == 1:
			copy(dst, side)
		case i == 0:
			for j := range dst {
				dst[j] = c * side[j]
			}
		default:
			for j := range dst {
				dst[j] += float64(c * side[j])
			}
		}
	}
	if k.divisor != 1 {
		for j := range dst {
			dst[j] /= k.divisor
		}
	}
}

// colinear is the cosine beyond which slerp is a straight line.
const colinear = 0.9995

// shortest is the length below which a vector has no direction.
const shortest = 1e-8

// newSlerp finds the two coefficients.
func newSlerp(t float64, src Source) (Kernel, error) {
	var g gram
	if err := g.take(src, false); err != nil {
		return nil, err
	}
	a, b := math.Sqrt(g.at(0, 0)), math.Sqrt(g.at(1, 1))
	dot := g.at(0, 1)
	if a > shortest {
		dot /= a
	}
	if b > shortest {
		dot /= b
	}
	if dot-dot != 0 {
		return nil, ErrNotFinite
	}
	if math.Abs(dot) > colinear {
		return linear{weights: []float64{1 - t, t}, divisor: 1}, nil
	}
	theta := math.Acos(dot)
	sin := math.Sin(theta)
	return linear{weights: []float64{math.Sin(theta-float64(theta*t)) / sin, math.Sin(float64(theta*t)) / sin}, divisor: 1}, nil
}

// leastProduct bounds the product of two lengths from below, as mergekit does.
const leastProduct = 1e-6

// stock is t·mean + (1-t)·base.
type stock struct{ t float64 }

// newStock finds t of the mean cosine between the changes: t = N·cos / (1 + (N-1)·cos).
func newStock(src Source) (Kernel, error) {
	var g gram
	if err := g.take(src, true); err != nil {
		return nil, err
	}
	n := src.Sides()
	total, pairs := 0.0, 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			c := g.at(i, j) / max(math.Sqrt(g.at(i, i))*math.Sqrt(g.at(j, j)), leastProduct)
			if c-c != 0 {
				return nil, ErrNotFinite
			}
			total += max(-1, min(1, c))
			pairs++
		}
	}
	cos := total / float64(pairs)
	t := float64(n) * cos / (1 + float64(float64(n-1)*cos))
	if t-t != 0 { // exactly opposite changes: they say nothing
		t = 0
	}
	return stock{t}, nil
}

// Apply implements Kernel.
func (k stock) Apply(dst []float64, w Window) {
	n := float64(len(w.Sides))
	for j := range dst {
		mean := 0.0
		for _, side := range w.Sides {
			mean += side[j]
		}
		dst[j] = float64(k.t*(mean/n)) + float64((1-k.t)*w.Base[j])
	}
}

// gram is the matrix of dot products of the sides, or of their changes.
type gram struct {
	n    int
	dots []float64
}

func (g *gram) at(i, j int) float64 { return g.dots[i*g.n+j] }

// take goes over the tensor once. Each window is summed by itself, which keeps the error of long sums small.
func (g *gram) take(src Source, changes bool) error {
	g.n = src.Sides()
	g.dots = make([]float64, g.n*g.n)
	return src.Windows(func(w Window) error {
		for i := range g.n {
			for j := i; j < g.n; j++ {
				a, b, s := w.Sides[i], w.Sides[j], 0.0
				if changes {
					for k, base := range w.Base {
						s += float64((a[k] - base) * (b[k] - base))
					}
				} else {
					for k := range a {
						s += float64(a[k] * b[k])
					}
				}
				g.dots[i*g.n+j] += s
			}
		}
		return nil
	})
}
