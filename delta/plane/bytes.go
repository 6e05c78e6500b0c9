package plane

// Take writes byte j of every k-byte element of src to dst: len(dst) is len(src)/k.
func Take(dst, src []byte, j, k int) {
	for i := range dst {
		dst[i] = src[j]
		j += k
	}
}

// Put is the inverse of Take: src becomes byte j of every k-byte element of dst.
func Put(dst, src []byte, j, k int) {
	for _, b := range src {
		dst[j] = b
		j += k
	}
}

// Fill makes b byte j of every k-byte element of dst.
func Fill(dst []byte, b byte, j, k int) {
	for ; j < len(dst); j += k {
		dst[j] = b
	}
}

// Constant reports whether byte j of all k-byte elements of src is the same, and
// which it is. It is quick where the first few differ. src holds a whole number of elements.
func Constant(src []byte, j, k int) (b byte, ok bool) {
	if len(src) == 0 {
		return 0, false
	}
	b = src[j]
	for i := j; i < len(src); i += k {
		if src[i] != b {
			return 0, false
		}
	}
	return b, true
}

// Count adds the byte counts of p to counts. Runs of one value would serialise on one
// counter, so four partial histograms are kept.
func Count(counts *[256]uint32, p []byte) {
	var h [3][256]uint32
	for len(p) >= 8 {
		v := le.Uint64(p)
		p = p[8:]
		counts[byte(v)]++
		h[0][byte(v>>8)]++
		h[1][byte(v>>16)]++
		h[2][byte(v>>24)]++
		counts[byte(v>>32)]++
		h[0][byte(v>>40)]++
		h[1][byte(v>>48)]++
		h[2][byte(v>>56)]++
	}
	for _, b := range p {
		counts[b]++
	}
	for i := range counts {
		counts[i] += h[0][i] + h[1][i] + h[2][i]
	}
}
