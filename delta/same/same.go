// Package same finds and restores blocks that need no coding: those that repeat one element.
// (Blocks equal to their base are found by bytes.Equal and restored by copy.)
package same

import "bytes"

// The constant block is its element, a power of two from 1 to MaxPattern bytes long:
//
//	0  1, 2, 4, 8 or 16  the element
//
// The decoded block repeats it from its first byte on, the last time perhaps in part.
const MaxPattern = 16

// Pattern returns the shortest element that b repeats, of 1, 2, 4, 8 or 16 bytes, and false if there is
// none or b is not longer than it.
func Pattern(b []byte) ([]byte, bool) {
	for w := 1; w <= MaxPattern && w < len(b); w *= 2 {
		if b[0] == b[w] && bytes.Equal(b[w:], b[:len(b)-w]) {
			return b[:w], true
		}
	}
	return nil, false
}

// ValidPattern reports whether n may be the length of a pattern.
func ValidPattern(n int) bool { return n >= 1 && n <= MaxPattern && n&(n-1) == 0 }

// Fill fills dst with the pattern, which must not be empty.
func Fill(dst, pattern []byte) {
	for n := copy(dst, pattern); n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}

// Zero reports whether all bytes of b are 0.
func Zero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
