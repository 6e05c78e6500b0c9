package delta

import (
	"bytes"
	"slices"

	"coral/delta/ordint"
	"coral/delta/same"
)

// deltaCost is what is known of a block after its differences were counted.
type deltaCost struct {
	block, coded, extra int
	codec               codecID
	solo                float64 // bits of an element without base
}

const keepDelta = 0.97 // a difference must be this much smaller than coding alone

// planDeltas decides which open blocks are coded as differences to the base.
func (e *encoderState) planDeltas(k ordint.Kind) {
	p := &e.p
	if e.ord == nil {
		e.ord = ordint.NewModel()
	}
	ow := k.Width()
	alone := e.soloCost(ow)
	zeros := p.commonZeros(k)
	e.ord.Reset(k, zeros)
	for i, c := range p.codec {
		base := p.blockBase(i)
		if c != codecOpen || base == nil {
			continue
		}
		raw := p.blockRaw(i)
		if solo := alone.block(raw); float64(e.ord.Gate(raw, base))/gateBit < solo {
			p.order = append(p.order, deltaCost{block: i, solo: solo})
		}
	}
	if len(p.order) == 0 {
		return
	}
	p.hasPred = predictable(k, zeros) && e.findPredictor(len(p.order), fitRuns, func(i int) (raw, base []byte) {
		return p.blockRaw(p.order[i].block), p.blockBase(p.order[i].block)
	})
	total := 0
	for j := range p.order {
		c := &p.order[j]
		c.codec, c.coded, c.extra = e.countDelta(k, p.blockRaw(c.block), p.blockBase(c.block))
		total += c.coded
	}
	e.ordTable = e.ordTable[:0]
	mean := 0.0
	if codeBits, ok := e.ord.Build(); ok {
		e.ordTable = e.ord.AppendTable(e.ordTable)
		mean = float64(codeBits) / float64(total)
	}
	saved := 0.0
	for _, c := range p.order {
		n := float64(len(p.blockRaw(c.block)) / ow)
		bits := float64(c.extra) + float64(c.coded)*mean
		if s := c.solo * n; c.codec == codecPredicted || bits < keepDelta*s {
			p.codec[c.block] = c.codec
			saved += s - bits
		}
	}
	if saved <= float64(8*len(e.ordTable)) {
		for _, c := range p.order {
			p.codec[c.block] = codecOpen
		}
	}
	p.hasOrd = slices.ContainsFunc(p.codec, codecID.differs)
	p.hasPred = slices.ContainsFunc(p.codec, codecID.predicts)
}

// countDelta chooses whether a block is coded as the difference to its base or to the prediction, or by the few elements that changed, and counts
// its differences: coded of them, and the bits that they take besides their codes.
func (e *encoderState) countDelta(k ordint.Kind, raw, base []byte) (codec codecID, coded, extra int) {
	n := len(raw) / k.Width()
	if e.p.hasPred {
		pred := e.predicted(base)
		if bytes.Equal(raw, pred) {
			return codecPredicted, 0, 0
		}
		if e.closer(raw, base, pred) {
			coded, extra = e.ord.Count(raw, pred)
			return codecPredOrdint, coded, extra + n/ordint.Group
		}
	}
	if places, ok := e.sparser(k, raw, base); ok {
		coded, extra = e.ord.Count(places.raw, places.base)
		return codecSparse, coded, extra + places.bits
	}
	codec, _ = diffCodec(k)
	coded, extra = e.ord.Count(raw, base)
	return codec, coded, extra + n/ordint.Group
}

// soloCost is what elements of w bytes take without base, for a block at a time: blocks of rows that are nearly all zero are next to
// others, as in the moments of embeddings.
type soloCost struct {
	width int
	each  float64 // bits of an element that is not zero
}

// soloCost makes one of what the sample says.
func (e *encoderState) soloCost(w int) soloCost {
	p := &e.p
	c := soloCost{width: w, each: soloGuess * float64(8*w)}
	mean := p.bits / float64(p.width) * float64(w) // a complex number is two elements here
	if d := density(e.piece, w); d > minDensity {
		c.each = min(mean/d, float64(8*w))
	}
	return c
}

const (
	minDensity = 1.0 / 16 // of elements that are not zero, below which a sample says little of those
	soloGuess  = 0.85     // and this share of their bits is what they take
	leastSolo  = 0.25     // bits of any element
)

// block returns the bits of an element of the block.
func (c *soloCost) block(b []byte) float64 {
	return max(leastSolo, c.each*density(b, c.width))
}

// density returns the share of elements of w bytes that are not zero, from up to 512 of them.
func density(b []byte, w int) float64 {
	n := len(b) / w
	step := max(1, n/512)
	some, seen := 0, 0
	for at := 0; at+step <= n; at += step {
		i := (at + seen*29%step) * w // not in step with rows
		if seen++; !same.Zero(b[i : i+w]) {
			some++
		}
	}
	return float64(some) / float64(max(seen, 1))
}

// commonZeros returns how many low bits of all elements of the open blocks and their bases are 0.
func (p *plan) commonZeros(k ordint.Kind) int {
	zeros := 32
	for i, c := range p.codec {
		if k != ordint.F32 || zeros == 0 {
			return 0
		}
		if base := p.blockBase(i); c == codecOpen && base != nil {
			zeros = ordint.CommonZeros(ordint.CommonZeros(zeros, p.blockRaw(i)), base)
		}
	}
	return zeros
}
