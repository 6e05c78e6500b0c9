// Package dequant turns the quantised blocks of GGUF files into float32, by the formulas of ggml's reference code
// (dequantize_row_* in ggml-quants.c of llama.cpp): each product and each sum is rounded to float32, in the order that it has
// there, so that every bit is that of the gguf Python package. testdata/make.py has made the proof.
//
// It knows the block kinds that dtype names. What a block looks like stands before the function that reads it: offset and
// size in bytes, little endian; "f16" is an IEEE half.
package dequant

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// MaxElements is the largest number of elements of a block of any kind.
const MaxElements = superBlock

const (
	smallBlock = 32  // elements of Q4_0 … Q8_1, IQ4_NL and MXFP4
	superBlock = 256 // elements of the K-quants and IQ4_XS
)

// block is how a kind is laid out and read: read fills out, which has elements items, from in, which has bytes.
type block struct {
	elements, bytes int
	read            func(out []float32, in []byte)
}

var blocks = map[dtype.Kind]block{
	dtype.Q4_0: {smallBlock, 18, q4_0}, dtype.Q4_1: {smallBlock, 20, q4_1}, dtype.Q5_0: {smallBlock, 22, q5_0}, dtype.Q5_1: {smallBlock, 24, q5_1},
	dtype.Q8_0: {smallBlock, 34, q8_0}, dtype.Q8_1: {smallBlock, 36, q8_1},
	dtype.Q2_K: {superBlock, 84, q2K}, dtype.Q3_K: {superBlock, 110, q3K}, dtype.Q4_K: {superBlock, 144, q4K}, dtype.Q5_K: {superBlock, 176, q5K},
	dtype.Q6_K: {superBlock, 210, q6K}, dtype.Q8_K: {superBlock, 292, q8K},
	dtype.IQ4_NL: {smallBlock, 18, iq4NL}, dtype.IQ4_XS: {superBlock, 136, iq4XS}, dtype.MXFP4: {smallBlock, 17, mxfp4},
}

// Block returns how many elements a block of k has and how many bytes it takes; ok is false if this package does not know k.
func Block(k dtype.Kind) (elements, bytes int, ok bool) {
	b, ok := blocks[k]
	return b.elements, b.bytes, ok
}

// Decode writes the elements of the whole blocks in src to dst as little-endian float32, 4 bytes each. dst must have exactly
// the room that they take. What does not fit, or is of no known kind, is errs.Invalid.
func Decode(dst, src []byte, k dtype.Kind) error {
	b, ok := blocks[k]
	if !ok {
		return fmt.Errorf("dequantise %s: no such block kind: %w", k, errs.Invalid)
	}
	if n := len(src) / b.bytes; len(src)%b.bytes != 0 || len(dst)%(4*b.elements) != 0 || len(dst)/(4*b.elements) != n {
		return fmt.Errorf("dequantise %s: %d bytes into %d: %w", k, len(src), len(dst), errs.Invalid)
	}
	values := scratch.Get().(*[MaxElements]float32)
	defer scratch.Put(values)
	out := values[:b.elements]
	for ; len(src) > 0; src = src[b.bytes:] {
		b.read(out, src[:b.bytes])
		for i, v := range out {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		dst = dst[4*b.elements:]
	}
	return nil
}

// scratch holds a block's values: one on the stack would escape, as it is passed to a function that is looked up.
var scratch = sync.Pool{New: func() any { return new([MaxElements]float32) }}

// half returns the f16 at the begin of b.
func half(b []byte) float32 {
	h := uint32(binary.LittleEndian.Uint16(b))
	sign, exp, man := h>>15<<31, h>>10&0x1f, h&0x3ff
	switch exp {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case 0:
		v := float32(man) * 0x1p-24 // exact
		if sign != 0 {
			v = -v
		}
		return v
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | man<<13)
}
