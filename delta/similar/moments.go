package similar

import "math"

// Moments are the sums that an exact comparison of two tensors needs. Pairs with a NaN or an infinity in them are passed over.
type Moments struct {
	n, x, y, xx, yy, xy float64
}

// Add takes pairs of elements; x and y are equally long.
func (m *Moments) Add(x, y []float32) {
	for i, e := range x {
		f := y[i]
		if !isFinite(e) || !isFinite(f) {
			continue
		}
		a, b := float64(e), float64(f)
		m.n++
		m.x += a
		m.y += b
		m.xx += float64(a * a) // products of float32 values are exact in float64
		m.yy += float64(b * b)
		m.xy += float64(a * b)
	}
}

// Cosine is that of the angle between the two tensors: 0 if one of them is all zero, and 1 if both are.
func (m *Moments) Cosine() float64 { return ratio(m.xy, m.xx, m.yy) }

// Correlation is Pearson's: the cosine after the means are taken away. 1 if both are constant.
func (m *Moments) Correlation() float64 {
	if m.n == 0 {
		return 0
	}
	return ratio(m.xy-float64(m.x*m.y)/m.n, m.xx-float64(m.x*m.x)/m.n, m.yy-float64(m.y*m.y)/m.n)
}

func ratio(xy, xx, yy float64) float64 {
	xx, yy = max(xx, 0), max(yy, 0) // rounding
	switch {
	case xx == 0 && yy == 0:
		return 1
	case xx == 0 || yy == 0:
		return 0
	}
	return max(-1, min(1, xy/math.Sqrt(xx)/math.Sqrt(yy)))
}
