// Package ordint codes a block of floats as the difference of ordered integers to the
// block of another tensor at the same place.
//
// A float's bits, seen as sign and magnitude, are an integer whose order is the float's
// order. The difference of new and base, counted away from zero as seen from the base, is small where
// the values are near, whatever their scale. It is cut into a symbol (its sign, its
// binary order of magnitude and two more bits) that is Huffman coded, and the bits below, which
// are noise and stored as they are. The code depends on the base's exponent (the context): an update of a
// given size is a difference of 2^k units in the last place, and k follows from the exponent.
// Groups of 64 elements without any change cost one bit, since Huffman codes cannot.
//
// The codes are shared by the blocks of a blob: a Model collects statistics of all of them, then
// encodes each; a Table, parsed from the blob's header, decodes them.
package ordint

import "math/bits"

// Kind is an element format: its width, what is different about its differences, and where its exponent is. Wide.go has more.
type Kind uint8

// The kinds.
const (
	BF16 Kind = iota
	F16
	F32
)

// Width returns the bytes of an element.
func (k Kind) Width() int {
	switch {
	case k.wide():
		return wideWidths[k]
	case k == F32:
		return 4
	}
	return 2
}

func (k Kind) bits() int { return 8 * k.Width() }

// exps is the number of exponents. The fast loops take the 8 bits below the sign as an index
// for all kinds; exponent drops the F16 mantissa bits among them.
func (k Kind) exps() int {
	if k == F16 {
		return 32
	}
	return 256
}

func (k Kind) exponent(top uint8) uint8 {
	if k == F16 {
		return top >> 3
	}
	return top
}

// A symbol is 128 ± class. Class c < 8 is the magnitude c itself; above, class c stands
// for the magnitudes m with extra bits x = c/4 - 1, from (4 + c%4)<<x on, of which there are 1<<x.
const zeroSymbol = 128

// maxClass is the largest class of differences of w bits.
func maxClass(w int) int { return 4*(w-3) + 7 }

// classify returns the symbol of d, and the number and value of the extra bits: the offset of d in
// its symbol's interval, counted up from the interval's smallest (most negative) value.
func classify(d int32) (sym uint8, extra uint, value uint32) {
	s := d >> 31
	m := uint32((d ^ s) - s)
	x := uint(bits.Len32(m|4) - 3)
	c := int32(uint32(4*x) + m>>(x&31))
	return uint8(zeroSymbol + (c ^ s - s)), x, (m ^ uint32(s)) & (1<<(x&31) - 1)
}

// interval returns the smallest difference of a symbol, and its number of extra bits.
func interval(sym uint8) (low int32, extra uint) {
	c := int32(sym) - zeroSymbol
	neg := c < 0
	if neg {
		c = -c
	}
	if c < 8 {
		return int32(sym) - zeroSymbol, 0
	}
	extra = uint(c)/4 - 1
	low = (4 + c&3) << extra
	if neg {
		low = -(low + 1<<extra - 1)
	}
	return low, extra
}

// symbols16 is the symbol of every 16-bit difference, extraBits the number of extra bits of every symbol.
var symbols16, extraBits = makeSymbols()

func makeSymbols() (sym [1 << 16]uint8, extra [256]uint8) {
	for d := range sym {
		sym[d], _, _ = classify(int32(int16(d)))
	}
	for s := range extra {
		_, x := interval(uint8(s))
		extra[s] = uint8(x)
	}
	return sym, extra
}

// action is what the decoder does for a symbol: the low difference, the mask of the
// extra bits and their number. Differences wrap around, so uint32 serves both widths.
type action struct {
	low, mask uint32
	extra     uint64
}

// actions16 packs an action for 16-bit elements into a word: low, mask<<16, extra<<32.
var actions32, actions16 = makeActions()

func makeActions() (a32 [256]action, a16 [256]uint64) {
	for s := range 256 {
		low, extra := interval(uint8(s))
		mask := uint32(1)<<(extra&31) - 1
		a32[s] = action{uint32(low), mask, uint64(extra)}
		a16[s] = uint64(uint16(low)) | uint64(mask&0x1fff)<<16 | uint64(extra)<<32
	}
	return a32, a16
}

// diff16 returns the difference of u to b: the bits of the ordered integers, sign-normalised by b.
func diff16(u, b uint16) int32 {
	x := u ^ b&0x8000
	y := x ^ uint16(int16(x)>>15)&0x7fff
	return int32(int16(y - b&0x7fff))
}

// diff16x4 is diff16 of four lanes of 16 bits, each difference in 16 bits.
func diff16x4(u, b uint64) uint64 {
	const sign = 0x8000800080008000
	x := u ^ b&sign
	y := x ^ x>>15&0x0001000100010001*0x7fff
	return (y | sign) - b&^sign ^ ^y&sign
}

// undiff16 is the inverse: u from b and the difference.
func undiff16(d, b uint16) uint16 {
	y := b&0x7fff + d
	return y ^ uint16(int16(y)>>15)&0x7fff ^ b&0x8000
}

// diff32 does the same for elements whose low z bits are 0; magnitude is 0x7fffffff without those.
func diff32(u, b, magnitude uint32, z uint) int32 {
	x := u ^ b&0x80000000
	y := x ^ uint32(int32(x)>>31)&magnitude
	return int32(y-b&0x7fffffff) >> (z & 31)
}

// undiff32 is the inverse; d is already shifted left by z.
func undiff32(d, b, magnitude uint32) uint32 {
	y := b&0x7fffffff + d
	return y ^ uint32(int32(y)>>31)&magnitude ^ b&0x80000000
}
