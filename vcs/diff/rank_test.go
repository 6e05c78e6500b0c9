package diff

import (
	"strings"
	"testing"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
)

// lowRank is a rows × cols matrix of rank r.
func lowRank(rows, cols, r int, scale float64) []float64 {
	u, v := normal(rows*r, 11, scale), normal(r*cols, 12, 1)
	out := make([]float64, rows*cols)
	for i := range rows {
		for k := range r {
			for j := range cols {
				out[i*cols+j] += u[i*r+k] * v[k*cols+j]
			}
		}
	}
	return out
}

func plus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

func TestRank(t *testing.T) {
	const rows, cols = 300, 400
	w := normal(rows*cols, 1, 0.05)
	sparseRows := make([]float64, rows*cols)
	copy(sparseRows[40*cols:], normal(30*cols, 5, 0.1))
	for _, c := range []struct {
		name string
		k    dtype.Kind
		d    []float64
		want string
	}{
		{"rank 1", dtype.F32, lowRank(rows, cols, 1, 0.01), "rank 1"},
		{"rank 8", dtype.F32, lowRank(rows, cols, 8, 0.001), "rank 8"},
		{"rank 64", dtype.F32, lowRank(rows, cols, 64, 0.001), "rank 64"},
		{"rank 8 in BF16, well above its rounding", dtype.BF16, lowRank(rows, cols, 8, 0.02), "rank 8"},
		{"below the rounding of BF16", dtype.BF16, lowRank(rows, cols, 8, 0.00002), ""},
		{"rank 90 is too much", dtype.F32, lowRank(rows, cols, 90, 0.001), ""},
		{"noise", dtype.F32, normal(rows*cols, 3, 0.001), ""},
		{"low rank and noise", dtype.F32, plus(lowRank(rows, cols, 4, 0.01), normal(rows*cols, 4, 0.01)), ""},
		{"some rows changed", dtype.F32, sparseRows, ""},
		{"one element changed", dtype.F32, append([]float64{1}, make([]float64, rows*cols-1)...), ""},
	} {
		a := make([]float64, len(w)) // as it is stored
		values.Decode(a, encode(c.k, w), c.k)
		r := compare(t, model(t, matrix("w", c.k, rows, cols, a)), model(t, matrix("w", c.k, rows, cols, plus(a, c.d))))
		if got := strings.Join(r.Tensors[0].Notes, ";"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if (len(r.Notes) > 0) != (c.want != "") {
			t.Errorf("%s: notes %q", c.name, r.Notes)
		}
	}
}

// A sample can be misled: half of the matrix is of rank 2, and the difference of the rest is in few places that it does not see.
func TestConfirmSeesTheWhole(t *testing.T) {
	const side = 512
	d := lowRank(side, side, 2, 0.01)
	for i := range 64 {
		d[(i*7+3)*side+(i*5+2)] += 40
	}
	a, b := matrix("w", dtype.F32, side, side, normal(side*side, 1, 0.05)), spec{}
	b = matrix("w", dtype.F32, side, side, plus(a.v, d))
	w := newWorker(bg, func(int64) {})
	oa, ob := rawOperand(dtype.F32, encode(dtype.F32, a.v), a.shape), rawOperand(dtype.F32, encode(dtype.F32, b.v), b.shape)
	rank, sure, err := w.confirm(oa, ob, a.shape, rankGuess{rank: 2, noise: 1e-9})
	if err != nil || !sure || rank != 0 {
		t.Errorf("rank %d, %v, %v", rank, sure, err)
	}
	if _, sure, err := w.confirm(oa, ob, []int64{1 << 20, 1 << 20}, rankGuess{rank: 2}); sure || err != nil {
		t.Errorf("a matrix that is too large is checked: %v, %v", sure, err)
	}
}
