package delta

import (
	"bytes"

	"coral/delta/field"
	"coral/delta/format/dtype"
	"coral/delta/ordint"
	"coral/delta/palette"
	"coral/delta/same"
	"coral/delta/solo"
)

const (
	windows   = 8
	windowLen = 8192

	windowRuns = 64 // of 16 elements, looked at in a window to find a predictor
)

// window is a sampled part of a blob and its base, which is nil where the base does not cover it.
type window struct{ raw, base []byte }

// sampleWindows returns up to 8 windows of 8 KiB, evenly spread: no more than a quarter of raw, unless that is one.
func sampleWindows(raw, base []byte) []window {
	n := max(1, min(windows, len(raw)/(4*windowLen)))
	ws := make([]window, n)
	for i := range ws {
		from := 0
		if n > 1 {
			from = int(int64(len(raw)-windowLen) * int64(i) / int64(n-1) / 64 * 64)
		}
		to := min(from+windowLen, len(raw))
		ws[i].raw = raw[from:to]
		if to <= len(base) {
			ws[i].base = base[from:to]
		}
	}
	return ws
}

// estimate adds up what the windows take: nothing if constant or as in the base, else the less of planes or zstd and,
// with a base, differences.
func (e *encoderState) estimate(raw, base []byte, dt dtype.Kind) int64 {
	if len(raw) < minBlocks {
		return int64(len(raw))
	}
	ws := sampleWindows(raw, base)
	total := 0
	var alone, both []byte // windows to be coded, and those of them with a base
	k, hasOrd := ordKind(dt)
	var near []window
	for _, w := range ws {
		total += len(w.raw)
		if _, ok := same.Pattern(w.raw); ok || w.base != nil && bytes.Equal(w.raw, w.base) {
			continue
		}
		if w.base != nil && hasOrd {
			near = append(near, w)
			both = append(both, w.raw...)
		} else {
			alone = append(alone, w.raw...)
		}
	}
	scale := float64(len(raw)) / float64(total)
	bits := e.soloBits(alone, scale, dt)
	if len(near) > 0 {
		d, table := e.deltaBits(k, near)
		if s := e.soloBits(both, scale, dt); d < s {
			bits += d + table/scale // the table is not scaled below
		} else {
			bits += s
		}
	}
	size := int64(bits/8*scale) + int64(PrefixLen+sumLen+entryLen*((len(raw)-1)>>blockLog(dt)+1))
	return min(size, int64(len(raw)))
}

// soloBits returns the bits that b takes without a base, as part of scale times as much.
func (e *encoderState) soloBits(b []byte, scale float64, dt dtype.Kind) float64 {
	if len(b) == 0 {
		return 0
	}
	best := float64(8 * len(b))
	layout, ok := field.LayoutOf(dt)
	if ok {
		if e.cols == nil {
			e.cols = field.NewModel()
		}
		e.cols.Reset(layout, b)
		e.cols.Sample(b, 0)
		best = e.cols.Choose(int(scale*float64(len(b)))/layout.Size) / float64(layout.Size) * float64(len(b))
	}
	if w, ok := palette.Width(dt); ok {
		if e.pal == nil {
			e.pal = new(palette.Coder)
		}
		if size, ok := e.pal.Bytes(b, w); ok {
			best = min(best, float64(8*size))
		}
	}
	shape, ok := shapeOf(dt)
	if ok {
		if e.solo == nil {
			e.solo = solo.NewModel()
		}
		e.solo.Reset(shape)
		e.solo.Sample(b)
		best = min(best, e.solo.Choose(int(scale*float64(len(b)))/shape.Width)/float64(shape.Width)*float64(len(b)))
		if shape.Top && best > tryZstd*float64(8*len(b)) {
			return best
		}
	}
	e.tmp = e.lit.Compress(e.tmp[:0], b)
	return min(best, float64(8*len(e.tmp)))
}

// deltaBits returns the bits that the windows take as differences, and those of the table.
func (e *encoderState) deltaBits(k ordint.Kind, ws []window) (bits, table float64) {
	if e.ord == nil {
		e.ord = ordint.NewModel()
	}
	zeros := 32
	if k == ordint.F32 {
		for _, w := range ws {
			zeros = ordint.CommonZeros(ordint.CommonZeros(zeros, w.raw), w.base)
		}
	}
	e.ord.Reset(k, zeros)
	e.p.hasPred = predictable(k, zeros) && e.findPredictor(len(ws), windowRuns, func(i int) (raw, base []byte) { return ws[i].raw, ws[i].base })
	for _, w := range ws {
		_, _, extra := e.countDelta(k, w.raw, w.base)
		bits += float64(extra)
	}
	codeBits, ok := e.ord.Build()
	if ok {
		e.ordTable = e.ord.AppendTable(e.ordTable[:0])
		table = float64(8 * len(e.ordTable))
	}
	return bits + float64(codeBits), table
}
