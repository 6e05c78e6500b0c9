package ordint

import "coral/delta/huff"

const (
	bitsMask = huff.TableSize - 1
	codeMask = maxContexts*huff.TableSize - 1
)

// group16 decodes a group of 16-bit elements. The four lanes are independent chains of
// look-ups that overlap in the processor; each keeps only its bit position in a register, and two elements
// are taken from a word, since a code and its extra bits are at most 11 + 13 bits. The last
// step, from differences to elements, is done for four at once.
// Benchmark: BenchmarkDecode; plain version: lanes.plain.
func (r *lanes) group16(t *Table, dst, base *[2 * groupLen]byte, buf *[bufMask + 9]byte) {
	p0, p1, p2, p3 := r[0], r[1], r[2], r[3]
	for i := 0; i < 2*groupLen; i += 16 {
		b, c := le.Uint64(base[i:i+8]), le.Uint64(base[i+8:i+16])

		var d, f, x uint64
		var n uint
		var e uint16
		w0 := peek(buf, p0)
		e = t.code[(uint(t.ctx[uint8(b>>7)])+uint(w0&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w0>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		d |= x & 0xffff << 0
		p0 += n
		w0 >>= n & 31
		e = t.code[(uint(t.ctx[uint8(c>>7)])+uint(w0&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w0>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		f |= x & 0xffff << 0
		p0 += n

		w1 := peek(buf, p1)
		e = t.code[(uint(t.ctx[uint8(b>>23)])+uint(w1&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w1>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		d |= x & 0xffff << 16
		p1 += n
		w1 >>= n & 31
		e = t.code[(uint(t.ctx[uint8(c>>23)])+uint(w1&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w1>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		f |= x & 0xffff << 16
		p1 += n

		w2 := peek(buf, p2)
		e = t.code[(uint(t.ctx[uint8(b>>39)])+uint(w2&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w2>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		d |= x & 0xffff << 32
		p2 += n
		w2 >>= n & 31
		e = t.code[(uint(t.ctx[uint8(c>>39)])+uint(w2&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w2>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		f |= x & 0xffff << 32
		p2 += n

		w3 := peek(buf, p3)
		e = t.code[(uint(t.ctx[uint8(b>>55)])+uint(w3&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w3>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		d |= x & 0xffff << 48
		p3 += n
		w3 >>= n & 31
		e = t.code[(uint(t.ctx[uint8(c>>55)])+uint(w3&bitsMask))&codeMask]
		x, n = uint64(int16(e)>>4), uint(e&15)
		if n == escape {
			s := actions16[e>>8]
			x, n = s+w3>>(e>>4&15)&(s>>16), uint(e>>4&15)+uint(s>>32)
		}
		f |= x & 0xffff << 48
		p3 += n

		le.PutUint64(dst[i:i+8], undiff16x4(d, b))
		le.PutUint64(dst[i+8:i+16], undiff16x4(f, c))
	}
	r[0], r[1], r[2], r[3] = p0, p1, p2, p3
}

// undiff16x4 is undiff16 of four lanes of 16 bits.
func undiff16x4(d, b uint64) uint64 {
	const sign, rest = 0x8000800080008000, 0x7fff7fff7fff7fff
	y := (b&rest + d&rest) ^ d&sign
	return y ^ y>>15&0x0001000100010001*0x7fff ^ b&sign
}

// group32 decodes a group of 32-bit elements, as group16 does but with one element a word: a code
// and its extra bits are at most 11 + 29 bits. Processors with AVX2 and BMI2 have fast_amd64.s. Benchmark: BenchmarkDecode; plain version: lanes.plain.
func (r *lanes) group32(t *Table, dst, base *[4 * groupLen]byte, buf *[bufMask + 9]byte) {
	p0, p1, p2, p3 := r[0], r[1], r[2], r[3]
	scale := uint32(1) << (t.zero & 31)
	magnitude := uint32(0x7fffffff) &^ (scale - 1)
	for i := 0; i < 4*groupLen; i += 16 {
		b := le.Uint32(base[i : i+4])
		w := peek(buf, p0)
		e := t.code[(uint(t.ctx[uint8(b>>23)])+uint(w&bitsMask))&codeMask]
		s := &actions32[e>>8]
		p0 += uint(e & 0xff)
		le.PutUint32(dst[i:i+4], undiff32((s.low+uint32(w>>((uint64(e)-s.extra)&31))&s.mask)*scale, b, magnitude))

		b = le.Uint32(base[i+4 : i+8])
		w = peek(buf, p1)
		e = t.code[(uint(t.ctx[uint8(b>>23)])+uint(w&bitsMask))&codeMask]
		s = &actions32[e>>8]
		p1 += uint(e & 0xff)
		le.PutUint32(dst[i+4:i+8], undiff32((s.low+uint32(w>>((uint64(e)-s.extra)&31))&s.mask)*scale, b, magnitude))

		b = le.Uint32(base[i+8 : i+12])
		w = peek(buf, p2)
		e = t.code[(uint(t.ctx[uint8(b>>23)])+uint(w&bitsMask))&codeMask]
		s = &actions32[e>>8]
		p2 += uint(e & 0xff)
		le.PutUint32(dst[i+8:i+12], undiff32((s.low+uint32(w>>((uint64(e)-s.extra)&31))&s.mask)*scale, b, magnitude))

		b = le.Uint32(base[i+12 : i+16])
		w = peek(buf, p3)
		e = t.code[(uint(t.ctx[uint8(b>>23)])+uint(w&bitsMask))&codeMask]
		s = &actions32[e>>8]
		p3 += uint(e & 0xff)
		le.PutUint32(dst[i+12:i+16], undiff32((s.low+uint32(w>>((uint64(e)-s.extra)&31))&s.mask)*scale, b, magnitude))
	}
	r[0], r[1], r[2], r[3] = p0, p1, p2, p3
}
