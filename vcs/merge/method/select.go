package method

import (
	"math"
	"slices"
)

// cut divides the changes of one side by magnitude: those of rank 0 to rank-1, the smallest, lie below it. Of equal magnitudes those that come first in the tensor lie below.
// NaN is larger than infinity.
type cut struct {
	side int
	rank int64

	bits  uint64 // of the magnitude at the cut; those that are smaller lie below
	equal int64  // how many of those that are equal do as well
	all   bool   // everything lies below

	seen int64 // equal ones so far

	// While it is looked for: known are the first `known` bits of the magnitude, in prefix; `count` changes have them, `less` are smaller.
	prefix      uint64
	known       int
	count, less int64
	histogram   []int64
	pool        []uint64
}

// below reports whether the next change lies below the cut.
func (c *cut) below(magnitude uint64) bool {
	switch {
	case c.all || magnitude < c.bits:
		return true
	case magnitude > c.bits:
		return false
	}
	c.seen++
	return c.seen <= c.equal
}

// band keeps what lies between two cuts.
type band struct{ lower, upper *cut }

func (b *band) keep(_ int64, change float64) bool {
	m := math.Float64bits(math.Abs(change))
	low, high := b.lower.below(m), b.upper.below(m)
	return !low && high
}

func (b *band) reset() { b.lower.seen, b.upper.seen = 0, 0 }

// Finding a cut takes no more memory than poolLimit magnitudes over all cuts, and a histogram each. A pass either looks at digitBits more bits of the magnitude, or, when
// few enough changes agree in those that are known, collects and sorts them: of weights, where a bin of the first pass is 1/16 of an octave, two passes are usual.
const (
	poolLimit = 1 << 21
	leastPool = 1 << 12
	digitBits = 16
)

// find finds the cuts, all in the same passes.
func find(src Source, cuts []*cut) error {
	open := cuts[:0:0]
	for _, c := range cuts {
		c.count = src.Len()
		if c.all = c.rank >= c.count; !c.all {
			open = append(open, c)
		}
	}
	for len(open) > 0 {
		limit := int64(max(poolLimit/len(open), leastPool))
		for _, c := range open {
			c.prepare(limit)
		}
		err := src.Windows(func(w Window) error {
			for _, c := range open {
				side := w.Sides[c.side]
				for j, base := range w.Base {
					c.see(math.Float64bits(math.Abs(side[j] - base)))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, (*cut).narrow)
	}
	return nil
}

// prepare begins a pass.
func (c *cut) prepare(limit int64) {
	if c.count <= limit {
		c.histogram, c.pool = nil, make([]uint64, 0, c.count)
		return
	}
	if c.histogram == nil {
		c.histogram = make([]int64, 1<<digitBits)
	}
	clear(c.histogram)
}

func (c *cut) see(m uint64) {
	if m>>(64-c.known) != c.prefix { // a shift by 64 gives 0
		return
	}
	if c.histogram == nil {
		c.pool = append(c.pool, m)
		return
	}
	c.histogram[m>>(64-digitBits-c.known)&(1<<digitBits-1)]++
}

// narrow ends a pass; done is true if the cut is found.
func (c *cut) narrow() (done bool) {
	if c.histogram == nil {
		slices.Sort(c.pool)
		c.bits = c.pool[c.rank-c.less]
		first, _ := slices.BinarySearch(c.pool, c.bits)
		c.equal = c.rank - c.less - int64(first)
		c.pool = nil
		return true
	}
	for digit, n := range c.histogram {
		if c.rank-c.less < n {
			c.prefix = c.prefix<<digitBits | uint64(digit)
			c.count = n
			break
		}
		c.less += n
	}
	if c.known += digitBits; c.known == 64 {
		c.bits, c.equal, c.histogram = c.prefix, c.rank-c.less, nil
		return true
	}
	return false
}
