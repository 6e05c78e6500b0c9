package diff

import (
	"math"
	"math/rand/v2"

	"coral/delta/format/dtype"
)

// Low-rank updates (a merged LoRA) are told in two steps. While a pair streams, the difference is sampled at sampleSide rows and as many
// columns; the rank of the sample, by QR with column pivoting, is at most that of the whole. If it is low, the whole is checked by a
// randomised range finder (Halko, Martinsson, Tropp 2011, §4.1): with a Gaussian Ω of r+oversample columns the rank of ΔΩ is that of Δ.
const (
	sampleSide = 128
	maxRank    = 64
	minSide    = 16 // of a matrix
	oversample = 8
	// lowTail is the share of the difference's energy that may lie outside the r directions besides the rounding of the new dtype. 10⁻⁴ is 1 % of
	// the amplitude.
	lowTail = 1e-4
	// noiseLimit is the share of the energy that rounding may be at most: a difference that is mostly rounding says nothing.
	noiseLimit = 0.05
)

// rankGuess is what the sample says.
type rankGuess struct {
	rank    int     // 0: not low
	noise   float64 // share of the energy that is rounding
	sampled bool    // only the sample says so
}

// sample collects the difference of a matrix at sampled rows and columns.
type sample struct {
	kind    dtype.Kind
	rows    []int64 // sorted; nil: nothing is sampled
	cols    []int64
	width   int64     // columns of the matrix
	m       []float64 // len(rows) × len(cols), row-major
	nextRow int
	nextCol int
	noise   float64 // Σ ulp²/12 of the new side: the expected energy of its rounding
	rng     rand.PCG
	min     int64
	scratch []float64
}

// begin prepares for a matrix; a shape that is none is not sampled.
func (s *sample) begin(shape []int64, kind dtype.Kind) {
	s.rows, s.cols = s.rows[:0], s.cols[:0]
	if len(shape) != 2 || shape[0] < minSide || shape[1] < minSide {
		return
	}
	s.kind, s.width, s.min = kind, shape[1], min(shape[0], shape[1])
	s.rng.Seed(uint64(shape[0]), uint64(shape[1])) // the same sample on every run
	s.rows = strata(s.rows, shape[0], &s.rng)
	s.cols = strata(s.cols, shape[1], &s.rng)
	n := len(s.rows) * len(s.cols)
	if cap(s.m) < n {
		s.m = make([]float64, n)
	}
	s.m = s.m[:n]
	s.nextRow, s.nextCol, s.noise = 0, 0, 0
}

// strata appends one random index out of each of sampleSide equal parts of [0, n), all of them if there are fewer.
func strata(dst []int64, n int64, rng *rand.PCG) []int64 {
	parts := min(n, sampleSide)
	for i := range parts {
		from, to := i*n/parts, (i+1)*n/parts // n < 2^48: a file cannot hold more
		dst = append(dst, from+int64(rng.Uint64()%uint64(to-from)))
	}
	return dst
}

// take sees the values [at, at+len(a)) of the matrices and keeps those that are sampled.
func (s *sample) take(a, b []float64, at int64) {
	end := at + int64(len(a))
	for s.nextRow < len(s.rows) {
		i := s.rows[s.nextRow]*s.width + s.cols[s.nextCol]
		if i >= end {
			return
		}
		y := b[i-at]
		s.m[s.nextRow*len(s.cols)+s.nextCol] = y - a[i-at]
		u := ulpOf(y, s.kind)
		s.noise += u * u / 12
		if s.nextCol++; s.nextCol == len(s.cols) {
			s.nextRow, s.nextCol = s.nextRow+1, 0
		}
	}
}

// ulpOf is the distance of floats of a kind near v.
func ulpOf(v float64, k dtype.Kind) float64 {
	man, least := 52, -1074
	switch k {
	case dtype.F32:
		man, least = 23, -149
	case dtype.BF16:
		man, least = 7, -133
	case dtype.F16:
		man, least = 10, -24
	case dtype.F8E4M3:
		man, least = 3, -9
	case dtype.F8E5M2:
		man, least = 2, -16
	}
	if v == 0 {
		return math.Ldexp(1, least)
	}
	_, e := math.Frexp(v) // |v| in [2^(e−1), 2^e)
	return math.Ldexp(1, max(e-1-man, least))
}

// guess returns the rank of the sample if it is low.
func (s *sample) guess() rankGuess {
	if len(s.rows) == 0 || s.nextRow < len(s.rows) {
		return rankGuess{}
	}
	rows, cols := len(s.rows), len(s.cols)
	energy := 0.0
	fullRows := 0
	seen := make([]bool, cols)
	for i := range rows {
		row, any := s.m[i*cols:(i+1)*cols], false
		for j, v := range row {
			energy += v * v
			if v != 0 {
				any, seen[j] = true, true
			}
		}
		if any {
			fullRows++
		}
	}
	fullCols := 0
	for _, ok := range seen {
		if ok {
			fullCols++
		}
	}
	if energy == 0 || math.IsInf(energy, 0) || energy != energy || s.noise > noiseLimit*energy {
		return rankGuess{}
	}
	// A few changed rows are of low rank too, in the sample as in the whole, but of another one: half of the sample must be more than the rank.
	most := min(maxRank, fullRows/2, fullCols/2, int(min(s.min/4, maxRank)))
	r := s.pivoted(most, energy, lowTail*energy+2*s.noise)
	return rankGuess{rank: r, noise: s.noise / energy}
}

// pivoted returns the fewest columns, at most most, outside of whose span there is no more than tail of the sample's energy; 0 if that takes more.
func (s *sample) pivoted(most int, energy, tail float64) int {
	rows, cols := len(s.rows), len(s.cols)
	// Column-major copy, so that the inner loops go along memory.
	s.scratch = append(s.scratch[:0], make([]float64, rows*cols)...)
	for i := range rows {
		for j := range cols {
			s.scratch[j*rows+i] = s.m[i*cols+j]
		}
	}
	return pivotedRank(s.scratch, rows, cols, most, energy, tail)
}

// pivotedRank is modified Gram–Schmidt with column pivoting (Businger, Golub 1965) on m, of rows × cols in column-major order, which it overwrites.
func pivotedRank(m []float64, rows, cols, most int, energy, tail float64) int {
	if energy <= tail {
		return 0
	}
	q := make([]float64, rows)
	for r := 1; r <= most; r++ {
		best, norm := -1, 0.0
		for j := range cols {
			if n := dot(m[j*rows:(j+1)*rows], m[j*rows:(j+1)*rows]); n > norm {
				best, norm = j, n
			}
		}
		if best < 0 {
			return r - 1
		}
		for i, v := range m[best*rows : (best+1)*rows] {
			q[i] = v / math.Sqrt(norm)
		}
		left := 0.0
		for j := range cols {
			c := m[j*rows : (j+1)*rows]
			d := dot(q, c)
			for i := range c {
				c[i] -= float64(d * q[i])
				left += float64(c[i] * c[i])
			}
		}
		if left <= tail {
			return r
		}
	}
	return 0
}

func dot(a, b []float64) (s float64) {
	b = b[:len(a)]
	for i, v := range a {
		s += float64(v * b[i])
	}
	return s
}
