// Package coralml codes single blocks the way the lossless strategies of coral-ml do, the Python system before this one, for
// those who ask for them by name. Where that system lost bits (base + (new − base) is not always new), a block here says
// which elements are to be taken as they are, or is refused; the caller then codes it by another codec. Blocks carry all that they need
// besides the base: there are no tables.
package coralml

import (
	"encoding/binary"
	"errors"

	"coral/delta/format/dtype"
)

// A block of n whole elements of w bytes, perhaps followed by the first bytes of another one. Complex elements count as two.
//
// Stream of m bytes, m known:
//
//	0  1  mode: 0 the m bytes follow; 1 a zstd frame follows that decodes to them; 2 nothing: all are 0
//	1  3  in mode 1: length of the frame
//	…  …  the bytes or the frame
//
// Float32Raw, w 2 or 4:
//
//	0   nw  differences, elements of the block's kind
//	nw  …   the bytes after the last whole element
//
// Compressed, w 2 or 4:
//
//	0  2    k, the number of exceptions, at most n/8
//	2  2k   their places, increasing
//	…  kw   their elements
//	…  …    stream of nw bytes: the differences, 0 at exceptions
//	…  …    the bytes after the last whole element
//
// An element is round(base + difference): float32 arithmetic, rounded to the kind, nearest, ties to even.
//
// XorFloat32, XorBFloat16 and FieldsBase code the difference of the byte planes (package plane) of block and base, Fields the
// block's own planes; w is 2, 4 or 8. E is the exponent plane of n bytes, S the sign plane, L the low part of n(w−2) bytes:
//
//	XorFloat32   streams of E; of S and then L               differences by XOR
//	XorBFloat16  streams of E; of S; of L, if w > 2          differences by XOR
//	Fields       streams of E; of the sign bits, bit i%8 of byte i/8 (the bits after the last are 0); of S without them; of L, if w > 2
//	FieldsBase   as Fields; E by subtraction modulo 256, the rest by XOR
//
// and then the bytes after the last whole element.
const (
	streamRaw  = 0
	streamZstd = 1
	streamZero = 2

	frameLen = 3 // bytes of a frame's length
)

// MaxBlock is the longest block that is coded.
const MaxBlock = 1 << 16

// exceptionPart is the part of the elements (1/8) that may be exceptions.
const exceptionPart = 8

// ErrBlock is returned for a block that cannot be of the codec.
var ErrBlock = errors.New("coral-ml block is malformed")

var le = binary.LittleEndian

// Codec is one of the codings.
type Codec uint8

// The codings, as above. All but Fields need a base.
const (
	Float32Raw Codec = iota
	Compressed
	XorFloat32
	XorBFloat16
	Fields
	FieldsBase
)

// Codes reports whether c codes elements of kind k.
func (c Codec) Codes(k dtype.Kind) bool {
	switch k {
	case dtype.F32, dtype.C64, dtype.F16, dtype.BF16:
		return c <= FieldsBase
	case dtype.F64, dtype.C128:
		return c >= XorFloat32 && c <= FieldsBase
	}
	return false
}

// needsBase reports whether decoding takes the base.
func (c Codec) needsBase() bool { return c != Fields }

// width returns w.
func width(k dtype.Kind) int {
	switch k {
	case dtype.F16, dtype.BF16:
		return 2
	case dtype.F64, dtype.C128:
		return 8
	}
	return 4
}
