package derive

import (
	"math"

	"coral/delta/format/dtype"
)

// linear fills dst, elements of dt, with p's combination of the terms' bytes in. Every operation is rounded to binary32 (explicitly, so that no
// compiler fuses two), and each result that is a NaN is the quiet one, 7fc00000: which NaN an operation gives depends on the platform.
func linear(dst []byte, in [][]byte, dt dtype.Kind, p *Piece) {
	var acc, x, y [chunk]float32
	w := dt.Width()
	for at, n := 0, len(dst)/w; at < n; at += chunk {
		k := min(chunk, n-at)
		a := acc[:k]
		get := func(v *[chunk]float32, term int) []float32 {
			kind := p.Terms[term].DType
			load(v[:k], in[term][at*kind.Width():], kind)
			return v[:k]
		}
		get(&acc, 0)
		s := steps{dt: dt, each: p.Mode&Stepwise != 0}
		switch p.Mode &^ Stepwise {
		case Sum:
			s.scale(a, p.Terms[0].Coef)
			for i := 1; i < len(p.Terms); i++ {
				v := get(&x, i)
				s.scale(v, p.Terms[i].Coef)
				s.add(a, v)
			}
		case Fused:
			if c := p.Terms[0].Coef; c != 1 {
				s.scale(a, c)
			}
			for i := 1; i < len(p.Terms); i++ {
				s.fma(a, get(&x, i), p.Terms[i].Coef)
			}
		case Mean:
			for i := 1; i < len(p.Terms); i++ {
				s.add(a, get(&x, i))
			}
			s.divide(a, p.Terms[0].Coef)
		case Lerp:
			s.lerp(a, get(&x, 1), p.Terms[1].Coef)
		case Task, TaskF:
			v := get(&x, 1)
			s.sub(v, get(&y, 2))
			if c := p.Terms[1].Coef; p.Mode&^Stepwise == TaskF {
				s.fma(a, v, c)
			} else {
				s.scale(v, c)
				s.add(a, v)
			}
		}
		for i, v := range a {
			if v != v {
				a[i] = math.Float32frombits(0x7fc00000)
			}
		}
		store(dst[at*w:], a, dt)
	}
}

// steps are the operations; with each, results are rounded to dt as well.
type steps struct {
	dt   dtype.Kind
	each bool
}

func (s steps) done(a []float32) {
	if !s.each || s.dt == dtype.F32 {
		return
	}
	for i, v := range a {
		a[i] = round(v, s.dt)
	}
}

// scale multiplies a by c.
func (s steps) scale(a []float32, c float32) {
	for i, v := range a {
		a[i] = float32(v * c)
	}
	s.done(a)
}

// add adds x to a.
func (s steps) add(a, x []float32) {
	for i, v := range a {
		a[i] = float32(v + x[i])
	}
	s.done(a)
}

// sub subtracts x from a.
func (s steps) sub(a, x []float32) {
	for i, v := range a {
		a[i] = float32(v - x[i])
	}
	s.done(a)
}

func (s steps) divide(a []float32, c float32) {
	for i, v := range a {
		a[i] = float32(v / c)
	}
	s.done(a)
}

// fma adds c·x to a with one rounding.
func (s steps) fma(a, x []float32, c float32) {
	for i, v := range a {
		a[i] = fma(c, x[i], v)
	}
	s.done(a)
}

func (s steps) lerp(a, b []float32, w float32) {
	coef, end := w, false
	if !(w < 0.5) {
		coef, end = float32(w-1), true
	}
	for i, v := range a {
		d := float32(b[i] - v)
		if end {
			v = b[i]
		}
		a[i] = fma(coef, d, v)
	}
	s.done(a)
}

// fma returns a·b + c: the product is exact in binary64, the sum is rounded to binary64 and then to binary32. Processors round once; the two differ in
// about one of 2^29 sums.
func fma(a, b, c float32) float32 {
	p := float64(a) * float64(b) // exact, so it does not matter if a compiler fuses it with the sum
	return float32(float64(p + float64(c)))
}
