package field

import "encoding/binary"

var le = binary.LittleEndian

// The structs of GGUF whose quants or scales are spread over several places. The work is done on eight quants at a time, in the
// bytes of a word; gguf_test.go has plain versions. Names are those of ggml-common.h: d and dmin are F16 scales, qs and ql hold the low
// bits of quants, qh and hmask their high bits.

const (
	ones  = 0x0101010101010101
	sevs  = 0x7f7f7f7f7f7f7f7f
	nib   = 0x0f0f0f0f0f0f0f0f
	pair  = 0x0303030303030303
	spots = 0x8040201008040201 // bit k of byte k
)

// spreadBits puts bit k of v into byte k; gatherBits is its inverse for bytes of 0 or 1.
func spreadBits(v byte) uint64 {
	x := uint64(v) * ones & spots
	return ((x&sevs + sevs) | x) >> 7 & ones
}

func gatherBits(x uint64) byte { return byte(x * 0x0102040810204080 >> 56) }

// splitQ5 is of block_q5_0 (d, qh, qs) and block_q5_1 (d, m, qh, qs): 32 quants; quant k's low bits are in the
// low (k < 16) or high half of qs[k mod 16], its bit 4 is bit k of qh.
func splitQ5(size int) func(c *columns, b []byte, n int) {
	scales := size - 20
	return func(c *columns, b []byte, n int) {
		for i := range n {
			s := b[i*size : (i+1)*size]
			for j := range scales {
				c[j][i] = s[j]
			}
			qh, qs, q := s[scales:scales+4], s[scales+4:], c[scales][i*32:i*32+32]
			for k := 0; k < 16; k += 8 {
				x := le.Uint64(qs[k:])
				le.PutUint64(q[k:], x&nib|spreadBits(qh[k>>3])<<4)
				le.PutUint64(q[k+16:], x>>4&nib|spreadBits(qh[k>>3+2])<<4)
			}
		}
	}
}

func mergeQ5(size int) func(b []byte, c *columns, n int) {
	scales := size - 20
	return func(b []byte, c *columns, n int) {
		for i := range n {
			s := b[i*size : (i+1)*size]
			for j := range scales {
				s[j] = c[j][i]
			}
			qh, qs, q := s[scales:scales+4], s[scales+4:], c[scales][i*32:i*32+32]
			for k := 0; k < 16; k += 8 {
				x, y := le.Uint64(q[k:]), le.Uint64(q[k+16:])
				le.PutUint64(qs[k:], x&nib|y&nib<<4)
				qh[k>>3], qh[k>>3+2] = gatherBits(x>>4&ones), gatherBits(y>>4&ones)
			}
		}
	}
}

// splitScales takes the 8 scales and 8 minimums of 6 bits from the 12 bytes of block_q4_K and block_q5_K (get_scale_min_k4).
func splitScales(sc, mn, s []byte) {
	for j := range 4 {
		sc[j], mn[j] = s[j]&63, s[j+4]&63
		sc[j+4], mn[j+4] = s[j+8]&15|s[j]>>6<<4, s[j+8]>>4|s[j+4]>>6<<4
	}
}

func mergeScales(s, sc, mn []byte) {
	for j := range 4 {
		s[j], s[j+4] = sc[j]&63|sc[j+4]>>4<<6, mn[j]&63|mn[j+4]>>4<<6
		s[j+8] = sc[j+4]&15 | mn[j+4]<<4
	}
}

// splitQ4K is of block_q4_K: d, dmin, 12 bytes of scales, qs[128].
func splitQ4K(c *columns, b []byte, n int) {
	for i := range n {
		s := b[i*144 : (i+1)*144]
		c[0][i], c[1][i], c[2][i], c[3][i] = s[0], s[1], s[2], s[3]
		splitScales(c[4][i*8:i*8+8], c[5][i*8:i*8+8], s[4:16])
		copy(c[6][i*128:i*128+128], s[16:])
	}
}

