package tensor

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/object"
)

// vector is a file of one F64 vector.
func vector(v ...float64) (*File, *object.Tensor) {
	b := make([]byte, 8*len(v))
	values.Encode(b, v, dtype.F64)
	f := &File{Size: int64(len(b)), Tensors: []object.Tensor{{Name: "v", DType: dtype.F64, Shape: []int64{int64(len(v))}, Length: int64(len(b))}}, src: Plain(bytes.NewReader(b))}
	return f, &f.Tensors[0]
}

func TestSummarize(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	many := make([]float64, 3*batch+5)
	for i := range many {
		many[i] = 1e6 + float64(i%2) // a naive sum of squares loses this
	}
	odd := float64(len(many)/2) / float64(len(many))
	for name, c := range map[string]struct {
		in   []float64
		want Summary
	}{
		"empty":   {nil, Summary{}},
		"one":     {[]float64{-3}, Summary{Count: 1, Mean: -3, RMS: 3, Min: -3, Max: -3}},
		"equal":   {[]float64{2, 2, 2}, Summary{Count: 3, Mean: 2, RMS: 2, Min: 2, Max: 2}},
		"zeros":   {[]float64{0, math.Copysign(0, -1), 3}, Summary{Count: 3, Zeros: 2, Mean: 1, Std: math.Sqrt2, RMS: math.Sqrt(3), Max: 3}},
		"odd":     {[]float64{nan, inf, -inf, 1, -1}, Summary{Count: 5, NaN: 1, Inf: 2, Std: 1, RMS: 1, Min: -1, Max: 1}},
		"nothing": {[]float64{nan, inf}, Summary{Count: 2, NaN: 1, Inf: 1}},
		"tiny":    {[]float64{5e-324, 5e-324}, Summary{Count: 2, Mean: 5e-324, RMS: 5e-324, Min: 5e-324, Max: 5e-324}},
		"many":    {many, Summary{Count: int64(len(many)), Mean: 1e6 + odd, Std: math.Sqrt(odd * (1 - odd)), RMS: math.Hypot(1e6+odd, .5), Min: 1e6, Max: 1e6 + 1}},
	} {
		f, x := vector(c.in...)
		got, err := f.Summarize(t.Context(), x)
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(1, math.Abs(b)) }
		if err != nil || got.Count != c.want.Count || got.Zeros != c.want.Zeros || got.NaN != c.want.NaN || got.Inf != c.want.Inf || got.Min != c.want.Min || got.Max != c.want.Max ||
			!near(got.Mean, c.want.Mean) || !near(got.Std, c.want.Std) || !near(got.RMS, c.want.RMS) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	f, x := vector(0, 1, 1.9, 2, 3.99, 4, 5, -1, math.NaN(), math.Inf(1))
	got, err := f.Histogram(t.Context(), x, 0, 4, 4)
	if err != nil || !slices.Equal(got, []int64{1, 2, 1, 2}) {
		t.Errorf("%v, %v", got, err)
	}
	f, x = vector(-math.MaxFloat64, 0, math.MaxFloat64)
	if got, err := f.Histogram(t.Context(), x, -math.MaxFloat64, math.MaxFloat64, 2); err != nil || !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := f.Histogram(t.Context(), x, 0, 0, 3); err != nil || !slices.Equal(got, []int64{1, 0, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, b := range []float64{math.NaN(), math.Inf(1), -1} {
		if _, err := f.Histogram(t.Context(), x, 0, b, 3); !errors.Is(err, errs.Invalid) {
			t.Errorf("up to %v: %v", b, err)
		}
	}
}

func TestChange(t *testing.T) {
	fb, b := vector(3, 4, math.NaN(), 0)
	for _, c := range []struct {
		a    []float64
		want float64
	}{{[]float64{3, 4, 7, 0}, 0}, {[]float64{0, 0, 1, 0}, 1}, {[]float64{6, 8, math.Inf(1), 0}, 1}} {
		fa, a := vector(c.a...)
		if got, err := Change(t.Context(), fa, a, fb, b); err != nil || got != c.want {
			t.Errorf("%v: %v, %v; want %v", c.a, got, err, c.want)
		}
	}
	zero, z := vector(0, 0)
	one, o := vector(1, 0)
	if got, err := Change(t.Context(), one, o, zero, z); err != nil || !math.IsInf(got, 1) {
		t.Errorf("of zeros: %v, %v", got, err)
	}
	for _, n := range []int{3, 5} {
		fa, a := vector(make([]float64, n)...)
		if _, err := Change(t.Context(), fa, a, fb, b); !errors.Is(err, errs.Invalid) {
			t.Errorf("of %d values: %v", n, err)
		}
	}
}
