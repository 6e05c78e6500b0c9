// Package predict computes from a base what its elements should have become: all that
// moved them was arithmetic that is the same for each, as AdamW's weight decay in rows without gradient, or
// the decay of its moments there. What is coded then is the difference to the prediction, which is nothing for such rows.
//
// A Predictor maps 32-bit floats to 32-bit floats, element by element. It is found by a Fitter, stored in the
// blob's header, and applied by whoever decodes. The arithmetic is exact: the same on every platform, by the loops here or
// by those of predict_amd64.s.
package predict

import (
	"encoding/binary"
	"math"
)

var le = binary.LittleEndian

// Kind says how a Predictor computes. Permanent, as it is stored: layout.go.
type Kind uint8

// The kinds.
const (
	// Steps moves an element by a number of units in the last place that depends on its mantissa. Multiplying floats by constants
	// near 1, one after the other, with a rounding each time, does exactly that, whatever the constants: the number is a function of the
	// mantissa that goes up by steps.
	Steps Kind = 1
	// Scale multiplies by c, n times, rounding to float32 each time: Adam's second moment without gradient, with c = β₂.
	Scale Kind = 2
	// Lerp subtracts c times the element from it, n times, rounding to float32 once each time: Adam's first moment
	// without gradient as PyTorch computes it (lerp by a fused multiply-add), with c = 1 − β₁.
	Lerp Kind = 3
)

const (
	binLog   = 12 // Steps looks at that many high bits of the mantissa
	lowBits  = 23 - binLog
	lowMask  = 1<<lowBits - 1
	maxMove  = 1<<12 - 1 // units in the last place
	maxStep  = 1<<9 - 1  // units, of one step
	maxTimes = 256       // of Scale and Lerp: they take time for each

	minLerp = 1.0 / 64 // with a smaller c the difference is not exact in float64
)

// Predictor predicts elements. The zero Predictor is none; Parse or a Fitter make it one. It may then be used by
// several goroutines.
type Predictor struct {
	kind Kind
	up   uint32 // Steps: all ones if magnitudes grow, else 0

	c float32 // Scale, Lerp
	n int

	// bins are the steps by the high bits of the mantissa: an element moves by the units in bits 20 to 31, and if its low mantissa
	// bits are not below bits 0 to 10 by those in bits 11 to 19 more.
	bins  [1 << binLog]uint32
	steps []step // of which bins were made
}

// step says that from the mantissa at on elements move by size units more.
type step struct{ at, size uint32 }

// Apply sets dst to the prediction for base. Both have the same length; the bytes after the last whole element are copied.
func (p *Predictor) Apply(dst, base []byte) {
	base = base[:len(dst)]
	done := 4 * p.fast(dst, base)
	switch p.kind {
	case Steps:
		p.applySteps(dst[done:], base[done:])
	case Scale:
		p.applyScale(dst[done:], base[done:])
	case Lerp:
		p.applyLerp(dst[done:], base[done:])
	}
	whole := len(dst) &^ 3
	copy(dst[whole:], base[whole:])
}

func (p *Predictor) applySteps(dst, base []byte) {
	for i := 0; i+4 <= len(dst); i += 4 {
		b := le.Uint32(base[i : i+4])
		e := p.bins[b>>lowBits&(1<<binLog-1)]
		k := e >> 20
		if b&lowMask >= e&lowMask {
			k += e >> lowBits & maxStep
		}
		if b&0x7f800000 == 0 { // zeros stay, and units of denormals are not those of the others
			k = 0
		}
		le.PutUint32(dst[i:i+4], b+(k^^p.up-^p.up))
	}
}

func (p *Predictor) applyScale(dst, base []byte) {
	for i := 0; i+4 <= len(dst); i += 4 {
		b := le.Uint32(base[i : i+4])
		if b<<1 != 0 {
			f := math.Float32frombits(b)
			for range p.n {
				f = float32(f * p.c)
			}
			b = canonical(f)
		}
		le.PutUint32(dst[i:i+4], b)
	}
}

func (p *Predictor) applyLerp(dst, base []byte) {
	c := float64(p.c)
	for i := 0; i+4 <= len(dst); i += 4 {
		b := le.Uint32(base[i : i+4])
		if b<<1 != 0 {
			f := math.Float32frombits(b)
			for range p.n {
				// Exact in float64 for c from minLerp to 1: 24 + 24 + 6 bits less one. So it is rounded once, fused or not.
				f = float32(float64(f) - float64(float64(f)*c))
			}
			b = canonical(f)
		}
		le.PutUint32(dst[i:i+4], b)
	}
}

// canonical returns the bits of f, one NaN for all of them: which of its operands' payloads a NaN has differs
// between platforms.
func canonical(f float32) uint32 {
	if f != f {
		return 0x7fc00000
	}
	return math.Float32bits(f)
}
