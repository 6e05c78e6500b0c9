package diff

import (
	"math"
	"math/rand/v2"

	"coral/delta/format/values"
)

// Bounds of the check on the whole matrix.
const (
	finderCols = 1 << 15 // Ω has so many rows at most: 19 MiB with maxRank
	finderWork = 1 << 31 // multiplications
)

// finder is the randomised range finder that confirms the rank that a sample had.
type finder struct {
	omega []float64 // cols × l, row-major
	y     []float64 // one row of ΔΩ
	gram  []float64 // ΩᵀΔᵀΔΩ
}

// confirm reads a pair once more and returns the rank of the whole difference; ok is false if the matrix is too large for it. A rank of 0: it is not
// low, the sample was misleading.
func (w *worker) confirm(a, b operand, shape []int64, g rankGuess) (rank int, ok bool, err error) {
	l := g.rank + oversample
	rows, cols := shape[0], shape[1]
	if cols > finderCols || rows > finderWork/cols/int64(l) {
		return g.rank, false, nil
	}
	f := &w.finder
	f.begin(int(cols), l)
	wa, wb := values.Width(a.t.DType), values.Width(b.t.DType)
	ra, rb := a.reader(w.ctx), b.reader(w.ctx)
	col := 0
	for left := rows * cols; left > 0; {
		count := int(min(left, valuesPerStep))
		rawA, rawB := w.grow(&w.rawA, count*wa), w.grow(&w.rawB, count*wb)
		if err := readBoth(ra, rb, rawA, rawB); err != nil {
			return 0, false, err
		}
		va, vb := w.a[:count], w.b[:count]
		values.Decode(va, rawA, a.t.DType)
		values.Decode(vb, rawB, b.t.DType)
		for i, x := range va {
			if d := vb[i] - x; d != 0 {
				f.element(col, d)
			}
			if col++; col == int(cols) {
				f.row()
				col = 0
			}
		}
		left -= int64(count)
	}
	return f.rank(g.noise), true, nil
}

// begin draws Ω, the same one on every run.
func (f *finder) begin(cols, l int) {
	rng := rand.New(rand.NewPCG(uint64(cols), uint64(l)))
	if cap(f.omega) < cols*l {
		f.omega = make([]float64, cols*l)
	}
	f.omega = f.omega[:cols*l]
	for i := range f.omega {
		f.omega[i] = rng.NormFloat64()
	}
	f.y = append(f.y[:0], make([]float64, l)...)
	f.gram = append(f.gram[:0], make([]float64, l*l)...)
}

// element adds d·Ω[col] to the row in work.
func (f *finder) element(col int, d float64) {
	y := f.y
	for j, v := range f.omega[col*len(y):][:len(y)] {
		y[j] += float64(d * v)
	}
}

// row adds the finished row to the Gram matrix.
func (f *finder) row() {
	l := len(f.y)
	for i, x := range f.y {
		if x != 0 {
			g := f.gram[i*l : (i+1)*l]
			for j, v := range f.y {
				g[j] += float64(x * v)
			}
		}
	}
	clear(f.y)
}

// rank is by Cholesky with complete pivoting on the Gram matrix: what is left of its trace is the energy outside of the directions taken. Rounding,
// whose share of the energy is noise, spreads over all directions, and is a little amplified by taking noisy columns for directions.
func (f *finder) rank(noise float64) int {
	l := len(f.y)
	g := f.gram
	total := 0.0
	for i := range l {
		total += g[i*l+i]
	}
	if total == 0 || math.IsInf(total, 0) || total != total {
		return 0
	}
	tail := (lowTail + 8*noise) * total
	for r := 1; r <= l-oversample/2 && r <= maxRank; r++ {
		p := 0
		for i := range l {
			if g[i*l+i] > g[p*l+p] {
				p = i
			}
		}
		d := g[p*l+p]
		if d <= 0 {
			return r - 1
		}
		left := 0.0
		pivot := append([]float64{}, g[p*l:(p+1)*l]...)
		for i := range l {
			for j := range l {
				g[i*l+j] -= float64(pivot[i] * pivot[j] / d)
			}
			left += math.Max(0, g[i*l+i])
		}
		if left <= tail {
			return r
		}
	}
	return 0
}