func mergeQ4K(b []byte, c *columns, n int) {
	for i := range n {
		s := b[i*144 : (i+1)*144]
		s[0], s[1], s[2], s[3] = c[0][i], c[1][i], c[2][i], c[3][i]
		mergeScales(s[4:16], c[4][i*8:i*8+8], c[5][i*8:i*8+8])
		copy(s[16:], c[6][i*128:i*128+128])
	}
}

// splitQ5K is of block_q5_K: d, dmin, 12 bytes of scales, qh[32], qs[128]. Quant 64 j + l (l < 32) is in the low half of qs[32 j + l] and bit
// 2 j of qh[l], quant 64 j + 32 + l in the high half and bit 2 j + 1.
func splitQ5K(c *columns, b []byte, n int) {
	for i := range n {
		s := b[i*176 : (i+1)*176]
		c[0][i], c[1][i], c[2][i], c[3][i] = s[0], s[1], s[2], s[3]
		splitScales(c[4][i*8:i*8+8], c[5][i*8:i*8+8], s[4:16])
		qh, qs, q := s[16:48], s[48:176], c[6][i*256:i*256+256]
		for l := 0; l < 32; l += 8 {
			h := le.Uint64(qh[l:])
			for j := range 4 {
				x := le.Uint64(qs[32*j+l:])
				le.PutUint64(q[64*j+l:], x&nib|h>>(2*j)&ones<<4)
				le.PutUint64(q[64*j+32+l:], x>>4&nib|h>>(2*j+1)&ones<<4)
			}
		}
	}
}

func mergeQ5K(b []byte, c *columns, n int) {
	for i := range n {
		s := b[i*176 : (i+1)*176]
		s[0], s[1], s[2], s[3] = c[0][i], c[1][i], c[2][i], c[3][i]
		mergeScales(s[4:16], c[4][i*8:i*8+8], c[5][i*8:i*8+8])
		qh, qs, q := s[16:48], s[48:176], c[6][i*256:i*256+256]
		for l := 0; l < 32; l += 8 {
			var h uint64
			for j := range 4 {
				x, y := le.Uint64(q[64*j+l:]), le.Uint64(q[64*j+32+l:])
				le.PutUint64(qs[32*j+l:], x&nib|y&nib<<4)
				h |= x>>4&ones<<(2*j) | y>>4&ones<<(2*j+1)
			}
			le.PutUint64(qh[l:], h)
		}
	}
}

// splitQ6K is of block_q6_K: ql[128], qh[64], scales[16], d. Each half of 128 quants has four runs of 32, of which run r has its low bits
// in the low (r < 2) or high half of ql[32 (r mod 2) + l], its high ones in bits 2 r and 2 r + 1 of qh[l].
func splitQ6K(c *columns, b []byte, n int) {
	for i := range n {
		s := b[i*210 : (i+1)*210]
		for h := range 2 {
			ql, qh, q := s[64*h:64*h+64], s[128+32*h:160+32*h], c[0][i*256+h*128:i*256+h*128+128]
			for l := 0; l < 32; l += 8 {
				x, y, z := le.Uint64(ql[l:]), le.Uint64(ql[l+32:]), le.Uint64(qh[l:])
				le.PutUint64(q[l:], x&nib|z&pair<<4)
				le.PutUint64(q[l+32:], y&nib|z>>2&pair<<4)
				le.PutUint64(q[l+64:], x>>4&nib|z>>4&pair<<4)
				le.PutUint64(q[l+96:], y>>4&nib|z>>6&pair<<4)
			}
		}
		copy(c[1][i*16:i*16+16], s[192:208])
		c[2][i], c[3][i] = s[208], s[209]
	}
}

