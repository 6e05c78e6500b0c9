package delta

import (
	"coral/delta/coralml"
)

// named returns the block codecs of a strategy, with a base and without one; codecOpen where there is none.
func (s Strategy) named() (with, without codecID) {
	switch s {
	case Float32Raw:
		return codecFloat32Raw, codecOpen
	case Compressed:
		return codecCompressed, codecOpen
	case XorFloat32:
		return codecXorFloat32, codecOpen
	case XorBFloat16:
		return codecXorBFloat16, codecOpen
	case ExponentMantissa:
		return codecFieldsBase, codecFields
	}
	return codecOpen, codecOpen
}

// coralCodec returns the coder of package coralml behind a codec that has one.
func coralCodec(c codecID) coralml.Codec {
	switch c {
	case codecFloat32Raw:
		return coralml.Float32Raw
	case codecCompressed:
		return coralml.Compressed
	case codecXorFloat32:
		return coralml.XorFloat32
	case codecXorBFloat16:
		return coralml.XorBFloat16
	case codecFieldsBase:
		return coralml.FieldsBase
	}
	return coralml.Fields
}

// planNamed gives the open blocks that the strategy can code, and does not make longer, to its codec, and returns how many are left. They are
// coded without base: what a strategy is measured by should not be the differences that it did not make. Each block is coded here
// and again when it is written, for whoever names a codec wants that one and not speed.
func (e *encoderState) planNamed(open int) int {
	p := &e.p
	switch e.strategy {
	case Raw:
		return p.fill(codecRaw)
	case Zstd:
		return p.fill(codecZstd)
	}
	with, without := e.strategy.named()
	if e.coral == nil {
		e.coral = new(coralml.Coder)
	}
	for i, c := range p.codec {
		if c != codecOpen {
			continue
		}
		id, base := with, p.blockBase(i)
		if base == nil {
			id = without
		}
		if id == codecOpen {
			continue
		}
		var ok bool
		if e.tmp, ok = e.coral.Encode(coralCodec(id), p.dtype, e.tmp[:0], p.blockRaw(i), base); ok && (len(e.tmp) < len(p.blockRaw(i)) || id == codecFloat32Raw) {
			p.codec[i] = id
			open--
		}
	}
	return open
}

// fill gives all open blocks to a codec that can code any, and returns how many are left: none.
func (p *plan) fill(id codecID) int {
	for i, c := range p.codec {
		if c == codecOpen {
			p.codec[i] = id
		}
	}
	return 0
}
