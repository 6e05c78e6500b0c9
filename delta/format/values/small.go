package values

import (
	"math"

	"coral/delta/format/dtype"
)

// minifloat describes a small binary float: a sign, exp bits of exponent with a bias of 2^(exp-1)-1, man bits of mantissa.
// finite ones (OCP 8-bit E4M3) have no infinity: only the pattern of all ones is NaN.
type minifloat struct {
	exp, man uint
	finite   bool
}

// IEEE 754 binary16, bfloat16, and the two formats of "OCP 8-bit Floating Point Specification" 1.0 (PyTorch's float8_e4m3fn and float8_e5m2).
var (
	half  = minifloat{exp: 5, man: 10}
	brain = minifloat{exp: 8, man: 7}
	e4m3  = minifloat{exp: 4, man: 3, finite: true}
	e5m2  = minifloat{exp: 5, man: 2}
)

func (f minifloat) bias() int { return 1<<(f.exp-1) - 1 }

// decode returns the value of a pattern, exactly.
func (f minifloat) decode(p uint64) float64 {
	man := p & (1<<f.man - 1)
	exp := int(p >> f.man & (1<<f.exp - 1))
	top := 1<<f.exp - 1
	var v float64
	switch {
	case exp == top && (!f.finite && man != 0 || f.finite && man == 1<<f.man-1):
		v = math.NaN()
	case exp == top && !f.finite:
		v = math.Inf(1)
	case exp == 0:
		v = math.Ldexp(float64(man), 1-f.bias()-int(f.man))
	default:
		v = math.Ldexp(float64(man|1<<f.man), exp-f.bias()-int(f.man))
	}
	if p>>(f.exp+f.man)&1 != 0 {
		v = math.Copysign(v, -1)
	}
	return v
}

// encode rounds to nearest, ties to even.
func (f minifloat) encode(v float64) uint64 {
	b := math.Float64bits(v)
	sign := b >> 63 << (f.exp + f.man)
	top := uint64(1<<f.exp-1) << f.man // exponent all ones
	if math.IsNaN(v) {
		if f.finite {
			return sign | top | (1<<f.man - 1)
		}
		return sign | top | 1<<(f.man-1)
	}
	a := math.Abs(v)
	least := 1 - f.bias() // exponent of the smallest normal number
	e := least
	if a != 0 {
		e = max(math.Ilogb(a), least) // of an infinity: a huge one
	}
	if e > f.bias()+1 {
		return sign | f.most()
	}
	// a / 2^(e-man) is exact or has bits beyond the point, which are rounded away; a carry out of the mantissa goes into the exponent, as the pattern is monotone.
	m := uint64(math.RoundToEven(math.Ldexp(a, int(f.man)-e)))
	p := uint64(e-least)<<f.man + m
	return sign | min(p, f.most())
}

// most is the pattern of an infinity, or of the largest number where there is none.
func (f minifloat) most() uint64 {
	top := uint64(1<<f.exp-1) << f.man
	if f.finite {
		return top | (1<<f.man - 2)
	}
	return top
}

// encodeE8M0 rounds to the nearest power of two (in its exponent; the larger of two equally near); what is no positive number is NaN (255), except that 0 is the smallest.
func encodeE8M0(v float64) byte {
	switch {
	case math.IsNaN(v) || v < 0:
		return 255
	case math.IsInf(v, 1):
		return 254
	case v == 0:
		return 0
	}
	frac, e := math.Frexp(v) // v = frac × 2^e, frac in [0.5, 1)
	if frac < 0.75 {
		e--
	}
	return byte(max(0, min(254, e+127)))
}

// table holds what the 256 patterns of each one-byte kind mean.
func table(k dtype.Kind) *[256]float64 {
	switch k {
	case dtype.F8E4M3:
		return &tables[0]
	case dtype.F8E5M2:
		return &tables[1]
	case dtype.F8E8M0:
		return &tables[2]
	case dtype.I8:
		return &tables[3]
	case dtype.U8:
		return &tables[4]
	case dtype.Bool:
		return &tables[5]
	}
	panic("values: no such kind: " + k.String())
}

var tables = func() (t [6][256]float64) {
	for i := range 256 {
		t[0][i] = e4m3.decode(uint64(i))
		t[1][i] = e5m2.decode(uint64(i))
		t[2][i] = math.Ldexp(1, i-127)
		t[3][i] = float64(int8(i))
		t[4][i] = float64(i)
		if i > 0 {
			t[5][i] = 1
		}
	}
	t[2][255] = math.NaN()
	return t
}()
