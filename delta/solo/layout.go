// Package solo codes a block of typed elements without a base: each byte plane is stored raw, as
// one byte if it is constant, or Huffman coded (huff0, the coder of zstd's literals), whichever is smaller.
// Of trained floats only the exponent plane shrinks; of floats that were cast up from a narrower
// kind the low planes do as well. The Huffman tables are shared by the blocks of a blob.
package solo

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"

	"coral/delta/format/dtype"
)

// A block of n whole elements, of a shape with P planes:
//
//	0  (P+1)/2  modes: of plane p in the low (p even) or high (p odd) half of byte p/2
//	…  …        the planes, from P-1 down to 0, each by its mode:
//	              0  raw: n bytes
//	              1  constant: 1 byte
//	              2  huff0: 2 bytes length, then that many bytes: four streams and their jump table as in
//	                 RFC 8878 section 4.2.2, with the blob's table for the plane; n is at least 12
//	              3  all low planes as one raw run, in element order; all of them have this
//	                 mode, and the run stands where plane 0 would
//	…  …        the bytes after the last whole element, as they are
//
// A table, in the header of the blob, is a Huffman tree description as in RFC 8878 section 4.2.1. Blocks
// have at most 65536 bytes.
//
// The planes of floats: the low planes are the bytes of the element below the two top ones, plane 0
// the lowest; plane P-2 is the sign plane and P-1 the exponent plane of package plane. Kinds
// without a top (integers, 8-bit floats) have just their bytes.
const (
	modeRaw   = 0
	modeConst = 1
	modeHuff  = 2
	modeRun   = 3
)

// MaxPlanes is the largest number of planes of a shape.
const MaxPlanes = 8

const (
	maxBlock = 1 << 16
	minHuff  = 12 // four streams need three symbols each
)

// ErrBlock is returned for a block that cannot be of this codec.
var ErrBlock = errors.New("plane-split block is malformed")

// Shape says how an element is cut.
type Shape struct {
	Width int
	Top   bool // the two top bytes become an exponent and a sign plane
}

// Planes returns the number of planes, Low how many of them are low planes.
func (s Shape) Planes() int { return s.Width }

// Low returns the number of low planes.
func (s Shape) Low() int {
	if s.Top {
		return s.Width - 2
	}
	return s.Width
}

// ShapeOf returns the shape of a kind; ok is false for kinds that are not split.
func ShapeOf(k dtype.Kind) (s Shape, ok bool) {
	switch k {
	case dtype.F16, dtype.BF16:
		return Shape{2, true}, true
	case dtype.F32, dtype.C64:
		return Shape{4, true}, true
	case dtype.F64, dtype.C128:
		return Shape{8, true}, true
	case dtype.I8, dtype.U8, dtype.Bool, dtype.F8E4M3, dtype.F8E5M2, dtype.F8E8M0:
		return Shape{1, false}, true
	case dtype.I16, dtype.U16:
		return Shape{2, false}, true
	case dtype.I32, dtype.U32:
		return Shape{4, false}, true
	case dtype.I64, dtype.U64:
		return Shape{8, false}, true
	}
	return Shape{}, false
}

// Tables are the Huffman tables of a blob, by plane. They are immutable once parsed.
type Tables struct {
	dec [MaxPlanes]*huff0.Decoder
	buf [MaxPlanes]*huff0.Scratch
}

// Reset forgets the tables and keeps their memory. Decoders of the old tables are invalid.
func (t *Tables) Reset() { t.dec = [MaxPlanes]*huff0.Decoder{} }

// Has reports whether there is a table for the plane.
func (t *Tables) Has(plane int) bool { return plane < MaxPlanes && t.dec[plane] != nil }

// Parse reads the table of a plane.
func (t *Tables) Parse(plane int, b []byte) error {
	if plane < 0 || plane >= MaxPlanes || t.dec[plane] != nil {
		return fmt.Errorf("table of plane %d: out of place", plane)
	}
	s, rest, err := huff0.ReadTable(b, t.buf[plane])
	t.buf[plane] = s
	if err != nil {
		return fmt.Errorf("table of plane %d: %w", plane, err)
	}
	if len(rest) != 0 {
		return fmt.Errorf("table of plane %d: %d bytes too long", plane, len(rest))
	}
	t.dec[plane] = s.Decoder()
	return nil
}
