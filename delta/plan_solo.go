package delta

import "coral/delta/solo"

// sample estimates what an element takes without base, from pieces of a few open blocks, and chooses
// between planes and zstd.
func (e *encoderState) sample(shape solo.Shape, open int) {
	p := &e.p
	if e.solo == nil {
		e.solo = solo.NewModel()
	}
	e.solo.Reset(shape)
	e.piece = e.piece[:0]
	step, seen := max(1, open/sampleBlocks), 0
	for i, c := range p.codec {
		if c != codecOpen {
			continue
		}
		if seen%step == 0 && len(e.piece) < sampleBlocks*sampleLen {
			b := p.blockRaw(i)
			at := (len(b) - min(len(b), sampleLen)) / 2 / 16 * 16 // whole elements from the middle
			b = b[at:min(len(b), at+sampleLen)]
			e.solo.Sample(b)
			e.piece = append(e.piece, b...)
		}
		seen++
	}
	p.bits = e.solo.Choose(p.openLen(open) / shape.Width)
	rawBits := float64(8 * shape.Width)
	if shape.Top && p.bits > tryZstd*rawBits {
		return
	}
	// zstd is slow on what it cannot shrink, so it is tried on the sample.
	e.tmp = e.lit.Compress(e.tmp[:0], e.piece)
	if z := rawBits * float64(len(e.tmp)) / float64(len(e.piece)); z < keepZstd*p.bits {
		p.split, p.bits = false, z
	}
}

// openLen returns the length of all open blocks together, give or take the last one's.
func (p *plan) openLen(open int) int { return min(open<<p.log, len(p.raw)) }
