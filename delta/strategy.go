package delta

import (
	"fmt"
	"strings"

	"coral/internal/errs"
)

// Strategy says by which codecs an Encoder codes blocks that are not constant and not as in the base. Decoders need not
// know: every block says how it is coded.
type Strategy uint8

// The strategies. All are lossless: where one cannot give back every bit of a block, or does not know its element kind, the
// block is coded as by Auto without base.
const (
	Auto             Strategy = iota // by what is smallest
	Float32Raw                       // new − base in float32, stored as it is
	Compressed                       // the same, by zstd
	XorFloat32                       // XOR with the base; exponents apart from signs and mantissas
	XorBFloat16                      // the same, the upper half of 4-byte elements apart from the lower
	ExponentMantissa                 // the fields of the float apart, with or without base
	Raw                              // as it is, to measure what all the rest takes
	Zstd                             // by zstd, whatever it is

	strategies // that have names
)

// The strategies for tensors that package lossy has approximated. They are lossless too: blocks that are no such approximation
// are coded as by Auto.
const (
	Quantised8 Strategy = strategies + iota
	Quantised16
	AxisScaled
)

var strategyNames = [strategies]string{"auto", "float32_raw", "compressed", "xor_float32", "xor_bfloat16", "exponent_mantissa", "raw", "zstd"}

// String returns the name that ParseStrategy takes.
func (s Strategy) String() string {
	if s < strategies {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// StrategyNames lists the names that ParseStrategy takes.
func StrategyNames() []string { return strategyNames[:] }

// lossyNames are strategies of coral-ml that change bytes.
const lossyNames = " int8_quantized int16_quantized sparse per_axis_scaled "

// ParseStrategy returns the strategy of a name; "" is Auto. An unknown name is errs.Invalid and lists those there are.
func ParseStrategy(name string) (Strategy, error) {
	if name == "" {
		return Auto, nil
	}
	for s, n := range strategyNames {
		if n == name {
			return Strategy(s), nil
		}
	}
	if strings.Contains(lossyNames, " "+name+" ") {
		return Auto, fmt.Errorf("codec %q changes values: use coral compact --lossy: %w", name, errs.Invalid)
	}
	return Auto, fmt.Errorf("no codec %q: one of %s: %w", name, strings.Join(StrategyNames(), ", "), errs.Invalid)
}

// Option configures an Encoder.
type Option func(*Encoder)

// WithStrategy makes the Encoder code by s.
func WithStrategy(s Strategy) Option { return func(e *Encoder) { e.SetStrategy(s) } }

// SetStrategy changes how the following blobs are coded. Estimate goes on to estimate Auto.
func (e *Encoder) SetStrategy(s Strategy) { e.strategy = s }
