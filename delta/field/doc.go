// Package field codes a block of elements without a base by their fields: a float's exponent and first mantissa bits, a
// byte of an integer, or the scales and quants of a GGUF block (a struct of 32 or 256 weights). Every field is a column of byte symbols that
// is stored raw, as one byte, or coded by package rans with frequencies shared by the blocks of a blob. Zero elements may be left out.
//
// It is package solo's successor: smaller by what Huffman codes lose and by what a float's mantissa owes to its exponent, and
// at home in quantised weights, whose structs no byte-wise coder sees.
package field

import "errors"

// A block of n whole structs, of a kind with C columns (layouts.go), is, little endian:
//
//	0  1  flags: bit 0: groups of 64 zero structs are left out; bit 1: so are single zero structs; others 0
//	1  1  H: bytes before the first whole struct, less than the struct's size. 0 for kinds that are no GGUF blocks
//	2  1  if there is a window (below): number of patches, 0–255
//	…  …  modes: of column c in the low (c even) or high (c odd) half of byte c/2
//	…  …  if flag bit 0: a bit for each group of 64 structs, the first in bit 0 of the first byte: 1 if it is left out. Bits above are 0
//	…  …  if flag bit 1: a bit for each struct that is left: 1 if it is left out too
//	…  …  the columns of the structs that are left, by mode:
//	         0  raw: a byte for each symbol
//	         1  constant: one byte
//	            (two for low halves of F32, which are pairs of bytes)
//	         2  coded: 2 bytes length, then so many bytes: a stream of package rans with the column's table
//	         3  rests without signs, or low halves of F32 by classes: short.go
//	…  …  patches: 2 bytes index of the struct, increasing, 1 byte exponent
//	…  …  the H bytes before the first struct, then those after the last whole one
//
// Tables in the header of the blob: kind 5, number c: frequencies of column c (package rans). Kind 6, number 0, of one byte: the
// window of exponents of BF16, F32 and C64.
const (
	modeRaw   = 0
	modeConst = 1
	modeRans  = 2
	modeShort = 3

	flagGroups = 1
	flagSingle = 2

	group = 64 // structs
)

// MaxColumns is the largest number of columns of a kind.
const MaxColumns = 8

const (
	maxBlock   = 1 << 16
	maxStructs = maxBlock // of one byte
	maxPatches = 255
	patchLen   = 3
)

// ErrBlock is returned for a block that cannot be of this codec.
var ErrBlock = errors.New("block of fields is malformed")
