// Package element reads blocks of float elements as float32 numbers and writes such numbers as elements, rounding
// to the nearest, ties to even. It is the arithmetic that the codecs of packages coralml and lossy share: every platform
// computes the same bits. Nothing here allocates.
package element

import (
	"encoding/binary"
	"math"

	"coral/delta/format/dtype"
)

var le = binary.LittleEndian

// Width returns the bytes of a number in elements of kind k (a complex element is two numbers), or 0 for kinds that are
// not read as float32: all but F32, C64, F16 and BF16.
func Width(k dtype.Kind) int {
	switch k {
	case dtype.F32, dtype.C64:
		return 4
	case dtype.F16, dtype.BF16:
		return 2
	}
	return 0
}

// Load reads len(dst) numbers of kind k from the front of b. Every one is exact. b holds at least len(dst)*Width(k) bytes.
func Load(dst []float32, b []byte, k dtype.Kind) {
	switch k {
	case dtype.BF16:
		b = b[:2*len(dst)]
		for i := range dst {
			dst[i] = FromBF16(le.Uint16(b[2*i:]))
		}
	case dtype.F16:
		b = b[:2*len(dst)]
		for i := range dst {
			dst[i] = FromF16(le.Uint16(b[2*i:]))
		}
	default:
		b = b[:4*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	}
}

// Store writes the numbers to the front of b as elements of kind k.
func Store(b []byte, src []float32, k dtype.Kind) {
	switch k {
	case dtype.BF16:
		b = b[:2*len(src)]
		for i, f := range src {
			le.PutUint16(b[2*i:], ToBF16(f))
		}
	case dtype.F16:
		b = b[:2*len(src)]
		for i, f := range src {
			le.PutUint16(b[2*i:], ToF16(f))
		}
	default:
		b = b[:4*len(src)]
		for i, f := range src {
			le.PutUint32(b[4*i:], math.Float32bits(f))
		}
	}
}

// Finite reports whether f is neither NaN nor infinite.
func Finite(f float32) bool { return math.Float32bits(f)&0x7f800000 != 0x7f800000 }

// FromBF16 returns the number that a BF16 stands for.
func FromBF16(u uint16) float32 { return math.Float32frombits(uint32(u) << 16) }

// ToBF16 rounds f. A NaN keeps its sign and upper payload bits and is quiet.
func ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// FromF16 returns the number that an F16 stands for.
func FromF16(u uint16) float32 {
	sign, e, m := uint32(u&0x8000)<<16, uint32(u>>10&31), uint32(u&0x3ff)
	switch {
	case e == 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	case e > 0:
		return math.Float32frombits(sign | (e+112)<<23 | m<<13)
	}
	f := float32(m) * float32(1.0/(1<<24)) // exact: m has 10 bits
	return math.Float32frombits(sign | math.Float32bits(f))
}

// ToF16 rounds f; what is too large becomes infinite. A NaN keeps its sign and upper payload bits and is quiet.
func ToF16(f float32) uint16 {
	u := math.Float32bits(f)
	sign, a := uint16(u>>16&0x8000), u&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00 | uint16(a>>13&0x1ff)
	case a >= 0x47800000: // 65536
		return sign | 0x7c00
	case a >= 0x38800000: // 2^-14: normal; a carry out of the mantissa raises the exponent, up to infinity
		return sign | uint16((a-112<<23+0xfff+a>>13&1)>>13)
	case a < 0x33000000: // below 2^-25, half of the least
		return sign
	}
	m := a&0x7fffff | 0x800000
	shift := 126 - a>>23 // from 14 to 24
	half := uint32(1) << (shift - 1)
	return sign | uint16((m+half-1+m>>shift&1)>>shift)
}
