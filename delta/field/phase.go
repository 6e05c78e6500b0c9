package field

import "coral/delta/plane"

// phaseStructs is how many structs are looked at: enough to tell the high byte of a scale, of which few values occur, from quants.
const phaseStructs = 512

// findPhase returns the offset of the first whole struct in a blob: 0 in one that begins with a struct, but the later extents of
// a long tensor do not. In the right place the high bytes of scales are least random. A wrong answer costs ratio, no more.
func findPhase(l *Layout, blob []byte) int {
	n := min(len(blob)/l.Size, phaseStructs)
	if n < group || len(l.marks) == 0 {
		return 0
	}
	var random [256]float64 // of byte j of every struct, as if the first began the blob
	var part [phaseStructs]byte
	for j := range l.Size {
		var counts [256]uint32
		plane.Take(part[:n], blob[:n*l.Size], j, l.Size)
		plane.Count(&counts, part[:n])
		random[j] = entropy(&counts)
	}
	score := func(phase int) (s float64) {
		for _, at := range l.marks {
			s += random[(phase+at)%l.Size]
		}
		return s
	}
	best, least := 0, 0.9*score(0)
	for p := 1; p < l.Size; p++ {
		if s := score(p); s < least {
			best, least = p, s
		}
	}
	return best
}
