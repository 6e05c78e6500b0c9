package rans

import "math"

// Freqs are the frequencies of the symbols in 4096ths: those that occur have at least 1 and at most 4095.
type Freqs [256]uint16

// Normalize makes f of counts; false if fewer than two symbols occur, which need no stream.
func (f *Freqs) Normalize(counts *[256]uint32) bool {
	*f = Freqs{}
	var total uint64
	used := 0
	for _, n := range counts {
		total += uint64(n)
		if n > 0 {
			used++
		}
	}
	if used < 2 {
		return false
	}
	sum := 0
	for s, n := range counts {
		if n > 0 {
			f[s] = uint16(min(max((uint64(n)*probSum+total/2)/total, 1), probSum-1))
			sum += int(f[s])
		}
	}
	// Rounding leaves up to 255 too many or too few; each step changes what costs least.
	for ; sum > probSum; sum-- {
		f[f.cheapest(counts, -1)]--
	}
	for ; sum < probSum; sum++ {
		f[f.cheapest(counts, 1)]++
	}
	return true
}

// cheapest returns the symbol whose frequency is best changed by step, 1 or -1.
func (f *Freqs) cheapest(counts *[256]uint32, step int) int {
	best, at := math.Inf(1), 0
	for s, n := range f {
		to := int(n) + step
		if n == 0 || to < 1 || to > probSum-1 {
			continue
		}
		if cost := float64(counts[s]) * math.Log2(float64(n)/float64(to)); cost < best {
			best, at = cost, s
		}
	}
	return at
}

// Bits returns the bits that symbols with these counts take, states apart.
func (f *Freqs) Bits(counts *[256]uint32) float64 {
	var bits float64
	for s, n := range counts {
		if n > 0 {
			bits += float64(n) * (probBits - math.Log2(float64(f[s])))
		}
	}
	return bits
}

// The stored form of frequencies:
//
//	0  1  first symbol that occurs
//	1  1  last symbol that occurs
//	2  …  nibbles, low half of each byte first, for the symbols from first to last: the frequency in 3-bit
//	      digits, the lowest first, bit 3 of a nibble says that another follows. After a frequency of 0 one nibble more: so
//	      many further symbols have 0 too. A half byte over is 0.
//
// The sum is 4096, at least two symbols occur, and the last digit of a number is not 0 unless it is the only one.

type nibbles struct {
	dst  []byte
	half bool
}

func (n *nibbles) put(v uint16) {
	if n.half {
		n.dst[len(n.dst)-1] |= byte(v << 4)
	} else {
		n.dst = append(n.dst, byte(v))
	}
	n.half = !n.half
}

// Append appends the stored form.
func (f *Freqs) Append(dst []byte) []byte {
	first, last := 0, 255
	for f[first] == 0 {
		first++
	}
	for f[last] == 0 {
		last--
	}
	w := nibbles{dst: append(dst, byte(first), byte(last))}
	for s := first; s <= last; s++ {
		v := f[s]
		for ; v > 7; v >>= 3 {
			w.put(v&7 | 8)
		}
		w.put(v)
		if f[s] == 0 {
			run := 0
			for run < 15 && f[s+1] == 0 { // f[last] > 0
				s, run = s+1, run+1
			}
			w.put(uint16(run))
		}
	}
	return w.dst
}

// Parse reads the stored form, which is all of b.
func (f *Freqs) Parse(b []byte) error {
	*f = Freqs{}
	if len(b) < 3 || b[0] >= b[1] {
		return ErrTable
	}
	first, last := int(b[0]), int(b[1])
	b = b[2:]
	at, sum := 0, 0
	next := func() (v uint16, ok bool) {
		if at>>1 >= len(b) {
			return 0, false
		}
		v = uint16(b[at>>1] >> (at & 1 * 4) & 15)
		at++
		return v, true
	}
	for s := first; s <= last; s++ {
		var v uint16
		for shift := 0; ; shift += 3 {
			d, ok := next()
			if !ok || shift > 9 || shift > 0 && d == 0 {
				return ErrTable
			}
			if v |= d & 7 << shift; d < 8 {
				break
			}
		}
		if f[s] = v; v == 0 {
			run, ok := next()
			if !ok {
				return ErrTable
			}
			s += int(run)
		}
		sum += int(v)
	}
	if sum != probSum || f[first] == 0 || f[last] == 0 || (at+1)>>1 != len(b) || at&1 == 1 && b[at>>1]>>4 != 0 {
		return ErrTable
	}
	return nil
}
