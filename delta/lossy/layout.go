// Package lossy makes approximations of tensors, for those who ask for them, and codes them. The two are apart: Approximate changes
// the values of a block, once; what comes out is a tensor like any other, with bytes that are kept exactly from then on. The
// Coder is a lossless coder of blocks that look like such an approximation, and refuses all others.
//
// An approximation works on blocks of delta.BlockSize bytes from the beginning of a tensor's storage, each by itself: the scale of a
// block is found again in the block. Scales have so few bits that their products with whole numbers are exact, so that no
// platform rounds them otherwise.
package lossy

import (
	"encoding/binary"
	"errors"

	"coral/delta/element"
	"coral/delta/format/dtype"
)

// A block of n whole elements of F32, BF16 or F16, perhaps followed by the first bytes of another one, with b the base's elements,
// or 0 for the codecs without base:
//
// Quant8, Quant8Base: element = round(b + q·s), q from −127 to 127
//
//	0  2  s, a BF16, finite and not negative
//	2  …  plane of n bytes: q as an 8-bit number
//	…  …  the bytes after the last whole element
//
// Quant16, Quant16Base: the same, q from −32767 to 32767; z = 2q, or −2q−1 for q < 0
//
//	0  2  s, a BF16
//	2  …  plane of n bytes: z / 256
//	…  …  plane of n bytes: z mod 256
//	…  …  the bytes after the last whole element
//
// Axis: element = round(b + s) or round(b − s), with the s of its run
//
//	0  2   R, the number of runs, at most n
//	2  4R  runs: 2 bytes number of elements less 1; 2 bytes s, an F16, finite and not negative
//	…  …   ceil(n/8) bytes: bit i%8 of byte i/8 is 1 for minus; bits after the last are 0
//	…  …   the bytes after the last whole element
//
// Product and sum are float32, then rounded to the block's kind: to nearest, ties to even.
//
// A plane of n bytes:
//
//	0  1  mode: 0 raw: n bytes follow; 1 constant: the byte follows; 2 Huffman coded
//	1  2  in mode 2: length of what follows: a Huffman tree description (RFC 8878 section 4.2.1) and four streams with their jump table
//	…  …
const (
	planeRaw   = 0
	planeConst = 1
	planeHuff  = 2
)

// MaxBlock is the longest block that is coded.
const MaxBlock = 1 << 16

const (
	levels8  = 127
	levels16 = 32767
)

// ErrBlock is returned for a block that cannot be of the codec.
var ErrBlock = errors.New("block of an approximation is malformed")

var le = binary.LittleEndian

// Codec is one of the codings.
type Codec uint8

// The codings, as above.
const (
	Quant8 Codec = iota
	Quant16
	Quant8Base
	Quant16Base
	Axis
)

// Codes reports whether the codecs code elements of kind k: real floats of 32 and 16 bits.
func Codes(k dtype.Kind) bool { return element.Width(k) > 0 && k != dtype.C64 }

func (c Codec) needsBase() bool { return c >= Quant8Base }

func (c Codec) levels() float32 {
	if c == Quant16 || c == Quant16Base {
		return levels16
	}
	return levels8
}

// value is the element that q stands for before it is rounded to its kind. The product is exact: q has at most 15 bits, s 8.
func value(b, q, s float32) float32 { return float32(b + float32(q*s)) }