func mergeQ6K(b []byte, c *columns, n int) {
	for i := range n {
		s := b[i*210 : (i+1)*210]
		for h := range 2 {
			ql, qh, q := s[64*h:64*h+64], s[128+32*h:160+32*h], c[0][i*256+h*128:i*256+h*128+128]
			for l := 0; l < 32; l += 8 {
				q0, q1, q2, q3 := le.Uint64(q[l:]), le.Uint64(q[l+32:]), le.Uint64(q[l+64:]), le.Uint64(q[l+96:])
				le.PutUint64(ql[l:], q0&nib|q2&nib<<4)
				le.PutUint64(ql[l+32:], q1&nib|q3&nib<<4)
				le.PutUint64(qh[l:], q0>>4&pair|q1>>4&pair<<2|q2>>4&pair<<4|q3>>4&pair<<6)
			}
		}
		copy(s[192:208], c[1][i*16:i*16+16])
		s[208], s[209] = c[2][i], c[3][i]
	}
}

// splitQ3K is of block_q3_K: hmask[32], qs[64], 12 bytes of scales, d. Each half h of 128 quants has four runs of 32, of which run r has its
// low bits in bits 2 r and 2 r + 1 of qs[32 h + l], its high one in bit 4 h + r of hmask[l]. A symbol is quant l of run r in its
// low 3 bits and of run r + 1 above, for r = 0 and 2.
func splitQ3K(c *columns, b []byte, n int) {
	for i := range n {
		s := b[i*110 : (i+1)*110]
		for h := range 2 {
			qs, q := s[32+32*h:64+32*h], c[0][i*128+h*64:i*128+h*64+64]
			for l := 0; l < 32; l += 8 {
				x, m := le.Uint64(qs[l:]), le.Uint64(s[l:])>>(4*h)
				le.PutUint64(q[l:], x&pair|m&ones<<2|x>>2&pair<<3|m>>1&ones<<5)
				le.PutUint64(q[l+32:], x>>4&pair|m>>2&ones<<2|x>>6&pair<<3|m>>3&ones<<5)
			}
		}
		splitScales3(c[1][i*16:i*16+16], s[96:108])
		c[2][i], c[3][i] = s[108], s[109]
	}
}

func mergeQ3K(b []byte, c *columns, n int) {
	for i := range n {
		s := b[i*110 : (i+1)*110]
		clear(s[:32])
		for h := range 2 {
			qs, q := s[32+32*h:64+32*h], c[0][i*128+h*64:i*128+h*64+64]
			for l := 0; l < 32; l += 8 {
				x, y := le.Uint64(q[l:]), le.Uint64(q[l+32:])
				le.PutUint64(qs[l:], x&pair|x>>3&pair<<2|y&pair<<4|y>>3&pair<<6)
				m := x>>2&ones | x>>5&ones<<1 | y>>2&ones<<2 | y>>5&ones<<3
				le.PutUint64(s[l:], le.Uint64(s[l:])|m<<(4*h))
			}
		}
		mergeScales3(s[96:108], c[1][i*16:i*16+16])
		s[108], s[109] = c[2][i], c[3][i]
	}
}

// splitScales3 takes the 16 scales of 6 bits from 12 bytes of block_q3_K: low four bits of scale k in the low (k < 8) or high half
// of byte k mod 8, the others in bits 2 (k/4) and above of byte 8 + k mod 4.
func splitScales3(sc, s []byte) {
	for k := range 8 {
		sc[k] = s[k]&15 | s[8+k&3]>>(k>>2<<1)&3<<4
		sc[k+8] = s[k]>>4 | s[8+k&3]>>(4+k>>2<<1)&3<<4
	}
}

func mergeScales3(s, sc []byte) {
	for k := range 8 {
		s[k] = sc[k]&15 | sc[k+8]<<4
	}
	for k := range 4 {
		s[8+k] = sc[k]>>4&3 | sc[k+4]>>4&3<<2 | sc[k+8]>>4&3<<4 | sc[k+12]>>4&3<<6
	}
}
