package dequant

import "encoding/binary"

// q2K: 0 16 scale (low half) and minimum (high half) of each 16 elements, 16 64 quants of 2 bits, 80 2 d f16, 82 2 dmin f16.
// Of 32 bytes of quants, the bits 0-1 are elements 0 to 31, 2-3 32 to 63, and so on. y = d·scale·q - dmin·minimum.
func q2K(out []float32, in []byte) {
	d, dmin := half(in[80:]), half(in[82:])
	for g := range 16 { // groups of 16 elements
		scale, m := d*float32(in[g]&15), dmin*float32(in[g]>>4)
		quants, shift := twoBits(in[16:80], g)
		for i, q := range quants {
			out[16*g+i] = float32(scale*float32(q>>shift&3)) - m
		}
	}
}

// twoBits returns the bytes that hold the two-bit quants of group g of 16 elements, and by how much to shift them.
func twoBits(quants []byte, g int) (part []byte, shift int) {
	at := g/8*32 + g%2*16
	return quants[at : at+16], g % 8 / 2 * 2
}

// q3K: 0 32 the third bits (set: do not subtract 4), 32 64 quants of 2 bits as in q2K, 96 12 scales of 6 bits, 108 2 d f16.
// Bit b of byte i of the third bits is element 32·b+i. y = d·(scale-32)·q.
func q3K(out []float32, in []byte) {
	d := half(in[108:])
	third := in[:32]
	for g := range 16 {
		scale := d * float32(sixBits(in[96:108], g)-32)
		quants, shift := twoBits(in[32:96], g)
		for i, q := range quants {
			v := int(q >> shift & 3)
			if third[g%2*16+i]>>(g/2)&1 == 0 {
				v -= 4
			}
			out[16*g+i] = scale * float32(v)
		}
	}
}

// sixBits returns scale g of 16: four bits in the halves of bytes 0 to 7 (low halves first), two in bytes 8 to 11.
func sixBits(scales []byte, g int) int {
	return int(scales[g%8]>>(g/8*4)&15) | int(scales[8+g%4]>>(g/4*2)&3)<<4
}

// q4K: 0 2 d f16, 2 2 dmin f16, 4 12 scales and minima of 6 bits, 16 128 quants of 4 bits. Of 32 bytes of quants, the low halves
// are elements 0 to 31 and the high ones 32 to 63. y = d·scale·q - dmin·minimum.
func q4K(out []float32, in []byte) {
	d, dmin := half(in), half(in[2:])
	for g := range 8 { // groups of 32 elements
		s, m := scaleMin(in[4:16], g)
		scale, low := d*s, dmin*m
		shift := g % 2 * 4
		for i, q := range in[16+g/2*32:][:32] {
			out[32*g+i] = float32(scale*float32(q>>shift&15)) - low
		}
	}
}

// scaleMin returns the scale and the minimum of group g of 8. The first four have 6 bits each in bytes 0 to 3 and 4 to 7; the last
// four have 4 bits in the low and the high halves of bytes 8 to 11, and the two that are left over in bytes 0 to 7.
func scaleMin(b []byte, g int) (scale, minimum float32) {
	if g < 4 {
		return float32(b[g] & 63), float32(b[g+4] & 63)
	}
	return float32(b[g+4]&15 | b[g-4]>>6<<4), float32(b[g+4]>>4 | b[g]>>6<<4)
}

// q5K: 0 2 d f16, 2 2 dmin f16, 4 12 scales and minima as in q4K, 16 32 the fifth bits, 48 128 quants as in q4K.
// Bit b of byte i of the fifth bits is element 32·b+i. y = d·scale·q - dmin·minimum.
func q5K(out []float32, in []byte) {
	d, dmin := half(in), half(in[2:])
	fifths := in[16:48]
	for g := range 8 {
		s, m := scaleMin(in[4:16], g)
		scale, low := d*s, dmin*m
		shift := g % 2 * 4
		for i, q := range in[48+g/2*32:][:32] {
			out[32*g+i] = float32(scale*float32(q>>shift&15|fifths[i]>>g&1<<4)) - low
		}
	}
}

// q6K: 0 128 quants of 4 bits, 128 64 two bits more of each, 192 16 scales as i8 of 16 elements each, 208 2 d f16.
// Of 64 bytes of quants, the low halves are elements 0 to 63 and the high ones 64 to 127; of 32 bytes of the upper bits, bits 0-1 are
// elements 0 to 31, and so on. y = d·scale·(q-32).
func q6K(out []float32, in []byte) {
	d := half(in[208:])
	for g := range 16 {
		scale := d * float32(int8(in[192+g]))
		lows := in[g/8*64+g%4*16:][:16]
		lowShift := g % 8 / 4 * 4
		highs := in[128+g/8*32+g%2*16:][:16]
		highShift := g % 8 / 2 * 2
		for i, q := range lows {
			v := int(q>>lowShift&15) | int(highs[i]>>highShift&3)<<4
			out[16*g+i] = scale * float32(v-32)
		}
	}
}

// iq4XS: 0 2 d f16, 2 2 the upper two bits of 8 scales, 4 4 their lower four (low halves first), 8 128 indices: each 16 bytes are 32 elements as
// in q4_0. y = d·(scale-32)·nonLinear[q].
func iq4XS(out []float32, in []byte) {
	d, upper := half(in), binary.LittleEndian.Uint16(in[2:])
	for g := range 8 {
		scale := int(in[4+g/2]>>(g%2*4)&15) | int(upper>>(2*g)&3)<<4
		tableBy(out[32*g:32*g+32], d*float32(scale-32), in[8+16*g:][:16], &nonLinear)
	}
}
