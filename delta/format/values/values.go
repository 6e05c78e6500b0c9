// Package values converts the elements of tensors between their stored form (little endian) and float64.
package values

import (
	"encoding/binary"
	"math"

	"coral/delta/format/dtype"
)

// Supported reports whether Decode and Encode know k: every kind with one element to a whole number of bytes, complex numbers (as two values an element) included.
// Packed and block-quantised kinds are not among them.
func Supported(k dtype.Kind) bool { return Width(k) != 0 }

// Width returns the bytes of one value of k: those of an element, half of them for a complex one, 0 where k is not Supported.
func Width(k dtype.Kind) int {
	switch k {
	case dtype.Bytes:
		return 0
	case dtype.C64, dtype.C128:
		return k.Width() / 2
	}
	return k.Width()
}

// Decode sets dst from the elements in src, which holds len(dst) values of a Supported kind, and panics if src is shorter. Every float16 and float8 and 32-bit value is exact;
// 64-bit integers beyond 2^53 are rounded to nearest even. Bool is 0 or 1.
func Decode(dst []float64, src []byte, k dtype.Kind) {
	src = src[:len(dst)*Width(k)]
	le := binary.LittleEndian
	switch k {
	case dtype.F64, dtype.C128:
		for i := range dst {
			dst[i] = math.Float64frombits(le.Uint64(src[8*i:]))
		}
	case dtype.F32, dtype.C64:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(le.Uint32(src[4*i:])))
		}
	case dtype.BF16:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16))
		}
	case dtype.F16:
		for i := range dst {
			dst[i] = half.decode(uint64(le.Uint16(src[2*i:])))
		}
	case dtype.I64:
		for i := range dst {
			dst[i] = float64(int64(le.Uint64(src[8*i:])))
		}
	case dtype.U64:
		for i := range dst {
			dst[i] = float64(le.Uint64(src[8*i:]))
		}
	case dtype.I32:
		for i := range dst {
			dst[i] = float64(int32(le.Uint32(src[4*i:])))
		}
	case dtype.U32:
		for i := range dst {
			dst[i] = float64(le.Uint32(src[4*i:]))
		}
	case dtype.I16:
		for i := range dst {
			dst[i] = float64(int16(le.Uint16(src[2*i:])))
		}
	case dtype.U16:
		for i := range dst {
			dst[i] = float64(le.Uint16(src[2*i:]))
		}
	default:
		t := table(k)
		for i := range dst {
			dst[i] = t[src[i]]
		}
	}
}

// Encode writes src as elements of a Supported kind to dst, which has room for len(src) values, and panics if it has not. Each value is rounded once, to nearest, ties to even.
// Floats: what is too large becomes an infinity, or the largest number where the kind has no infinity (F8E4M3, F8E8M0); NaN stays NaN (of the same sign, payload cut).
// Integers: what is too large or small becomes the largest or smallest, NaN 0. Bool: 0 where the value is 0, else 1.
func Encode(dst []byte, src []float64, k dtype.Kind) {
	dst = dst[:len(src)*Width(k)]
	le := binary.LittleEndian
	for i, v := range src {
		switch k {
		case dtype.F64, dtype.C128:
			le.PutUint64(dst[8*i:], math.Float64bits(v))
		case dtype.F32, dtype.C64:
			le.PutUint32(dst[4*i:], math.Float32bits(float32(v)))
		case dtype.BF16:
			le.PutUint16(dst[2*i:], uint16(brain.encode(v)))
		case dtype.F16:
			le.PutUint16(dst[2*i:], uint16(half.encode(v)))
		case dtype.F8E4M3:
			dst[i] = byte(e4m3.encode(v))
		case dtype.F8E5M2:
			dst[i] = byte(e5m2.encode(v))
		case dtype.F8E8M0:
			dst[i] = encodeE8M0(v)
		case dtype.I64:
			le.PutUint64(dst[8*i:], uint64(integer(v, math.MinInt64, math.MaxInt64)))
		case dtype.U64:
			le.PutUint64(dst[8*i:], unsigned(v))
		case dtype.I32:
			le.PutUint32(dst[4*i:], uint32(integer(v, math.MinInt32, math.MaxInt32)))
		case dtype.U32:
			le.PutUint32(dst[4*i:], uint32(integer(v, 0, math.MaxUint32)))
		case dtype.I16:
			le.PutUint16(dst[2*i:], uint16(integer(v, math.MinInt16, math.MaxInt16)))
		case dtype.U16:
			le.PutUint16(dst[2*i:], uint16(integer(v, 0, math.MaxUint16)))
		case dtype.I8:
			dst[i] = byte(integer(v, math.MinInt8, math.MaxInt8))
		case dtype.U8:
			dst[i] = byte(integer(v, 0, math.MaxUint8))
		case dtype.Bool:
			dst[i] = 0
			if v != 0 {
				dst[i] = 1
			}
		}
	}
}

// integer rounds v to an integer in [lo, hi].
func integer(v float64, lo, hi int64) int64 {
	v = math.RoundToEven(v)
	switch {
	case math.IsNaN(v):
		return 0
	case v <= float64(lo):
		return lo
	case v >= float64(hi): // of MaxInt64, 2^63
		return hi
	}
	return int64(v)
}

// unsigned rounds v to a uint64.
func unsigned(v float64) uint64 {
	v = math.RoundToEven(v)
	switch {
	case math.IsNaN(v) || v <= 0:
		return 0
	case v >= 1<<64:
		return math.MaxUint64
	}
	return uint64(v)
}
