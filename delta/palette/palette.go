// Package palette codes blocks of few different values, as of weights that were quantised to 8 or 4 bits and are stored as floats: the
// values once, and for every element which of them it is, by package rans. A block is whole in itself: the values of a tensor that was
// quantised by rows are not those of its other rows.
package palette

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"coral/delta/format/dtype"
	"coral/delta/plane"
	"coral/delta/rans"
)

// A block of n whole elements of w bytes, little endian:
//
//	0  1    K − 1, K the number of values, at least 2
//	1  w K  the values, as unsigned numbers, increasing
//	…  2    length of the frequencies
//	…  …    frequencies of the indices, as package rans stores them
//	…  …    the bytes after the last whole element, as they are
//	…  …    a stream of package rans of the n indices: how many values are less than the element
const (
	maxValues = 256
	maxBlock  = 1 << 16
	slots     = 1 << slotBits // of the hash table, in which values are looked for
	slotBits  = 10
)

// ErrBlock is returned for a block that cannot be of this codec.
var ErrBlock = errors.New("block of palette indices is malformed")

var le = binary.LittleEndian

// Width returns the bytes of an element of kind k; ok is false for kinds that are not coded: bytes have no more values than a palette.
func Width(k dtype.Kind) (w int, ok bool) {
	switch k {
	case dtype.C64, dtype.C128:
		return k.Width() / 2, true
	}
	w = k.Width()
	return w, w > 1
}

// Coder encodes and decodes blocks. It is used by one goroutine at a time; 90 KiB.
type Coder struct {
	values [maxValues]uint64
	counts [256]uint32
	index  [maxBlock / 2]byte

	key   [slots]uint64
	place [slots]uint16 // 1 + the value's number in order of appearance; 0 is free

	freqs rans.Freqs
	enc   rans.Encoder
	table rans.Table
}

func load(b []byte, i, w int) uint64 {
	switch w {
	case 2:
		return uint64(le.Uint16(b[2*i:]))
	case 4:
		return uint64(le.Uint32(b[4*i:]))
	}
	return le.Uint64(b[8*i:])
}

// Bytes returns about how many bytes b takes as elements of w bytes; ok is false if it has too many values, which is found out soon
// where it is so, or just one.
func (c *Coder) Bytes(b []byte, w int) (size int, ok bool) {
	k, ok := c.scan(b, w)
	if !ok {
		return 0, false
	}
	n, sum := float64(len(b)/w), 0.0
	for _, v := range c.counts[:k] {
		sum += float64(v) * math.Log2(n/float64(v))
	}
	return 1 + k*w + 2 + k + int(sum/8) + rans.StateBytes(len(b)/w) + len(b)%w, true
}

// scan finds the values of b in order of appearance, counts them and notes each element's in c.index.
func (c *Coder) scan(b []byte, w int) (k int, ok bool) {
	n := len(b) / w
	if len(b) > maxBlock || w < 2 {
		return 0, false
	}
	clear(c.place[:])
	c.counts = [256]uint32{}
	for i := range n {
		v := load(b, i, w)
		at := v * 0x9e3779b97f4a7c15 >> (64 - slotBits)
		for c.place[at] != 0 && c.key[at] != v {
			at = (at + 1) % slots
		}
		if c.place[at] == 0 {
			if k == maxValues {
				return 0, false
			}
			c.values[k] = v
			k++
			c.key[at], c.place[at] = v, uint16(k)
		}
		s := byte(c.place[at] - 1)
		c.index[i] = s
		c.counts[s]++
	}
	return k, k > 1
}

// Encode appends the coded block to dst; false if it has too many values or does not shrink.
func (c *Coder) Encode(dst, b []byte, w int) (out []byte, ok bool) {
	k, ok := c.scan(b, w)
	if !ok {
		return dst, false
	}
	n, start := len(b)/w, len(dst)
	var order [maxValues]uint64
	sorted := order[:copy(order[:], c.values[:k])]
	slices.Sort(sorted)
	var rank [256]byte
	for i, v := range c.values[:k] {
		j, _ := slices.BinarySearch(sorted, v)
		rank[i] = byte(j)
	}
	for i, s := range c.index[:n] {
		c.index[i] = rank[s]
	}
	dst = append(dst, byte(k-1))
	for _, v := range sorted {
		var e [8]byte
		le.PutUint64(e[:], v)
		dst = append(dst, e[:w]...)
	}
	c.counts = [256]uint32{}
	plane.Count(&c.counts, c.index[:n])
	c.freqs.Normalize(&c.counts)
	head := len(dst)
	dst = c.freqs.Append(append(dst, 0, 0))
	le.PutUint16(dst[head:], uint16(len(dst)-head-2))
	dst = append(dst, b[n*w:]...)
	c.enc.Init(&c.freqs)
	dst, ok = c.enc.Encode(dst, c.index[:n])
	return dst, ok && len(dst)-start < len(b)
}

// Decode decodes a block of elements of w bytes into dst.
func (c *Coder) Decode(dst, stored []byte, w int) error {
	n := len(dst) / w
	if len(dst) > maxBlock || w < 2 || len(stored) < 1 {
		return ErrBlock
	}
	k := int(stored[0]) + 1
	if stored = stored[1:]; k < 2 || len(stored) < k*w+2 {
		return ErrBlock
	}
	for i := range k {
		if c.values[i] = load(stored, i, w); i > 0 && c.values[i] <= c.values[i-1] {
			return ErrBlock
		}
	}
	stored = stored[k*w:]
	size, tail := int(le.Uint16(stored)), dst[n*w:]
	if stored = stored[2:]; len(stored) < size+len(tail) {
		return ErrBlock
	}
	if err := c.freqs.Parse(stored[:size]); err != nil {
		return err
	}
	for _, f := range c.freqs[k:] {
		if f != 0 {
			return ErrBlock
		}
	}
	copy(tail, stored[size:])
	c.table.Init(&c.freqs)
	if err := c.table.Decode(c.index[:n], stored[size+len(tail):]); err != nil {
		return err
	}
	c.look(dst[:n*w], w)
	return nil
}

// look puts the value of each index in dst.
func (c *Coder) look(dst []byte, w int) {
	n := len(dst) / w
	switch w {
	case 2:
		for i, s := range c.index[:n] {
			le.PutUint16(dst[2*i:2*i+2], uint16(c.values[s]))
		}
	case 4:
		for i, s := range c.index[:n] {
			le.PutUint32(dst[4*i:4*i+4], uint32(c.values[s]))
		}
	default:
		for i, s := range c.index[:n] {
			le.PutUint64(dst[8*i:8*i+8], c.values[s])
		}
	}
}
