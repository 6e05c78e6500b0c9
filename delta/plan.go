package delta

import (
	"bytes"

	"coral/delta/format/dtype"
	"coral/delta/ordint"
	"coral/delta/same"
	"coral/delta/solo"
)

const (
	sampleBlocks = 4    // blocks whose planes are counted before all are
	sampleLen    = 8192 // bytes of each that are
	keepDelta    = 0.97 // a difference must be this much smaller than coding alone
	keepZstd     = 0.97 // and zstd than planes
	tryZstd      = 0.70 // of raw: float planes above this have nothing that zstd finds
)

// plan is which codec each block of a blob is to be coded with, and the statistics that the
// codecs share over the blob.
type plan struct {
	raw, base []byte
	dtype     dtype.Kind
	log       uint
	codec     []codecID // codecOpen until decided
	order     []deltaCost

	width  int     // bytes of an element of shape
	bits   float64 // what an element takes without base, estimated
	split  bool    // blocks without base are split; else zstd
	hasOrd bool    // the difference table is needed
}

// deltaCost is what is known of a block after its differences were counted.
type deltaCost struct{ block, coded, extra int }

const codecOpen codecID = 255

func (p *plan) blockRaw(i int) []byte {
	return p.raw[i<<p.log : min((i+1)<<p.log, len(p.raw))]
}

// blockBase returns the base of block i, nil where it does not cover the block.
func (p *plan) blockBase(i int) []byte {
	from, to := i<<p.log, min((i+1)<<p.log, len(p.raw))
	if to > len(p.base) {
		return nil
	}
	return p.base[from:to]
}

// plan decides for all blocks. What it decides costs time or ratio when wrong, never bytes.
func (e *encoderState) plan(raw, base []byte, dt dtype.Kind) {
	p := &e.p
	log := blockLog(dt)
	n := (len(raw) + 1<<log - 1) >> log
	*p = plan{raw: raw, base: base, dtype: dt, log: log, codec: append(p.codec[:0], make([]codecID, n)...), order: p.order[:0]}
	open := 0
	for i := range n {
		if p.codec[i] = p.trivial(i); p.codec[i] == codecOpen {
			open++
		}
	}
	if open == 0 {
		return
	}
	shape, ok := shapeOf(dt)
	if ok {
		p.split, p.width = true, shape.Width
		e.sample(shape, open)
		if k, ok := ordKind(dt); ok && len(base) > 0 {
			e.planDeltas(k)
		}
	}
	for i, c := range p.codec {
		if c != codecOpen {
			continue
		}
		p.codec[i] = codecZstd
		if p.split {
			p.codec[i] = codecSplit
			e.solo.Count(p.blockRaw(i))
		}
	}
	if p.split {
		e.solo.Build()
	}
}

// trivial returns the codec of a block that takes no more than an element, or codecOpen.
func (p *plan) trivial(i int) codecID {
	b := p.blockRaw(i)
	if w, ok := same.Pattern(b); ok {
		if same.Zero(w) {
			return codecZero
		}
		return codecConst
	}
	if base := p.blockBase(i); base != nil && bytes.Equal(b, base) {
		return codecSame
	}
	return codecOpen
}

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

// planDeltas decides which open blocks are coded as differences to the base.
func (e *encoderState) planDeltas(k ordint.Kind) {
	p := &e.p
	if e.ord == nil {
		e.ord = ordint.NewModel()
	}
	ow := k.Width()
	soloBits := p.bits / float64(p.width) * float64(ow) // a complex number is two elements here
	e.ord.Reset(k, e.p.commonZeros(k))
	for i, c := range p.codec {
		base := p.blockBase(i)
		if c != codecOpen || base == nil {
			continue
		}
		// A difference of b bits takes about b + 2: its sign and place among its neighbours.
		if float64(e.ord.Gate(p.blockRaw(i), base))/256+1 < soloBits {
			p.order = append(p.order, deltaCost{block: i})
		}
	}
	if len(p.order) == 0 {
		return
	}
	total := 0
	for j := range p.order {
		c := &p.order[j]
		c.coded, c.extra = e.ord.Count(p.blockRaw(c.block), p.blockBase(c.block))
		total += c.coded
	}
	codeBits, ok := e.ord.Build()
	if !ok {
		return
	}
	e.ordTable = e.ord.AppendTable(e.ordTable[:0])
	mean := float64(codeBits) / float64(total)
	saved := 0.0
	for _, c := range p.order {
		n := float64(len(p.blockRaw(c.block)) / ow)
		bits := float64(c.extra) + float64(c.coded)*mean + n/64
		if s := soloBits * n; bits < keepDelta*s {
			p.codec[c.block] = codecOrdint
			saved += s - bits
		}
	}
	p.hasOrd = saved > float64(8*len(e.ordTable))
	if !p.hasOrd {
		for _, c := range p.order {
			p.codec[c.block] = codecOpen
		}
	}
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
