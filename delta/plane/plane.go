// Package plane takes float elements apart into byte planes and puts them together
// again: with AVX2 where the processor has it (plane_amd64.s), else, and for what is
// left at the end, 8 bytes at a time in general-purpose registers.
//
// The two top bytes of every float are cut the same way, whatever its kind:
//
//	exponent plane  the 8 bits below the sign (F64: the low 8 bits of the exponent)
//	sign plane      the sign, then the 7 bits below the exponent plane
//	                (F64: sign, the 3 high exponent bits, 4 mantissa bits)
//
// What is below is the low part: 0, 2 or 6 bytes an element, kept interleaved as it
// was in the element. All elements are little endian. Nothing here allocates, and
// no function reads or writes outside the slices it is given.
package plane

import "encoding/binary"

var le = binary.LittleEndian

const (
	lane8  = 0x00ff00ff00ff00ff // the low byte of each 16-bit lane
	lane7  = 0x007f007f007f007f // the low 7 bits of each lane
	laneHi = 0x0080008000800080 // bit 7 of each lane
	pair16 = 0x0000ffff0000ffff
	low48  = 1<<48 - 1
)

// spread puts the 4 bytes of x into the low halves of 4 16-bit lanes.
func spread(x uint64) uint64 {
	x = (x | x<<16) & pair16
	return (x | x<<8) & lane8
}

// gather is the inverse of spread: the low bytes of 4 lanes become 4 bytes.
func gather(x uint64) uint64 {
	x = (x | x>>8) & pair16
	return (x | x>>16) & 0xffffffff
}

// join makes four 16-bit tops of 4 exponent bytes and 4 sign bytes.
func join(e, s uint64) uint64 {
	y := spread(s)
	return spread(e)<<7 | (y&laneHi)<<8 | y&lane7
}

// exps returns the 4 exponent bytes of four 16-bit tops, signs their 4 sign bytes.
func exps(v uint64) uint64  { return gather(v >> 7 & lane8) }
func signs(v uint64) uint64 { return gather(v>>8&laneHi | v&lane7) }

// Split16 writes the exponent bytes and sign bytes of the 16-bit elements of src:
// len(e) and len(s) are len(src)/2. Benchmark: BenchmarkSplit; plain version: plainSplit.
func Split16(e, s, src []byte) {
	n := len(src) / 2
	e, s, src = e[:n], s[:n], src[:2*n]
	i := fastSplit16(e, s, src)
	for ; i+8 <= n; i += 8 {
		p := src[2*i : 2*i+16 : 2*i+16]
		a, b := le.Uint64(p), le.Uint64(p[8:])
		le.PutUint64(e[i:i+8], exps(a)|exps(b)<<32)
		le.PutUint64(s[i:i+8], signs(a)|signs(b)<<32)
	}
	for ; i < n; i++ {
		v := le.Uint16(src[2*i:])
		e[i], s[i] = byte(v>>7), byte(v>>8&0x80|v&0x7f)
	}
}

// Merge16 is the inverse of Split16.
func Merge16(dst, e, s []byte) {
	n := len(dst) / 2
	e, s, dst = e[:n], s[:n], dst[:2*n]
	i := fastMerge16(dst, e, s)
	for ; i+4 <= n; i += 4 {
		le.PutUint64(dst[2*i:2*i+8], join(uint64(le.Uint32(e[i:i+4])), uint64(le.Uint32(s[i:i+4]))))
	}
	for ; i < n; i++ {
		x, y := uint16(e[i]), uint16(s[i])
		le.PutUint16(dst[2*i:], x<<7|y&0x80<<8|y&0x7f)
	}
}

// Split32 writes the exponent bytes, sign bytes and low 16 bits of the 32-bit
// elements of src: len(low) is len(src)/2.
func Split32(e, s, low, src []byte) {
	n := len(src) / 4
	e, s, low, src = e[:n], s[:n], low[:2*n], src[:4*n]
	i := fastSplit32(e, s, low, src)
	for ; i+4 <= n; i += 4 {
		p := src[4*i : 4*i+16 : 4*i+16]
		a, b := le.Uint64(p), le.Uint64(p[8:])
		ha := a>>16&0xffff | a>>32&0xffff0000
		hb := b>>16&0xffff | b>>32&0xffff0000
		la := a&0xffff | a>>16&0xffff0000
		lb := b&0xffff | b>>16&0xffff0000
		h := ha | hb<<32
		le.PutUint32(e[i:i+4], uint32(exps(h)))
		le.PutUint32(s[i:i+4], uint32(signs(h)))
		le.PutUint64(low[2*i:2*i+8], la|lb<<32)
	}
	for ; i < n; i++ {
		v := le.Uint32(src[4*i:])
		e[i], s[i] = byte(v>>23), byte(v>>24&0x80|v>>16&0x7f)
		le.PutUint16(low[2*i:], uint16(v))
	}
}

// Merge32 is the inverse of Split32.
func Merge32(dst, e, s, low []byte) {
	n := len(dst) / 4
	e, s, low, dst = e[:n], s[:n], low[:2*n], dst[:4*n]
	i := fastMerge32(dst, e, s, low)
	for ; i+4 <= n; i += 4 {
		h := join(uint64(le.Uint32(e[i:i+4])), uint64(le.Uint32(s[i:i+4])))
		l := le.Uint64(low[2*i : 2*i+8])
		p := dst[4*i : 4*i+16 : 4*i+16]
		le.PutUint64(p, l&0xffff|h&0xffff<<16|l&0xffff0000<<16|h&0xffff0000<<32)
		l, h = l>>32, h>>32
		le.PutUint64(p[8:], l&0xffff|h&0xffff<<16|l&0xffff0000<<16|h&0xffff0000<<32)
	}
	for ; i < n; i++ {
		x, y := uint32(e[i]), uint32(s[i])
		le.PutUint32(dst[4*i:], x<<23|y&0x80<<24|y&0x7f<<16|uint32(le.Uint16(low[2*i:])))
	}
}

// Split64 writes the exponent bytes, sign bytes and low 48 bits of the 64-bit
// elements of src: len(low) is 6*len(src)/8.
func Split64(e, s, low, src []byte) {
	n := len(src) / 8
	e, s, low, src = e[:n], s[:n], low[:6*n], src[:8*n]
	for i := range n {
		v := le.Uint64(src[8*i:])
		e[i], s[i] = byte(v>>52), byte(v>>56&0xf0|v>>48&0x0f)
		le.PutUint32(low[6*i:], uint32(v))
		le.PutUint16(low[6*i+4:], uint16(v>>32))
	}
}

// Merge64 is the inverse of Split64.
func Merge64(dst, e, s, low []byte) {
	n := len(dst) / 8
	e, s, low, dst = e[:n], s[:n], low[:6*n], dst[:8*n]
	i := 0
	for ; i+2 <= n; i++ { // the last element has no 8 bytes to load
		v := le.Uint64(low[6*i:6*i+8]) & low48
		y := uint64(s[i])
		le.PutUint64(dst[8*i:8*i+8], v|uint64(e[i])<<52|y&0xf0<<56|y&0x0f<<48)
	}
	for ; i < n; i++ {
		v := uint64(le.Uint32(low[6*i:])) | uint64(le.Uint16(low[6*i+4:]))<<32
		y := uint64(s[i])
		le.PutUint64(dst[8*i:], v|uint64(e[i])<<52|y&0xf0<<56|y&0x0f<<48)
	}
}
