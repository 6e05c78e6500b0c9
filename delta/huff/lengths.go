// Package huff builds Huffman codes of at most MaxBits bits over byte symbols, writes and reads
// their lengths, and fills decoding tables. Codes are canonical, and put least
// significant bit first into the stream, so a decoder indexes a table with the next
// MaxBits bits. It has no bit streams of its own: those who use it interleave other bits.
package huff

import (
	"cmp"
	"math/bits"
	"slices"
)

// MaxBits is the longest code: a table of 2048 two-byte entries for each context, so that
// eight contexts fill a first-level cache and no more.
const MaxBits = 11

// Lengths is a code by the length of each symbol: 0 for a symbol without a code. A
// code of one symbol has no lengths at all; see Code.
type Lengths [256]uint8

// Code is a canonical Huffman code. If only one symbol exists, it takes no bits.
type Code struct {
	Len    Lengths
	Bits   [256]uint16 // first bit of the code in bit 0
	Symbol uint8       // the only symbol, if Single
	Single bool
}

// Builder builds codes; it holds the scratch memory.
type Builder struct {
	leaves []leaf
	list   [2][2 * 256]uint64
	isLeaf [MaxBits][2 * 256]bool
}

type leaf struct {
	count  uint32
	symbol uint8
}

// Build makes c the code for the counts, and reports false if all are 0.
func (b *Builder) Build(c *Code, counts []uint32) bool {
	*c = Code{}
	b.leaves = b.leaves[:0]
	for s, n := range counts {
		if n > 0 {
			b.leaves = append(b.leaves, leaf{n, uint8(s)})
		}
	}
	switch len(b.leaves) {
	case 0:
		return false
	case 1:
		c.Single, c.Symbol = true, b.leaves[0].symbol
		return true
	}
	slices.SortFunc(b.leaves, func(x, y leaf) int {
		return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.symbol, y.symbol))
	})
	b.packageMerge(&c.Len)
	c.assign()
	return true
}

// Cost returns the bits that symbols with these counts take under their code.
func (b *Builder) Cost(c *Code, counts []uint32) float64 {
	if !b.Build(c, counts) || c.Single {
		return 0
	}
	var bits float64
	for s, n := range counts {
		bits += float64(n) * float64(c.Len[s])
	}
	return bits
}

// packageMerge sets the lengths of the shortest code of at most MaxBits bits (Larmore and
// Hirschberg 1990). The list of each level is the leaves merged with the pairs of the list
// below; a leaf's length is how many of the levels' chosen prefixes hold it, and since
// leaves are sorted, the chosen ones of a level are the first so many.
func (b *Builder) packageMerge(lens *Lengths) {
	n := len(b.leaves)
	below := b.list[1][:0]
	for level := range MaxBits {
		list, kind := b.list[level&1][:0], &b.isLeaf[level]
		leafAt, pairAt := 0, 0
		for leafAt < n || pairAt+2 <= len(below) {
			isLeaf := pairAt+2 > len(below)
			var pair uint64
			if !isLeaf {
				pair = below[pairAt] + below[pairAt+1]
				isLeaf = leafAt < n && uint64(b.leaves[leafAt].count) <= pair
			}
			kind[len(list)] = isLeaf
			if isLeaf {
				list = append(list, uint64(b.leaves[leafAt].count))
				leafAt++
			} else {
				list = append(list, pair)
				pairAt += 2
			}
		}
		below = list
	}
	take := 2*n - 2
	for level := MaxBits - 1; level >= 0 && take > 0; level-- {
		leaves := 0
		for _, isLeaf := range b.isLeaf[level][:take] {
			if isLeaf {
				lens[b.leaves[leaves].symbol]++
				leaves++
			}
		}
		take = 2 * (take - leaves)
	}
}

// assign gives the codes in order of length, then symbol.
func (c *Code) assign() {
	var next [MaxBits + 2]uint16
	for _, n := range c.Len {
		if n > 0 {
			next[n+1]++
		}
	}
	for n := 2; n <= MaxBits+1; n++ { // next[n+1] held the count of length n
		next[n] = (next[n-1] + next[n]) << 1
	}
	for s, n := range c.Len {
		if n == 0 {
			continue
		}
		c.Bits[s] = bits.Reverse16(next[n]) >> (16 - n)
		next[n]++
	}
}
