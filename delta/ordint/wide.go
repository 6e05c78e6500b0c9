package ordint

import "math/bits"

// The kinds without loops of their own: elements of 1, 2, 4 and 8 bytes, taken as 64-bit numbers a group at a time. Integers, signed or
// not, have plain differences, modulo their width.
const (
	F64 Kind = iota + 3
	Int8
	Int16
	Int32
	Int64
	F8 // sign and magnitude in a byte
)

var wideWidths = [...]int{F64: 8, Int8: 1, Int16: 2, Int32: 4, Int64: 8, F8: 1}

func (k Kind) wide() bool { return k > F32 }

// group64 holds the elements of a group, the bits above their width 0.
type group64 [groupLen]uint64

// load64 takes up to a group of elements of w bytes.
func (g *group64) load(src []byte, w int) {
	switch w {
	case 1:
		for i, b := range src {
			g[i&(groupLen-1)] = uint64(b)
		}
	case 2:
		for i := 0; i+2 <= len(src); i += 2 {
			g[i/2&(groupLen-1)] = uint64(le.Uint16(src[i:]))
		}
	case 4:
		for i := 0; i+4 <= len(src); i += 4 {
			g[i/4&(groupLen-1)] = uint64(le.Uint32(src[i:]))
		}
	default:
		for i := 0; i+8 <= len(src); i += 8 {
			g[i/8&(groupLen-1)] = le.Uint64(src[i:])
		}
	}
}

// store is the inverse; bits above the width are dropped.
func (g *group64) store(dst []byte, w int) {
	switch w {
	case 1:
		for i := range dst {
			dst[i] = byte(g[i&(groupLen-1)])
		}
	case 2:
		for i := 0; i+2 <= len(dst); i += 2 {
			le.PutUint16(dst[i:], uint16(g[i/2&(groupLen-1)]))
		}
	case 4:
		for i := 0; i+4 <= len(dst); i += 4 {
			le.PutUint32(dst[i:], uint32(g[i/4&(groupLen-1)]))
		}
	default:
		for i := 0; i+8 <= len(dst); i += 8 {
			le.PutUint64(dst[i:], g[i/8&(groupLen-1)])
		}
	}
}

// context returns what the code depends on: of a float the exponent (the low 8 bits of F64's, all bits of F8 but the sign); of an
// integer how many bits it has, or in one byte itself.
func (k Kind) context(b uint64) uint8 {
	switch k {
	case F64:
		return uint8(b >> 52)
	case F8:
		return uint8(b & 0x7f)
	case Int8:
		return uint8(b)
	}
	s := 64 - 8*wideWidths[k]
	v := int64(b<<s) >> s
	return uint8(bits.Len64(uint64(v ^ v>>63)))
}

// difference returns the signed difference of u to b, both of k's width.
func (k Kind) difference(u, b uint64) int64 {
	s := 64 - 8*wideWidths[k]
	u, b = u<<s, b<<s // sign to the top
	if k == F64 || k == F8 {
		x := u ^ b&(1<<63)
		rest := uint64(1<<63-1) >> s << s
		u, b = x^uint64(int64(x)>>63)&rest, b&^(1<<63)
	}
	return int64(u-b) >> s
}

// apply is the inverse: u from b and the difference, with any bits above the width.
func (k Kind) apply(d int64, b uint64) uint64 {
	if k != F64 && k != F8 {
		return b + uint64(d)
	}
	s := 64 - 8*wideWidths[k]
	rest := uint64(1<<63-1) >> s << s
	y := (b << s &^ (1 << 63)) + uint64(d)<<s
	return (y ^ uint64(int64(y)>>63)&rest ^ b<<s&(1<<63)) >> s
}

// Differences of 64 bits have one bit less of their magnitude in the class, so that a symbol is a byte all the same: class c < 4
// is the magnitude c; above, with x = c/2 - 1 extra bits, the magnitudes from (2 + c%2)<<x on.

// fine is how many bits below the highest one the class tells.
func (k Kind) fine() uint {
	if k.Width() == 8 {
		return 1
	}
	return 2
}

// classify64 is classify for symbols that tell the given number of bits.
func classify64(d int64, fine uint) (sym uint8, extra uint, value uint64) {
	s := d >> 63
	m := uint64(d^s) - uint64(s)
	x := uint(bits.Len64(m|1<<fine)) - 1 - fine
	c := int64(uint64(x)<<fine + m>>(x&63))
	return uint8(zeroSymbol + (c ^ s - s)), x, (m ^ uint64(s)) & (1<<(x&63) - 1)
}

