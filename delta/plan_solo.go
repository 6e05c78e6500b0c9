package delta

import (
	"coral/delta/field"
	"coral/delta/palette"
	"coral/delta/solo"
)

const (
	keepPalette = 0.95   // a palette must be this much smaller than the blob's other blocks
	keepSplit   = 0.9995 // columns must be this much smaller than planes, which a processor without AVX2 decodes faster
)

// planAlone estimates what an element takes without base, from pieces of a few open blocks, and chooses between columns,
// planes and zstd.
func (e *encoderState) planAlone(open int) {
	p := &e.p
	p.alone = codecZstd
	shape, isShape := shapeOf(p.dtype)
	layout, isLayout := field.LayoutOf(p.dtype)
	if !isShape && !isLayout {
		return
	}
	if isLayout {
		p.width = layout.Size
	}
	if isShape {
		p.width = shape.Width
	}
	e.sample(shape, layout, open)
	total := p.openLen(open) / p.width
	rawBits := float64(8 * p.width)
	p.bits = rawBits
	if isShape {
		p.alone, p.bits = codecSplit, e.solo.Choose(total)
	}
	if isLayout {
		if b := e.cols.Choose(total); !isShape || e.cols.Empty() || b < keepSplit*p.bits {
			p.alone, p.bits = codecColumns, b
		}
	}
	if (shape.Top || !isShape) && p.bits > tryZstd*rawBits {
		return
	}
	// zstd is slow on what it cannot shrink, so it is tried on the sample.
	e.tmp = e.lit.Compress(e.tmp[:0], e.piece)
	if z := rawBits * float64(len(e.tmp)) / float64(len(e.piece)); z < keepZstd*p.bits {
		p.alone, p.bits = codecZstd, z
	}
}

// sample counts pieces of a few open blocks in the models that code the kind, and gathers them in e.piece.
func (e *encoderState) sample(shape solo.Shape, layout *field.Layout, open int) {
	p := &e.p
	if shape.Width > 0 {
		if e.solo == nil {
			e.solo = solo.NewModel()
		}
		e.solo.Reset(shape)
	}
	if layout != nil {
		if e.cols == nil {
			e.cols = field.NewModel()
		}
		e.cols.Reset(layout, p.raw)
	}
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
			if shape.Width > 0 {
				e.solo.Sample(b)
			}
			if layout != nil {
				e.cols.Sample(b, i<<p.log+at)
			}
			e.piece = append(e.piece, b...)
		}
		seen++
	}
}

// fewValues reports whether block i takes less as few values and which of them each element is.
func (e *encoderState) fewValues(i int) bool {
	p := &e.p
	w, ok := palette.Width(p.dtype)
	if !ok {
		return false
	}
	if e.pal == nil {
		e.pal = new(palette.Coder)
	}
	b := p.blockRaw(i)
	size, ok := e.pal.Bytes(b, w)
	return ok && float64(8*size) < keepPalette*p.bits*float64(len(b)/p.width)
}

// countAlone adds block i, which is coded alone, to the statistics of its codec; buildAlone makes the tables of them.
func (e *encoderState) countAlone(i int) {
	switch e.p.alone {
	case codecSplit:
		e.solo.Count(e.p.blockRaw(i))
	case codecColumns:
		e.cols.Count(e.p.blockRaw(i), i<<e.p.log)
	}
}

func (e *encoderState) buildAlone() {
	switch e.p.alone {
	case codecSplit:
		e.solo.Build()
	case codecColumns:
		e.cols.Build()
	}
}

// openLen returns the length of all open blocks together, give or take the last one's.
func (p *plan) openLen(open int) int { return min(open<<p.log, len(p.raw)) }
