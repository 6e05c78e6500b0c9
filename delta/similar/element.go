package similar

import (
	"encoding/binary"
	"math"

	"coral/delta/format/dtype"
)

// parts of a dtype: complex numbers are two elements each. Width 0 means that a dtype's bytes are no numbers that can be told apart here.
func parts(dt dtype.Kind) (part dtype.Kind, width int) {
	switch dt {
	case dtype.C64:
		return dtype.F32, 4
	case dtype.C128:
		return dtype.F64, 8
	case dtype.F64, dtype.F32, dtype.F16, dtype.BF16, dtype.F8E5M2, dtype.F8E4M3,
		dtype.I64, dtype.I32, dtype.I16, dtype.I8, dtype.U64, dtype.U32, dtype.U16, dtype.U8:
		return dt, dt.Width()
	}
	return dtype.Bytes, 0
}

// elements is how many numbers n bytes of dtype dt hold; 0 if dt has none.
func elements(n int, dt dtype.Kind) int {
	_, w := parts(dt)
	if w == 0 {
		return 0
	}
	return n / w
}

// gather fills x with elements at fixed fractions of the first n, or with all n if x holds them.
func gather(x []float32, raw []byte, dt dtype.Kind, n int) {
	part, w := parts(dt)
	if n == len(x) {
		Floats(x, raw, dt)
		return
	}
	switch part { // one loop for each common dtype: this is done for every blob that is stored
	case dtype.F32:
		for i := range x {
			at := int(uint64(points[i]) * uint64(n) >> (sampleLog + fractBits))
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[at*4:]))
		}
	case dtype.BF16:
		for i := range x {
			at := int(uint64(points[i]) * uint64(n) >> (sampleLog + fractBits))
			x[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[at*2:])) << 16)
		}
	default:
		for i := range x {
			at := int(uint64(points[i]) * uint64(n) >> (sampleLog + fractBits))
			x[i] = float(raw[at*w:], part)
		}
	}
}

// Floats fills x with the first len(x) elements of raw as float32 and returns how many there are: fewer if raw is shorter, 0 if dt has no numbers. Integers
// and F64 are rounded, and what is too large becomes infinite.
func Floats(x []float32, raw []byte, dt dtype.Kind) int {
	part, w := parts(dt)
	if w == 0 {
		return 0
	}
	x = x[:min(len(x), len(raw)/w)]
	if part == dtype.F32 {
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4:]))
		}
		return len(x)
	}
	for i := range x {
		x[i] = float(raw[i*w:], part)
	}
	return len(x)
}

// float reads one element.
func float(b []byte, part dtype.Kind) float32 {
	switch part {
	case dtype.F64:
		return float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case dtype.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case dtype.F16:
		return half(binary.LittleEndian.Uint16(b))
	case dtype.BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	case dtype.F8E5M2:
		return half(uint16(b[0]) << 8)
	case dtype.F8E4M3:
		return quarter(b[0])
	case dtype.I64:
		return float32(int64(binary.LittleEndian.Uint64(b)))
	case dtype.I32:
		return float32(int32(binary.LittleEndian.Uint32(b)))
	case dtype.I16:
		return float32(int16(binary.LittleEndian.Uint16(b)))
	case dtype.I8:
		return float32(int8(b[0]))
	case dtype.U64:
		return float32(binary.LittleEndian.Uint64(b))
	case dtype.U32:
		return float32(binary.LittleEndian.Uint32(b))
	case dtype.U16:
		return float32(binary.LittleEndian.Uint16(b))
	}
	return float32(b[0]) // U8
}

// half is an IEEE binary16.
func half(h uint16) float32 {
	sign, exp, man := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7F800000 | man<<13)
	case 0: // denormal: man × 2^-24, exact
		return math.Float32frombits(math.Float32bits(float32(man)*(1.0/(1<<24))) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// quarter is an OCP E4M3: bias 7, no infinities, one NaN.
func quarter(q uint8) float32 {
	sign, exp, man := uint32(q>>7)<<31, uint32(q>>3&15), uint32(q&7)
	switch {
	case exp == 15 && man == 7:
		return float32(math.NaN())
	case exp == 0: // man × 2^-9
		return math.Float32frombits(math.Float32bits(float32(man)*(1.0/512)) | sign)
	}
	return math.Float32frombits(sign | (exp+120)<<23 | man<<20)
}
