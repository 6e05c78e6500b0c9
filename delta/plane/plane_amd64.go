//go:build !purego

package plane

import "golang.org/x/sys/cpu"

// vector says whether the loops of plane_amd64.s are used. Tests turn it off to run the portable ones.
var vector = cpu.X86.HasAVX2

// step is the number of elements a turn of the loops in plane_amd64.s does. They do n elements, a multiple of it.
const step = 16

//go:noescape
func split16AVX2(e, s, src *byte, n int)

//go:noescape
func merge16AVX2(dst, e, s *byte, n int)

//go:noescape
func split32AVX2(e, s, low, src *byte, n int)

//go:noescape
func merge32AVX2(dst, e, s, low *byte, n int)

// whole returns how many of n elements the vector loops do.
func whole(n int) int {
	if !vector {
		return 0
	}
	return n &^ (step - 1)
}

// The fast functions do the first elements of a call and return how many. The caller has cut the slices to the same number of elements.

func fastSplit16(e, s, src []byte) int {
	n := whole(len(e))
	if n > 0 {
		split16AVX2(&e[0], &s[0], &src[0], n)
	}
	return n
}

func fastMerge16(dst, e, s []byte) int {
	n := whole(len(e))
	if n > 0 {
		merge16AVX2(&dst[0], &e[0], &s[0], n)
	}
	return n
}

func fastSplit32(e, s, low, src []byte) int {
	n := whole(len(e))
	if n > 0 {
		split32AVX2(&e[0], &s[0], &low[0], &src[0], n)
	}
	return n
}

func fastMerge32(dst, e, s, low []byte) int {
	n := whole(len(e))
	if n > 0 {
		merge32AVX2(&dst[0], &e[0], &s[0], &low[0], n)
	}
	return n
}
