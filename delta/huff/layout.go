package huff

import "errors"

// The stored form of a code:
//
//	0  1  first symbol that has a code
//	1  1  last symbol that has a code
//	2  …  nibbles, low half of each byte first, absent if first = last (the one symbol takes no bits);
//	      they stand for the symbols from first to last in order:
//	      0      the symbol has no code
//	      1–11   length of its code
//	      12, r  r+2 symbols without a code
//	      13, r  the length before, for r+3 more symbols
//	      and a last nibble of 0 if their number is odd
//
// The sum of 2^-length is 1. Codes are canonical: in order of length, then symbol, counted
// up from 0, most significant bit first; the stream holds each code's most
// significant bit first, in bits filled from the least significant bit of each byte up.
const (
	nibZeros  = 12
	nibRepeat = 13
)

var (
	errShort = errors.New("code lengths end early")
	errBad   = errors.New("code lengths are malformed")
	errKraft = errors.New("code lengths are not a complete code")
)

type nibbles struct {
	dst  []byte
	half bool
}

func (n *nibbles) put(v uint8) {
	if n.half {
		n.dst[len(n.dst)-1] |= v << 4
	} else {
		n.dst = append(n.dst, v)
	}
	n.half = !n.half
}

// Append appends the stored form of c, which must have at least one symbol.
func (c *Code) Append(dst []byte) []byte {
	if c.Single {
		return append(dst, c.Symbol, c.Symbol)
	}
	first, last := 0, 255
	for c.Len[first] == 0 {
		first++
	}
	for c.Len[last] == 0 {
		last--
	}
	w := nibbles{dst: append(dst, byte(first), byte(last))}
	for s := first; s <= last; {
		run := 1
		for s+run <= last && c.Len[s+run] == c.Len[s] {
			run++
		}
		switch n := c.Len[s]; {
		case n == 0 && run >= 2:
			run = min(run, 17)
			w.put(nibZeros)
			w.put(uint8(run - 2))
		case n > 0 && run >= 4:
			run = min(run, 19)
			w.put(n)
			w.put(nibRepeat)
			w.put(uint8(run - 4))
		default:
			w.put(n)
			run = 1
		}
		s += run
	}
	return w.dst
}

// Parse reads a stored code from the front of b, and returns what follows it.
func (c *Code) Parse(b []byte) ([]byte, error) {
	*c = Code{}
	if len(b) < 2 {
		return nil, errShort
	}
	first, last := int(b[0]), int(b[1])
	b = b[2:]
	switch {
	case first > last:
		return nil, errBad
	case first == last:
		c.Single, c.Symbol = true, byte(first)
		return b, nil
	}
	at := 0
	next := func() int {
		if at>>1 >= len(b) {
			return -1
		}
		v := b[at>>1] >> (at & 1 * 4) & 15
		at++
		return int(v)
	}
	sum, prev := 0, uint8(0)
	for s := first; s <= last; {
		v := next()
		run := 1
		switch {
		case v < 0:
			return nil, errShort
		case v == nibZeros:
			r := next()
			if r < 0 {
				return nil, errShort
			}
			s += r + 2
			continue
		case v == nibRepeat && prev > 0:
			r := next()
			if r < 0 {
				return nil, errShort
			}
			run, v = r+3, int(prev)
		case v > MaxBits:
			return nil, errBad
		}
		if s+run > last+1 {
			return nil, errBad
		}
		for ; run > 0; run-- {
			if c.Len[s] = uint8(v); v > 0 {
				sum += 1 << (MaxBits - v)
			}
			s++
		}
		prev = uint8(v)
	}
	if sum != 1<<MaxBits {
		return nil, errKraft
	}
	c.assign()
	return b[(at+1)>>1:], nil
}

// TableSize is the number of entries of a decoding table.
const TableSize = 1 << MaxBits

// Fill fills a decoding table: the entry of the next MaxBits bits is the symbol in the high
// byte and the length of its code in the low byte.
func (c *Code) Fill(tab *[TableSize]uint16) {
	if c.Single {
		for i := range tab {
			tab[i] = uint16(c.Symbol) << 8
		}
		return
	}
	for s, n := range c.Len {
		if n == 0 {
			continue
		}
		e := uint16(s)<<8 | uint16(n)
		for i := int(c.Bits[s]); i < TableSize; i += 1 << n {
			tab[i] = e
		}
	}
}
