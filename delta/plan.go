package delta

import (
	"bytes"

	"coral/delta/format/dtype"
	"coral/delta/same"
)

const (
	sampleBlocks = 4    // blocks whose planes are counted before all are
	sampleLen    = 8192 // bytes of each that are
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

	width   int     // bytes of an element of shape
	bits    float64 // what an element takes without base, estimated
	alone   codecID // of blocks without base: codecZstd, codecSplit or codecColumns
	hasOrd  bool    // the difference table is needed
	hasPred bool    // so is the predictor
}

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
	if open > 0 && e.strategy != Auto {
		if e.strategy < strategies {
			open, base = e.planNamed(open), nil
		} else {
			open = e.planApproximated(open)
		}
	}
	if open == 0 {
		return
	}
	e.planAlone(open)
	if k, ok := ordKind(dt); ok && len(base) > 0 {
		e.planDeltas(k)
	}
	for i, c := range p.codec {
		if c != codecOpen {
			continue
		}
		if p.codec[i] = p.alone; e.fewValues(i) {
			p.codec[i] = codecPalette
			continue
		}
		e.countAlone(i)
	}
	e.buildAlone()
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
