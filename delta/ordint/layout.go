package ordint

import (
	"errors"
	"fmt"

	"coral/delta/huff"
)

// The table, in the header of the blob:
//
//	0  1    z: that many low bits of all elements coded with it, and of their base, are 0;
//	        at most 24 for F32, else 0
//	1  1    C: number of contexts, 1 to 8
//	2  C-1  for contexts 1 … C-1 the least exponent of the base that belongs to them, increasing;
//	        context 0 begins at exponent 0
//	…  …    C codes, as package huff stores them
//
// A block:
//
//	0  1    flags: bit 0 = there is a mask
//	1  6    lengths of lanes 0, 1 and 2, 16 bits each; lane 3 is what is left
//	7  …    mask, if any: bit g%8 of byte g/8 says that group g is as in the base; the bits
//	        above are 0. A group is 64 elements, the last one perhaps fewer.
//	…  …    lanes 0 to 3
//	…  …    the bytes after the last whole element, as they are
//
// Elements of the groups not masked are coded in order; element i of a group is in lane i%4. A
// lane is a stream of bits filled from the least significant bit of each byte up, ended by fewer than 8 zero
// bits. For each element: the code of its symbol in the context of the base's exponent, then the symbol's extra bits.
// Group is the number of elements of a group.
const Group = groupLen

const (
	groupLen    = 64
	laneCount   = 4
	headLen     = 7
	flagMask    = 1
	maxContexts = 8
	maxZero     = 24
)

// Table decodes the blocks of a blob. It is immutable once parsed.
type Table struct {
	kind  Kind
	zero  uint
	ctx   [512]uint16                          // by the base's sign and the 8 bits below it: context * huff.TableSize
	code  [maxContexts * huff.TableSize]uint16 // F32: as total makes it; 16-bit floats: the same if total, else as resolve does; others: symbol<<8 | length
	total bool                                 // of 16-bit floats
}

var errTable = errors.New("table is malformed")

// Parse makes t the table of b, for elements of kind k.
func (t *Table) Parse(k Kind, b []byte) error { return t.parse(k, b, vector) }

// parse is Parse for decoding with the loops of fast_amd64.s or without.
func (t *Table) parse(k Kind, b []byte, vector bool) error {
	if len(b) < 2 {
		return errTable
	}
	zero, contexts := uint(b[0]), int(b[1])
	if zero > maxZero || zero > 0 && k != F32 || contexts < 1 || contexts > maxContexts || len(b) < 1+contexts {
		return errTable
	}
	var starts [maxContexts + 1]int
	for c := 1; c < contexts; c++ {
		starts[c] = int(b[1+c])
		if starts[c] <= starts[c-1] || starts[c] >= k.exps() {
			return errTable
		}
	}
	starts[contexts] = k.exps()
	t.kind, t.zero, t.total = k, zero, vector && k.Width() == 2 && !k.wide()
	b = b[1+contexts:]
	var code huff.Code
	limit := maxClass(k.bits() - int(zero))
	if k.wide() {
		limit = k.wideClass()
	}
	for c := range contexts {
		rest, err := code.Parse(b)
		if err != nil {
			return fmt.Errorf("context %d: %w", c, err)
		}
		if last := zeroSymbol + limit; int(b[0]) < zeroSymbol-limit || int(b[1]) > last {
			return fmt.Errorf("context %d: symbol out of range", c)
		}
		b = rest
		tab := (*[huff.TableSize]uint16)(t.code[c*huff.TableSize:])
		code.Fill(tab)
		switch {
		case k.wide():
		case k.Width() == 2 && !t.total:
			resolve(tab)
		default:
			total(tab)
		}
		for top := range 256 {
			if e := int(k.exponent(uint8(top))); e >= starts[c] && e < starts[c+1] {
				t.ctx[top] = uint16(c * huff.TableSize)
				t.ctx[256+top] = t.ctx[top]
			}
		}
	}
	if len(b) != 0 {
		return errTable
	}
	return nil
}

// groups returns the number of groups of n elements.
func groups(n int) int { return (n + groupLen - 1) / groupLen }

// escape in the low four bits marks an entry of a 16-bit table that is not resolved.
const escape = 15

// resolve makes the entries of a code's table, symbol<<8 | length, those that group16 uses: most
// differences of 16 bits have their extra bits in the index as well, so the entry is the difference
// itself and all bits used, difference<<4 | length; if it is not, it is symbol<<8 | length<<4 | escape.
func resolve(tab *[huff.TableSize]uint16) {
	for i, e := range tab {
		n := uint(e & 15)
		low, extra := interval(uint8(e >> 8))
		d := low + int32(i>>n)&(1<<extra-1)
		if n+extra <= huff.MaxBits && d>>11 == d>>31 {
			tab[i] = uint16(d)<<4 | uint16(n+extra)
		} else {
			tab[i] = e&0xff00 | uint16(n)<<4 | escape
		}
	}
}

// total makes the entries of a code's table, symbol<<8 | length, those that group32 and fast_amd64.s use: the length includes the extra bits, so
// that where the next code begins is known without looking at the symbol. It is at most 11 + 29.
func total(tab *[huff.TableSize]uint16) {
	for i, e := range tab {
		_, extra := interval(uint8(e >> 8))
		tab[i] = e + uint16(extra)
	}
}