// interval64 is interval for such symbols.
func interval64(sym uint8, fine uint) (low int64, extra uint) {
	c := int64(sym) - zeroSymbol
	neg := c < 0
	if neg {
		c = -c
	}
	if c < 2<<fine {
		return int64(sym) - zeroSymbol, 0
	}
	extra = uint(c)>>fine - 1
	m := uint64(1<<fine+c&(1<<fine-1)) << (extra & 63)
	if neg {
		return -int64(m + 1<<(extra&63) - 1), extra
	}
	return int64(m), extra
}

// wideClass is the greatest class of k.
func (k Kind) wideClass() int {
	if k.Width() == 8 {
		return 127
	}
	return maxClass(8 * k.Width())
}

func (m *Model) countWide(raw, base []byte) (extra int) {
	w, fine := m.kind.Width(), m.kind.fine()
	var u, b group64
	u.load(raw, w)
	b.load(base, w)
	for i := range len(raw) / w {
		s, x, _ := classify64(m.kind.difference(u[i], b[i]), fine)
		m.count[m.kind.context(b[i])][s]++
		extra += int(x)
	}
	return extra
}

// putWide appends a group to the lanes, and reports false if one is too long.
func (m *Model) putWide(raw, base []byte) bool {
	w, fine := m.kind.Width(), m.kind.fine()
	var u, b group64
	u.load(raw, w)
	b.load(base, w)
	for l := range m.lane {
		lane := &m.lane[l]
		if lane.at > maxLane-1 {
			return false
		}
		for i := l; i < len(raw)/w; i += laneCount {
			s, x, v := classify64(m.kind.difference(u[i], b[i]), fine)
			code := &m.codes[m.ctxOf[m.kind.context(b[i])]&(maxContexts-1)]
			lane.add(uint64(code.Bits[s]), uint(code.Len[s]))
			lane.add(v&(1<<32-1), min(x, 32))
			if x > 32 {
				lane.add(v>>32, x-32)
			}
		}
		if lane.at > maxLane-1 {
			return false
		}
	}
	return true
}

// add appends n ≤ 32 bits.
func (w *laneWriter) add(v uint64, n uint) {
	w.acc |= v << (w.n & 63)
	w.n += n
	le.PutUint64(w.buf[w.at:], w.acc)
	w.at += int(w.n >> 3)
	w.acc >>= w.n & 56
	w.n &= 7
}

// wideGroup decodes up to a group.
func (r *lanes) wideGroup(t *Table, dst, base []byte, buf *[bufMask + 9]byte) {
	k := t.kind
	w, fine := k.Width(), k.fine()
	var b, u group64
	b.load(base, w)
	for i := range len(dst) / w {
		p := r[i%laneCount]
		word := peek(buf, p)
		e := t.code[(uint(t.ctx[k.context(b[i])])+uint(word&bitsMask))&codeMask]
		n := uint(e & 15)
		low, extra := interval64(uint8(e>>8), fine)
		v := word >> n & (1<<min(extra, 32) - 1)
		if extra > 32 {
			v |= peek(buf, p+n+32) & (1<<(extra-32) - 1) << 32
		}
		r[i%laneCount] = p + n + extra
		u[i] = k.apply(low+int64(v), b[i])
	}
	u.store(dst, w)
}

// wideGroups decodes all groups; false means that a lane was too short.
func (d *Decoder) wideGroups(t *Table, dst, base, mask []byte) bool {
	size := groupLen * t.kind.Width()
	limit := 8 * uint(d.end)
	for g := 0; g*size < len(dst); g++ {
		from, to := g*size, min((g+1)*size, len(dst))
		if mask != nil && mask[g>>3]>>(g&7)&1 != 0 {
			copy(dst[from:to], base[from:to])
			continue
		}
		if max(d.run[0], d.run[1], d.run[2], d.run[3]) > limit {
			return false
		}
		d.run.wideGroup(t, dst[from:to], base[from:to], &d.buf)
	}
	return true
}

// size returns the bits of the difference of two elements, a sign included where there is one.
func (k Kind) size(raw, base []byte) int {
	var u, b group64
	u.load(raw, k.Width())
	b.load(base, k.Width())
	d := k.difference(u[0], b[0])
	return bits.Len64(uint64(max(d, -(d+1)))) + int(uint64(d|-d)>>63)
}
