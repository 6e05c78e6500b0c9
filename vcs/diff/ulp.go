package diff

import (
	"encoding/binary"
	"math/bits"

	"coral/delta/format/dtype"
)

// The distance in ulps of two floats of a kind is how many floats lie between them, plus one: their bits, read as sign and
// magnitude, are ordered integers (as in Bruce Dawson's "Comparing floating point numbers", and numpy.testing.nulp_diff). +0 and −0 are
// the same.

// Buckets of the histogram: distances below ulpExact are kept exactly, longer ones by their exponent and the ulpBits bits below it, which
// is a relative error of at most 2^-(ulpBits+1) when the middle of a bucket is taken.
const (
	ulpBits    = 6
	ulpExact   = 1 << 10
	ulpOctaves = 64 - 10
	ulpBuckets = ulpExact + ulpOctaves<<ulpBits
)

// ulps is the histogram of the distances of a pair.
type ulps struct {
	n      int64
	max    uint64
	counts [ulpBuckets]int64
}

func (u *ulps) reset() { *u = ulps{} }

func (u *ulps) add(d uint64) {
	u.n++
	u.max = max(u.max, d)
	u.counts[bucket(d)]++
}

func bucket(d uint64) int {
	if d < ulpExact {
		return int(d)
	}
	e := bits.Len64(d) - 1 // 10 … 63
	return ulpExact + (e-10)<<ulpBits + int(d>>(e-ulpBits))&(1<<ulpBits-1)
}

// middle is the inverse of bucket: exact below ulpExact, else the middle.
func middle(i int) uint64 {
	if i < ulpExact {
		return uint64(i)
	}
	i -= ulpExact
	e := i>>ulpBits + 10
	low := uint64(1)<<e | uint64(i&(1<<ulpBits-1))<<(e-ulpBits)
	return low + (uint64(1)<<(e-ulpBits)-1)/2
}

// median is the lower median; 0 if there are none.
func (u *ulps) median() uint64 {
	left := (u.n + 1) / 2
	for i, c := range u.counts {
		if left -= c; left <= 0 && c > 0 {
			return min(middle(i), u.max)
		}
	}
	return 0
}

// floatBits says how the bits of a float kind are laid out: bytes of one, the mask of its magnitude, and the first magnitude that is not finite.
type floatBits struct {
	width int
	mask  uint64
	odd   uint64
}

// floats has the kinds that distances in ulps are for. C64 and C128 are taken as their parts.
var floats = map[dtype.Kind]floatBits{
	dtype.F64: {8, 1<<63 - 1, 0x7ff << 52}, dtype.C128: {8, 1<<63 - 1, 0x7ff << 52},
	dtype.F32: {4, 1<<31 - 1, 0xff << 23}, dtype.C64: {4, 1<<31 - 1, 0xff << 23},
	dtype.F16: {2, 1<<15 - 1, 0x1f << 10}, dtype.BF16: {2, 1<<15 - 1, 0xff << 7},
	dtype.F8E4M3: {1, 0x7f, 0x7f}, dtype.F8E5M2: {1, 0x7f, 0x1f << 2},
	dtype.F8E8M0: {1, 0xff, 0xff},
}

// ordered maps the bits of a float to integers in the order of the floats; odd is NaN or infinite.
func (f floatBits) ordered(w uint64) (v int64, odd bool) {
	m := w & f.mask
	if m != w {
		return -int64(m), m >= f.odd
	}
	return int64(m), m >= f.odd
}

// add counts the distances of the floats in a and b, and returns how many differ in a bit. a and b have the same length, whole floats.
func (u *ulps) addAll(f floatBits, a, b []byte) (changed int64) {
	if f.width == 4 {
		return u.add32(a, b)
	}
	for i := 0; i+f.width <= len(a); i += f.width {
		x, y := word(a[i:], f.width), word(b[i:], f.width)
		if x != y {
			changed++
		}
		u.pair(f, x, y)
	}
	return changed
}

func (u *ulps) pair(f floatBits, x, y uint64) {
	ox, oddX := f.ordered(x)
	oy, oddY := f.ordered(y)
	switch {
	case oddX || oddY:
	case ox > oy:
		u.add(uint64(ox) - uint64(oy)) // wraps to the true distance: it is below 2^64
	default:
		u.add(uint64(oy) - uint64(ox))
	}
}

// add32 is addAll for F32, the kind that most checkpoints have: BenchmarkMeasure. It is the same with its state in registers.
func (u *ulps) add32(a, b []byte) (changed int64) {
	const mask, odd = 1<<31 - 1, 0xff << 23
	b = b[:len(a)]
	var n int64
	most := u.max
	for i := 0; i+4 <= len(a); i += 4 {
		x, y := binary.LittleEndian.Uint32(a[i:]), binary.LittleEndian.Uint32(b[i:])
		if x != y {
			changed++
		}
		mx, my := int64(x&mask), int64(y&mask)
		if mx >= odd || my >= odd {
			continue
		}
		// −m where the sign is set: (m ^ s) − s with s = −1. |d| likewise.
		sx, sy := -int64(x>>31), -int64(y>>31)
		d := (mx ^ sx - sx) - (my ^ sy - sy)
		s := d >> 63
		v := uint64(d ^ s - s)
		n++
		most = max(most, v)
		u.counts[bucket(v)]++
	}
	u.n += n
	u.max = most
	return changed
}

func word(b []byte, width int) uint64 {
	switch width {
	case 8:
		return binary.LittleEndian.Uint64(b)
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return uint64(b[0])
}

// differing counts the units of width bytes in which a and b, of one length, differ. A rest counts as one.
func differing(a, b []byte, width int) (n int64) {
	for i := 0; i < len(a); i += width {
		end := min(i+width, len(a))
		if string(a[i:end]) != string(b[i:end]) {
			n++
		}
	}
	return n
}
