//go:build !purego

package field

import "golang.org/x/sys/cpu"

// vector says whether the loop of fast_amd64.s is used. Tests turn it off.
var vector = cpu.X86.HasAVX2

// exponentsAVX2 does groups of 64 elements.
//
//go:noescape
func exponentsAVX2(e, s, symbols, rests *byte, add uint8, groups int)

// fastExponents does the first elements of exponents and returns how many.
func fastExponents(e, s, symbols, rests []byte, window uint8) int {
	n := len(e) / group
	if !vector || n == 0 {
		return 0
	}
	_, _, _ = s[n*group-1], symbols[n*group-1], rests[n*restLen-1]
	exponentsAVX2(&e[0], &s[0], &symbols[0], &rests[0], window-1, n)
	return n * group
}
