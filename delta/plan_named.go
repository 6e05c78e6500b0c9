package delta

import (
	"coral/delta/coralml"
	"coral/delta/lossy"
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

// approximated returns the block codecs of a strategy for approximated tensors, with a base and without one.
func (s Strategy) approximated() (with, without codecID) {
	switch s {
	case Quantised8:
		return codecQuant8Base, codecQuant8
	case Quantised16:
		return codecQuant16Base, codecQuant16
	}
	return codecAxis, codecOpen
}

// lossyCodec returns the coder of package lossy behind a codec that has one.
func lossyCodec(c codecID) lossy.Codec {
	switch c {
	case codecQuant8:
		return lossy.Quant8
	case codecQuant16:
		return lossy.Quant16
	case codecQuant8Base:
		return lossy.Quant8Base
	case codecQuant16Base:
		return lossy.Quant16Base
	}
	return lossy.Axis
}

// isApproximation reports whether blocks of the codec come from package lossy.
func (c codecID) isApproximation() bool {
	switch c {
	case codecQuant8, codecQuant16, codecQuant8Base, codecQuant16Base, codecAxis:
		return true
	}
	return false
}

// planApproximated gives the open blocks that are approximations to their codec, and returns how many are left.
func (e *encoderState) planApproximated(open int) int {
	p := &e.p
	with, without := e.strategy.approximated()
	if e.lossy == nil {
		e.lossy = new(lossy.Coder)
	}
	return p.planTried(open, with, without, func(id codecID, raw, base []byte) (ok bool) {
		e.tmp, ok = e.lossy.Encode(lossyCodec(id), p.dtype, e.tmp[:0], raw, base)
		return ok && len(e.tmp) < len(raw)
	})
}

// planTried gives each open block for which fits says so to the codec with, or to without where the base does not cover it, and returns how many are left.
// codecOpen is no codec.
func (p *plan) planTried(open int, with, without codecID, fits func(id codecID, raw, base []byte) bool) int {
	for i, c := range p.codec {
		if c != codecOpen {
			continue
		}
		id, base := with, p.blockBase(i)
		if base == nil {
			id = without
		}
		if id != codecOpen && fits(id, p.blockRaw(i), base) {
			p.codec[i] = id
			open--
		}
	}
	return open
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
	return p.planTried(open, with, without, func(id codecID, raw, base []byte) (ok bool) {
		e.tmp, ok = e.coral.Encode(coralCodec(id), p.dtype, e.tmp[:0], raw, base)
		return ok && (len(e.tmp) < len(raw) || id == codecFloat32Raw)
	})
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
