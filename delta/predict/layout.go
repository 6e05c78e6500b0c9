package predict

import (
	"encoding/binary"
	"errors"
	"math"
)

// The stored form of a predictor:
//
//	0  1  kind
//
// Steps:
//
//	1  1  1 if magnitudes grow, 0 if they become smaller
//	2  …  uvarint: the units by which an element with mantissa 0 moves, at most 4095
//	…  …  until the end, for each step: uvarint g: its mantissa is g/2 more than that of the step before (for the first:
//	      than 0); if g is odd, uvarint s: it is of s units, 2 to 511; else of 1 unit
//
// Of the 4096 ranges of 2048 mantissas, none has two steps. The sum of all units is at most 4095.
//
// Scale and Lerp:
//
//	1  2  n, 1 to 256
//	3  4  c, a float32: for Scale finite and positive, for Lerp 1/64 to 1
const (
	replayLen = 7
	growFlag  = 1
)

var errLayout = errors.New("predictor is malformed")

// Append appends the stored form.
func (p *Predictor) Append(dst []byte) []byte {
	dst = append(dst, byte(p.kind))
	if p.kind != Steps {
		dst = le.AppendUint16(dst, uint16(p.n))
		return le.AppendUint32(dst, math.Float32bits(p.c))
	}
	dst = append(dst, byte(p.up&growFlag))
	dst = binary.AppendUvarint(dst, uint64(p.bins[0]>>20))
	at := uint32(0)
	for _, s := range p.steps {
		g := uint64(s.at-at) << 1
		at = s.at
		if s.size == 1 {
			dst = binary.AppendUvarint(dst, g)
			continue
		}
		dst = binary.AppendUvarint(dst, g|1)
		dst = binary.AppendUvarint(dst, uint64(s.size))
	}
	return dst
}

// Parse makes p the predictor of b.
func (p *Predictor) Parse(b []byte) error {
	if len(b) == 0 {
		return errLayout
	}
	p.kind = 0
	switch kind := Kind(b[0]); kind {
	case Steps:
		return p.parseSteps(b[1:])
	case Scale, Lerp:
		if len(b) != replayLen {
			return errLayout
		}
		p.set(kind, math.Float32frombits(le.Uint32(b[3:])), int(le.Uint16(b[1:])))
		least, most := float32(math.SmallestNonzeroFloat32), float32(math.MaxFloat32)
		if kind == Lerp {
			least, most = minLerp, 1
		}
		if p.n < 1 || p.n > maxTimes || !(p.c >= least && p.c <= most) {
			return errLayout
		}
		return nil
	}
	return errLayout
}

func (p *Predictor) parseSteps(b []byte) error {
	if len(b) == 0 || b[0] > growFlag {
		return errLayout
	}
	up := -uint32(b[0])
	b = b[1:]
	first, ok := uvarint(&b, maxMove)
	if !ok {
		return errLayout
	}
	p.steps = p.steps[:0]
	at, units := uint64(0), first
	for len(b) > 0 {
		g, ok := uvarint(&b, 1<<24-1)
		s := uint64(1)
		if ok && g&1 != 0 {
			s, ok = uvarint(&b, maxStep)
			ok = ok && s >= 2
		}
		to := at + g>>1
		units += s
		if !ok || to >= 1<<23 || units > maxMove || len(p.steps) > 0 && to>>lowBits == at>>lowBits {
			return errLayout
		}
		at = to
		p.steps = append(p.steps, step{uint32(to), uint32(s)})
	}
	p.setSteps(up, uint32(first))
	return nil
}

// uvarint reads a number of at most limit from the front of b, in the shortest form.
func uvarint(b *[]byte, limit uint64) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 || v > limit || n > 1 && (*b)[n-1] == 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

func (p *Predictor) set(kind Kind, c float32, n int) { p.kind, p.c, p.n = kind, c, n }

// setSteps makes bins of p.steps, which are in order and at most one in a bin; first is what mantissa 0 moves by.
func (p *Predictor) setSteps(up, first uint32) {
	p.kind, p.up = Steps, up
	units, next := first, 0
	for i := range p.bins {
		p.bins[i] = units << 20
		if next < len(p.steps) && p.steps[next].at>>lowBits == uint32(i) {
			s := p.steps[next]
			p.bins[i] |= s.size<<lowBits | s.at&lowMask
			units += s.size
			next++
		}
	}
}
