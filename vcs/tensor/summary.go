package tensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"coral/internal/errs"
	"coral/vcs/object"
)

// Summary is what the values of a tensor are like. Mean, Std (of the whole, not of a sample), RMS, Min and Max are of the finite values, and zero if there are none. The parts of
// a complex number count as two values.
type Summary struct {
	Count, Zeros, NaN, Inf   int64
	Mean, Std, RMS, Min, Max float64
}

// Finite returns how many values are finite.
func (s *Summary) Finite() int64 { return s.Count - s.NaN - s.Inf }

// batch is how many values are read at a time.
const batch = 1 << 15

// Summarize reads a tensor once. Sums are made batch by batch around the mean of each (Chan, Golub and LeVeque 1979), in file order: the same bits on every run.
func (f *File) Summarize(ctx context.Context, t *object.Tensor) (Summary, error) {
	s := Summary{Min: math.Inf(1), Max: math.Inf(-1)}
	var m2 float64
	n := 0.0
	err := f.batches(ctx, t, func(v []float64) error {
		s.Count += int64(len(v))
		v = s.finite(v)
		if len(v) == 0 {
			return nil
		}
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		k := float64(len(v))
		mean, q := sum/k, 0.0
		for _, x := range v {
			q += (x - mean) * (x - mean)
		}
		d := mean - s.Mean
		s.Mean += d * k / (n + k)
		m2 += q + d*d*n*k/(n+k)
		n += k
		return nil
	})
	if n == 0 {
		s.Min, s.Max = 0, 0
	} else {
		s.Std = math.Sqrt(m2 / n)
		s.RMS = math.Hypot(s.Std, s.Mean)
	}
	return s, err
}

// finite counts v, and returns its finite values, moved to its front.
func (s *Summary) finite(v []float64) []float64 {
	k := 0
	for _, x := range v {
		switch {
		case x != x:
			s.NaN++
			continue
		case math.Abs(x) > math.MaxFloat64:
			s.Inf++
			continue
		case x == 0:
			s.Zeros++
		}
		s.Min, s.Max = min(s.Min, x), max(s.Max, x)
		v[k] = x
		k++
	}
	return v[:k]
}

// batches calls fn with all values, at most batch at a time; fn may change them.
func (f *File) batches(ctx context.Context, t *object.Tensor, fn func(v []float64) error) error {
	buf := make([]float64, batch)
	r := f.Reader(ctx, t)
	for {
		n, err := r.Floats(buf)
		if n > 0 {
			if ferr := fn(buf[:n]); ferr != nil {
				return ferr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Histogram counts the finite values from low to high in bins of equal width; high itself is in the last. Others are not counted.
func (f *File) Histogram(ctx context.Context, t *object.Tensor, low, high float64, bins int) ([]int64, error) {
	if bins < 1 || bins > 1<<16 || !(low <= high) || math.IsInf(low, 0) || math.IsInf(high, 0) {
		return nil, fmt.Errorf("histogram of %d bins from %v to %v: %w", bins, low, high, errs.Invalid)
	}
	counts := make([]int64, bins)
	err := f.batches(ctx, t, func(v []float64) error {
		for _, x := range v {
			if x >= low && x <= high {
				counts[binOf(x, low, high, bins)]++
			}
		}
		return nil
	})
	return counts, err
}

// binOf returns the bin of x; halves keep the difference of large numbers finite.
func binOf(x, low, high float64, bins int) int {
	width := high/2 - low/2
	if width == 0 {
		return 0
	}
	return min(int((x/2-low/2)/width*float64(bins)), bins-1)
}

// Change returns ‖a − b‖ / ‖b‖ over the values that are finite in both: 0 for equal ones, +Inf for a change of zeros. Tensors of different numbers of
// values are errs.Invalid.
func Change(ctx context.Context, fa *File, a *object.Tensor, fb *File, b *object.Tensor) (float64, error) {
	rb := fb.Reader(ctx, b)
	other := make([]float64, batch)
	var diff, norm float64
	err := fa.batches(ctx, a, func(v []float64) error {
		n, err := rb.Floats(other[:len(v)])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n < len(v) {
			return fmt.Errorf("tensors of different sizes: %w", errs.Invalid)
		}
		for i, x := range v {
			y := other[i]
			if d := x - y; math.Abs(d) <= math.MaxFloat64 {
				diff += d * d
				norm += y * y
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if n, err := rb.Floats(other[:1]); n > 0 || err != nil && !errors.Is(err, io.EOF) {
		return 0, errors.Join(err, fmt.Errorf("tensors of different sizes: %w", errs.Invalid))
	}
	if diff == 0 {
		return 0, nil
	}
	return math.Sqrt(diff / norm), nil
}
