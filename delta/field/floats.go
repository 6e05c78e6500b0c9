package field

import "coral/delta/plane"

// Floats with a window of exponents (BF16, F32, and C64 as its parts). An element of exponent e is numbered r = 0 if e = 0, r = e - W + 1 if
// W <= e < W + 63, else 0 with a patch that gives e. Its top half, with the mantissa's highest bits m6 … m0, is cut into
//
//	symbol  r << 2 | m6 << 1 | m5
//	rest    sign << 5 | m4 … m0
//
// Six bits of a rest fill no byte, so the rests of 64 elements, the last of them with zeros if there are fewer, are 48 bytes: byte j of the
// first 32 has bits 0–3 of rest j in its low half and of rest j + 32 in its high half; byte j of the other 16 has bits 4–5 of rests
// j, j + 16, j + 32 and j + 48, from its low bits up. The low half of an F32 is the third column, as it is.
//
// The two mantissa bits go with the exponent because they depend on it: values are not spread evenly between two powers of two (0.07 bits
// a weight; more bits add 0.01, and more symbols than a byte holds).
//
// F16 has exponents of 5 bits: its first column is all of them and three mantissa bits, bits 14–7; the second is the sign
// and bits 6–0, both as package plane cuts them.

const (
	restLen   = 48 // bytes for 64 elements
	windowN   = 63 // exponents in a window
	maxWindow = 256 - windowN
)

func splitHalf(c *columns, b []byte, n int) { plane.Split16(c[0], c[1], b[:2*n]) }
func mergeHalf(b []byte, c *columns, n int) { plane.Merge16(b[:2*n], c[0], c[1]) }

// splitTop cuts n elements into exponents, sign planes and, for F32, low halves.
func splitTop(e, s, low, b []byte, n, size int) {
	if size == 2 {
		plane.Split16(e[:n], s[:n], b[:2*n])
		return
	}
	plane.Split32(e[:n], s[:n], low[:2*n], b[:4*n])
}

func mergeTop(b, e, s, low []byte, n, size int) {
	if size == 2 {
		plane.Merge16(b[:2*n], e[:n], s[:n])
		return
	}
	plane.Merge32(b[:4*n], e[:n], s[:n], low[:2*n])
}

// bestWindow returns the window that holds the most of the counted exponents. What it has more than it needs goes a
// third to higher exponents and the rest to lower ones, of which a blob has more than its sample.
func bestWindow(counts *[256]uint32) uint8 {
	var sum, best uint64
	lo, hi := 1, 1
	for w := 1; w < 256; w++ {
		sum += uint64(counts[w])
		if w > windowN {
			sum -= uint64(counts[w-windowN])
		}
		if sum > best {
			best, hi, lo = sum, w, max(1, w-windowN+1)
		}
	}
	for lo < hi && counts[lo] == 0 {
		lo++
	}
	slack := windowN - (hi - lo + 1)
	return uint8(min(max(1, lo-slack*2/3), maxWindow))
}

// outside reports whether exponent e needs a patch.
func outside(e, window uint8) bool { return e != 0 && e-window >= windowN }

// number turns exponents e and sign planes s, of which there may be more, into symbols, in place of e, and rests. It reports false, and
// has destroyed e, if an exponent is outside the window.
func number(e, s, rests []byte, window uint8) bool {
	i, bad := 0, uint64(0)
	for ; i+group <= len(e); i += group {
		bad |= numberGroup((*[group]byte)(e[i:]), (*[group]byte)(s[i:]), (*[restLen]byte)(rests[i/group*restLen:]), window)
	}
	if i < len(e) {
		var te, ts [group]byte
		copy(te[:], e[i:])
		copy(ts[:], s[i:len(e)])
		bad |= numberGroup(&te, &ts, (*[restLen]byte)(rests[i/group*restLen:]), window)
		copy(e[i:], te[:])
	}
	return bad == 0
}

// numberGroup returns other than 0 if an exponent is outside the window.
func numberGroup(e, s *[group]byte, rests *[restLen]byte, window uint8) (bad uint64) {
	sub := ones * uint64(window-1)
	for j := 0; j < group; j += 8 {
		x := le.Uint64(e[j:])
		used := ((x&sevs + sevs) | x) >> 7 & ones
		y := used * 255 & sub
		r := ((x | ^uint64(sevs)) - y&sevs) ^ ((x ^ ^y) & ^uint64(sevs)) // x - y in each byte
		// 1 to 63 are right, and 0 for exponent 0.
		bad |= r & (0xc0 * ones)
		bad |= used &^ ((r&(63*ones) + sevs) >> 7)
		le.PutUint64(e[j:], r&(63*ones)<<2|le.Uint64(s[j:])>>5&pair)
	}
	for j := 0; j < 16; j += 8 {
		a, b, c, d := le.Uint64(s[j:]), le.Uint64(s[j+16:]), le.Uint64(s[j+32:]), le.Uint64(s[j+48:])
		le.PutUint64(rests[j:], a&nib|c&nib<<4)
		le.PutUint64(rests[j+16:], b&nib|d&nib<<4)
		le.PutUint64(rests[32+j:], high(a)|high(b)<<2|high(c)<<4|high(d)<<6)
	}
	return bad
}

// high returns bits 4 and 5 of the rests: bit 4 of the sign planes and the signs.
func high(x uint64) uint64 { return x>>4&ones | x>>6&(2*ones) }

// exponents is the inverse of number: len(e) symbols and their rests become exponents and sign planes. e and symbols may not
// overlap. Benchmark: BenchmarkExponents; plain version: plainNumber.
func exponents(e, s, symbols, rests []byte, window uint8) {
	i := fastExponents(e, s, symbols, rests, window)
	for ; i+group <= len(e); i += group {
		exponentsGroup((*[group]byte)(e[i:]), (*[group]byte)(s[i:]), (*[group]byte)(symbols[i:]), (*[restLen]byte)(rests[i/group*restLen:]), window)
	}
	if i < len(e) {
		var te, ts, sym [group]byte
		copy(sym[:], symbols[i:len(e)])
		exponentsGroup(&te, &ts, &sym, (*[restLen]byte)(rests[i/group*restLen:]), window)
		copy(e[i:], te[:])
		copy(s[i:], ts[:len(e)-i])
	}
}

func exponentsGroup(e, s, symbols *[group]byte, rests *[restLen]byte, window uint8) {
	add := ones * uint64(window-1)
	for j := 0; j < group; j += 8 {
		x := le.Uint64(symbols[j:])
		r := x >> 2 & (63 * ones)
		used := (r + sevs) >> 7 & ones * 255
		le.PutUint64(e[j:], r+used&add) // at most 63 + 192: nothing is carried
		q := le.Uint64(rests[32+j&15:]) >> (j >> 4 << 1)
		le.PutUint64(s[j:], x&pair<<5|le.Uint64(rests[j&31:])>>(j>>5<<2)&nib|q&ones<<4|q&(2*ones)<<6)
	}
}
