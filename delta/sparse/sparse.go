// Package sparse takes the few elements of a block that are not as in its base out of it, so that only they are coded, and their
// places: where less than an element in ten changed, a code of a bit or more for each of its neighbours costs more.
package sparse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

var le = binary.LittleEndian

// The places of c changed elements among n, in increasing order:
//
//	0  2  c, 1 to 65535
//	2  1  r, 0 to 15
//	3  2  length of what follows
//	5  …  a stream of bits, filled from the least significant bit of each byte up, for each of the c elements: the number g of
//	      unchanged elements before it (after the changed one before), as g>>r ones, a zero and the r low bits of g, the lowest first;
//	      ended by fewer than 8 zero bits
const headLen = 5

const (
	maxChanged = 1<<16 - 1
	maxRice    = 15
	maxElement = 8
)

// ErrPlaces is returned for places that are malformed.
var ErrPlaces = errors.New("places of changed elements are malformed")

// Coder holds a block's changed elements. It is used by one goroutine at a time.
type Coder struct {
	at        []uint32 // which changed
	raw, base []byte
}

// Gather finds the elements of w bytes, a power of two up to 8, that differ between a block and its base of the same length, and returns them from
// both, valid until the next call of any method. ok is false if more than limit did. Bytes after the last whole element are not looked at.
func (c *Coder) Gather(raw, base []byte, w, limit int) (r, b []byte, ok bool) {
	c.at = c.at[:0]
	limit = min(limit, maxChanged)
	c.at = slices.Grow(c.at, limit+8)
	base = base[:len(raw)]
	lane := uint64(1)<<(8*w-1)<<1 - 1
	shift := uint(bits.TrailingZeros(uint(w)))
	i := 0
	for ; i+8 <= len(raw); i += 8 {
		x := le.Uint64(raw[i:i+8]) ^ le.Uint64(base[i:i+8])
		if x == 0 {
			continue
		}
		for x != 0 {
			j := uint(bits.TrailingZeros64(x)) >> 3 >> shift
			x &^= lane << (8 * w * int(j) & 63)
			c.at = append(c.at, uint32(i>>shift)+uint32(j))
		}
		if len(c.at) > limit {
			return nil, nil, false
		}
	}
	for ; i+w <= len(raw); i += w {
		if !bytes.Equal(raw[i:i+w], base[i:i+w]) {
			c.at = append(c.at, uint32(i/w))
		}
	}
	if len(c.at) > limit {
		return nil, nil, false
	}
	c.raw = c.take(c.raw[:0], raw, w)
	return c.raw, c.Take(base, w), true
}

// Changed returns how many elements changed.
func (c *Coder) Changed() int { return len(c.at) }

// Take returns the elements of base that changed.
func (c *Coder) Take(base []byte, w int) []byte {
	c.base = c.take(c.base[:0], base, w)
	return c.base
}

func (c *Coder) take(dst, src []byte, w int) []byte {
	for _, at := range c.at {
		i := int(at) * w
		dst = append(dst, src[i:i+w]...)
	}
	return dst
}

// Room returns memory for the elements that changed, to be decoded to and given to Put.
func (c *Coder) Room(w int) []byte {
	n := len(c.at) * w
	if cap(c.raw) < n {
		c.raw = make([]byte, n)
	}
	c.raw = c.raw[:n]
	return c.raw
}

// Put sets the elements that changed to those of r.
func (c *Coder) Put(dst, r []byte, w int) {
	for j, at := range c.at {
		i := int(at) * w
		copy(dst[i:i+w], r[j*w:j*w+w])
	}
}

// Append appends the places of a block that was gathered and has changes. ok is false if there are too many for that.
func (c *Coder) Append(dst []byte) (out []byte, ok bool) {
	n := len(c.at)
	if n == 0 || n > maxChanged {
		return dst, false
	}
	start := len(dst)
	mean := (int(c.at[n-1]) + 1 - n) / n
	r := min(bits.Len(uint(mean*11/16)), maxRice) // Golomb: the parameter is about the mean times ln 2
	dst = append(dst, byte(n), byte(n>>8), byte(r), 0, 0)
	var acc uint64
	var have uint
	next := uint32(0)
	for _, at := range c.at {
		g := uint(at - next)
		next = at + 1
		for ones := g >> r; ; ones -= 8 {
			k := min(ones, 8) // so that acc has room
			acc |= (1<<k - 1) << have
			if have += k; ones <= 8 {
				break
			}
			dst, acc, have = flush(dst, acc, have)
		}
		acc |= uint64(g&(1<<r-1)) << (have + 1)
		have += uint(r) + 1
		dst, acc, have = flush(dst, acc, have)
	}
	if have > 0 {
		dst = append(dst, byte(acc))
	}
	size := len(dst) - start - headLen
	le.PutUint16(dst[start+3:], uint16(size))
	return dst, size < 1<<16
}

// flush appends the whole bytes of acc.
func flush(dst []byte, acc uint64, have uint) ([]byte, uint64, uint) {
	for ; have >= 8; have -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst, acc, have
}

// Parse reads the places among n elements from the front of b, and returns what follows them.
func (c *Coder) Parse(b []byte, n int) (rest []byte, err error) {
	c.at = c.at[:0]
	if len(b) < headLen {
		return nil, ErrPlaces
	}
	changed, r, size := int(le.Uint16(b)), uint(b[2]), int(le.Uint16(b[3:]))
	b = b[headLen:]
	if changed == 0 || changed > n || r > maxRice || size > len(b) {
		return nil, ErrPlaces
	}
	rest, b = b[size:], b[:size]
	pos, end := uint(0), uint(8*size)
	next := uint(0)
	for range changed {
		// Ones up to the next zero.
		ones := uint(0)
		for {
			k := uint(bits.TrailingZeros64(^peek(b, pos)))
			k = min(k, 56)
			ones += k
			pos += k
			if k < 56 || pos >= end {
				break
			}
		}
		if ones > uint(n)>>r {
			return nil, ErrPlaces
		}
		low := uint(peek(b, pos) >> 1 & (1<<r - 1))
		pos += 1 + r
		at := next + ones<<r + low
		if pos > end || at >= uint(n) {
			return nil, ErrPlaces
		}
		c.at = append(c.at, uint32(at))
		next = at + 1
	}
	if pos+8 <= end || pos < end && b[size-1]>>(pos&7) != 0 {
		return nil, ErrPlaces
	}
	return rest, nil
}

// peek returns at least 57 bits from bit pos on, zeros after the end.
func peek(b []byte, pos uint) uint64 {
	i := int(pos >> 3)
	if i+8 <= len(b) {
		return le.Uint64(b[i:]) >> (pos & 7)
	}
	var tail [8]byte
	if i < len(b) {
		copy(tail[:], b[i:])
	}
	return le.Uint64(tail[:]) >> (pos & 7)
}
