package dequant

import (
	"encoding/binary"
	"math"
)

// q4_0: 0 2 d f16, 2 16 quants. The low halves of the bytes are elements 0 to 15, the high ones 16 to 31. y = d·(q-8).
func q4_0(out []float32, in []byte) {
	d := half(in)
	for i, q := range in[2:18] {
		out[i] = d * float32(int(q&15)-8)
		out[i+16] = d * float32(int(q>>4)-8)
	}
}

// q4_1: 0 2 d f16, 2 2 m f16, 4 16 quants as in q4_0. y = d·q + m.
func q4_1(out []float32, in []byte) {
	d, m := half(in), half(in[2:])
	for i, q := range in[4:20] {
		out[i] = float32(d*float32(q&15)) + m
		out[i+16] = float32(d*float32(q>>4)) + m
	}
}

// q5_0: 0 2 d f16, 2 4 the fifth bits, element 0 lowest, 6 16 quants as in q4_0. y = d·(q-16).
func q5_0(out []float32, in []byte) {
	d, high := half(in), binary.LittleEndian.Uint32(in[2:])
	for i, q := range in[6:22] {
		lo, hi := fifth(q, high, i)
		out[i] = d * float32(lo-16)
		out[i+16] = d * float32(hi-16)
	}
}

// q5_1: 0 2 d f16, 2 2 m f16, 4 4 the fifth bits, 8 16 quants as in q5_0. y = d·q + m.
func q5_1(out []float32, in []byte) {
	d, m, high := half(in), half(in[2:]), binary.LittleEndian.Uint32(in[4:])
	for i, q := range in[8:24] {
		lo, hi := fifth(q, high, i)
		out[i] = float32(d*float32(lo)) + m
		out[i+16] = float32(d*float32(hi)) + m
	}
}

// fifth returns elements i and i+16 of a block with four bits of each in q and the fifth in high.
func fifth(q byte, high uint32, i int) (lo, hi int) {
	return int(q&15) | int(high>>i&1)<<4, int(q>>4) | int(high>>(i+16)&1)<<4
}

// q8_0: 0 2 d f16, 2 32 quants as i8. y = d·q.
func q8_0(out []float32, in []byte) { bytesBy(out, half(in), in[2:34]) }

// q8_1: 0 2 d f16, 2 2 s f16 (d × the sum of the quants, for dot products), 4 32 quants as i8. y = d·q.
func q8_1(out []float32, in []byte) { bytesBy(out, half(in), in[4:36]) }

// q8K: 0 4 d f32, 4 256 quants as i8, 260 32 sums of 16 quants each as i16. y = d·q.
func q8K(out []float32, in []byte) {
	bytesBy(out, math.Float32frombits(binary.LittleEndian.Uint32(in)), in[4:260])
}

func bytesBy(out []float32, d float32, quants []byte) {
	for i, q := range quants {
		out[i] = d * float32(int8(q))
	}
}

// The values that four bits stand for: of IQ4_NL and IQ4_XS, and twice those of a float of 4 bits (E2M1).
var (
	nonLinear = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4       = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// iq4NL: 0 2 d f16, 2 16 indices as in q4_0. y = d·nonLinear[q].
func iq4NL(out []float32, in []byte) { tableBy(out, half(in), in[2:18], &nonLinear) }

// mxfp4: 0 1 e, a power of two (E8M0), 1 16 indices as in q4_0. y = 2^(e-128)·fp4[q], as the values of fp4 are doubled.
func mxfp4(out []float32, in []byte) {
	bits := uint32(0x00200000) << in[0] // 2^-128 and 2^-127 are denormal
	if in[0] >= 2 {
		bits = uint32(in[0]-1) << 23
	}
	tableBy(out, math.Float32frombits(bits), in[1:17], &fp4)
}

func tableBy(out []float32, d float32, indices []byte, table *[16]float32) {
	for i, q := range indices {
		out[i] = d * table[q&15]
		out[i+len(indices)] = d * table[q>>4]
	}
}
