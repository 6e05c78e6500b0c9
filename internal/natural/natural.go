// Package natural compares names as people count: checkpoint-90 before checkpoint-100.
package natural

import (
	"cmp"
	"strings"
)

// Compare compares names byte by byte, but runs of digits as numbers. Names that differ in leading zeros of the same length only are equal (0): callers that need a
// total order go on with strings.Compare.
func Compare(a, b string) int {
	for a != "" && b != "" {
		na, nb := Digits(a), Digits(b)
		if na == 0 || nb == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return cmp.Compare(len(a), len(b))
}

// Total is Compare, and strings.Compare where that sees no difference.
func Total(a, b string) int { return cmp.Or(Compare(a, b), strings.Compare(a, b)) }

// Digits returns how many ASCII digits s begins with.
func Digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
