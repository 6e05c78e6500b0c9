package method

import "math"

// taskKernel is base + λ·Σ weight·change, changes being sparsified and their signs elected as the method wants. mergekit calls it generalized task arithmetic.
type taskKernel struct {
	weights   []float64
	masks     []mask
	scales    []float64 // of what the masks leave
	elect     bool
	normalize bool
	lambda    float64
	divisor   float64 // without election
	kept      []float64
}

// mask says which changes are kept. It is asked for every element, in order.
type mask interface {
	keep(at int64, change float64) bool
	reset()
}

// leastWeight is the sum of weights below which nothing is divided by it, leastNorm that of magnitudes below which nothing is rescaled: mergekit's.
const (
	leastWeight = 1e-8
	leastNorm   = 1e-7
)

func newTaskKernel(s Spec, src Source) (Kernel, error) {
	n := src.Sides()
	k := &taskKernel{weights: s.weights(n), scales: spread(nil, n), masks: make([]mask, n), kept: make([]float64, n), normalize: s.Normalize, lambda: s.Lambda}
	if k.divisor = sum(k.weights); math.Abs(k.divisor) < leastWeight {
		k.divisor = 1
	}
	densities := s.densities(n)
	var err error
	switch s.Method {
	case Ties, DareTies, BreadcrumbsTies:
		k.elect = true
	}
	switch s.Method {
	case Ties:
		err = k.magnitudes(src, densities, 0)
	case Breadcrumbs, BreadcrumbsTies:
		err = k.magnitudes(src, densities, s.Gamma)
	case DareLinear, DareTies:
		for i, d := range densities {
			if d < 1 {
				k.masks[i] = newRandom(s.Seed, src.Name(), i, d)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	switch s.Rescale {
	case RescaleL1:
		err = k.rescale(src)
	case RescaleDensity:
		for i, d := range densities {
			if k.masks[i] != nil {
				k.scales[i] = 1 / d
			}
		}
	}
	return k, err
}

// magnitudes makes masks by magnitude: of n changes int(density·n) are kept, at least one. The int(gamma·n) largest are dropped first, fewer if there would not be enough left.
func (k *taskKernel) magnitudes(src Source, densities []float64, gamma float64) error {
	n := src.Len()
	var cuts []*cut
	for i, d := range densities {
		if d >= 1 || n == 0 {
			continue
		}
		keep := max(1, int64(d*float64(n)))
		top := int64(gamma * float64(n))
		low := n - keep - top
		if low < 0 {
			top, low = top+low, 0
		}
		b := &band{lower: &cut{side: i, rank: low}, upper: &cut{side: i, rank: n - top}}
		cuts = append(cuts, b.lower, b.upper)
		k.masks[i] = b
	}
	return find(src, cuts)
}

// rescale makes what each mask leaves as large, by the sum of magnitudes, as the changes were.
func (k *taskKernel) rescale(src Source) error {
	before, after := make([]float64, len(k.masks)), make([]float64, len(k.masks))
	err := src.Windows(func(w Window) error {
		for i, m := range k.masks {
			if m == nil {
				continue
			}
			all, kept := 0.0, 0.0
			for j, base := range w.Base {
				d := w.Sides[i][j] - base
				a := math.Abs(d)
				all += a
				if m.keep(w.At+int64(j), d) {
					kept += a
				}
			}
			before[i] += all
			after[i] += kept
		}
		return nil
	})
	for i, m := range k.masks {
		if m == nil {
			continue
		}
		m.reset()
		if before[i] >= leastNorm && after[i] >= leastNorm {
			k.scales[i] = before[i] / after[i]
		}
		if k.scales[i]-k.scales[i] != 0 && err == nil {
			err = ErrNotFinite
		}
	}
	return err
}

// Apply implements Kernel.
func (k *taskKernel) Apply(dst []float64, w Window) {
	for j, base := range w.Base {
		total := 0.0
		for i, side := range w.Sides {
			d := side[j] - base
			if m := k.masks[i]; m != nil && !m.keep(w.At+int64(j), d) {
				d = 0
			}
			k.kept[i] = float64(float64(d*k.scales[i]) * k.weights[i])
			total += k.kept[i]
		}
		divisor := k.divisor
		if k.elect {
			total, divisor = k.election(total)
		}
		if k.normalize {
			total /= divisor
		}
		dst[j] = base + float64(total*k.lambda)
	}
}

// election returns the sum of the changes that have the sign of all changes' sum, a change of 0 having none, and the sum of their weights.
func (k *taskKernel) election(total float64) (elected, divisor float64) {
	for i, v := range k.kept {
		if v > 0 && total >= 0 || v < 0 && !(total >= 0) {
			elected += v
			divisor += k.weights[i]
		}
		if v != v {
			return v, 1
		}
	}
	if divisor == 0 {
		divisor = 1
	}
	return elected, divisor
}
