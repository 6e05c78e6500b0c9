package huff

import "math"

// Entropy returns the least bits that symbols with these counts take under one code,
// not less than a bit each where there is more than one symbol: what a Huffman code can reach at best.
func Entropy(counts []uint32) float64 {
	var total, bits float64
	used := 0
	for _, n := range counts {
		if n > 0 {
			total += float64(n)
			bits -= float64(n) * math.Log2(float64(n))
			used++
		}
	}
	if used < 2 {
		return 0
	}
	return max(total, bits+total*math.Log2(total))
}
