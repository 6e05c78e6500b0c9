//go:build !purego

package predict

import "golang.org/x/sys/cpu"

// vector says whether the loops of predict_amd64.s are used. Tests turn it off to run the portable ones.
var vector = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func stepsAVX2(dst, base *byte, n int, bins *[1 << binLog]uint32, up uint32)

//go:noescape
func scaleAVX2(dst, base *byte, n int, c float32, times int)

//go:noescape
func lerpAVX2(dst, base *byte, n int, c float32, times int)

// fast predicts the first elements and returns how many.
func (p *Predictor) fast(dst, base []byte) int {
	n := len(dst) / 4
	if p.kind == Steps {
		n &^= 7
	} else {
		n &^= 63
	}
	if !vector || n == 0 {
		return 0
	}
	switch p.kind {
	case Steps:
		stepsAVX2(&dst[0], &base[0], n, &p.bins, p.up)
	case Scale:
		scaleAVX2(&dst[0], &base[0], n, p.c, p.n)
	case Lerp:
		lerpAVX2(&dst[0], &base[0], n, p.c, p.n)
	default:
		return 0
	}
	return n
}
