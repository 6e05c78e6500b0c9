package diff

import "math"

// sums are the moments of a pair, over the elements that are finite on both sides, and counts over all elements.
type sums struct {
	n        int64 // elements compared
	finite   int64 // of these, finite on both sides
	changed  int64 // whose bits differ
	aa, bb   float64
	ab, dd   float64 // Σ a·b, Σ (b−a)²
	max      float64 // of |b−a|
	maxAt    int64   // where, in row-major order; −1 if all are equal
	zeroA    int64
	zeroB    int64
	nanA     int64
	nanB     int64
	infA     int64
	infB     int64
	overflow bool // a difference of finite elements was infinite
}

// add takes the next elements, of which the first is number at. It is the hot loop: BenchmarkMeasure. Products are converted explicitly so that
// no platform fuses them. A chunk is summed on its own before it is added to the total, which keeps the error of long
// tensors to that of a chunk.
func (s *sums) add(a, b []float64, at int64) {
	b = b[:len(a)]
	var aa, bb, ab, dd float64
	top, where := s.max, -1
	var zeroA, zeroB, odd int64
	for i, x := range a {
		y := b[i]
		d := y - x
		if d-d != 0 { // NaN or infinite: no sum would survive it
			odd++
			s.special(x, y)
			continue
		}
		aa += float64(x * x)
		bb += float64(y * y)
		ab += float64(x * y)
		dd += float64(d * d)
		if d = math.Abs(d); d > top {
			top, where = d, i
		}
		if x == 0 {
			zeroA++
		}
		if y == 0 {
			zeroB++
		}
	}
	s.n += int64(len(a))
	s.finite += int64(len(a)) - odd
	s.aa += aa
	s.bb += bb
	s.ab += ab
	s.dd += dd
	s.zeroA += zeroA
	s.zeroB += zeroB
	if where >= 0 {
		s.max, s.maxAt = top, at+int64(where)
	}
}

// special counts an element with a difference that is not finite.
func (s *sums) special(x, y float64) {
	count := func(v float64, nan, inf, zero *int64) (finite bool) {
		switch {
		case v != v:
			*nan++
		case math.IsInf(v, 0):
			*inf++
		default:
			if v == 0 {
				*zero++
			}
			return true
		}
		return false
	}
	fa := count(x, &s.nanA, &s.infA, &s.zeroA)
	fb := count(y, &s.nanB, &s.infB, &s.zeroB)
	s.overflow = s.overflow || fa && fb
}

// outOfRange reports sums of squares that left the range of float64 though the elements are in it: only F64 can do that.
func (s *sums) outOfRange() bool {
	total := s.aa + s.bb + s.dd
	tiny := total < 0x1p-900 && s.zeroA+s.zeroB+s.nanA+s.nanB+s.infA+s.infB < 2*s.n
	return s.overflow || math.IsInf(total, 0) || total != total || tiny
}

// merge adds another pair's.
func (s *sums) merge(o *sums) {
	s.n += o.n
	s.finite += o.finite
	s.changed += o.changed
	s.aa += o.aa
	s.bb += o.bb
	s.ab += o.ab
	s.dd += o.dd
	s.max = math.Max(s.max, o.max)
	s.zeroA += o.zeroA
	s.zeroB += o.zeroB
	s.nanA += o.nanA
	s.nanB += o.nanB
	s.infA += o.infA
	s.infB += o.infB
}

// cosine is Σab/√(Σaa·Σbb); 1 for two zero vectors, 0 if one is zero, NaN if there is no finite element.
func (s *sums) cosine() float64 {
	switch {
	case s.finite == 0 && s.n > 0:
		return math.NaN()
	case s.aa == 0 && s.bb == 0:
		return 1
	case s.aa == 0 || s.bb == 0:
		return 0
	case s.dd == 0: // equal: not 1−2⁻⁵³ by rounding
		return 1
	}
	return math.Max(-1, math.Min(1, s.ab/(math.Sqrt(s.aa)*math.Sqrt(s.bb))))
}

// relL2 is ‖b−a‖/‖a‖; 0 if b = a, +Inf if only a is zero, NaN if there is no finite element.
func (s *sums) relL2() float64 {
	switch {
	case s.finite == 0 && s.n > 0:
		return math.NaN()
	case s.dd == 0:
		return 0
	}
	return math.Sqrt(s.dd) / math.Sqrt(s.aa) // x/0 is +Inf
}
