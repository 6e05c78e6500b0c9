package gguf

import (
	"fmt"
	"math"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/internal/errs"
)

// EncodeQ8_0 quantises src, whole blocks of QuantBlock values, into dst, QuantBytes for each. A block is
//
//	0  2   scale d, F16: the largest magnitude / 127
//	2  32  round(x · 1/d), halves away from zero
//
// Arithmetic and rounding are those of ggml's quantize_row_q8_0_ref (ggml-quants.c) in float32, where 1/d is that of d before it is rounded to F16. A NaN, an
// infinity and magnitudes whose scale F16 cannot hold are errs.Invalid: ggml makes garbage of them.
func EncodeQ8_0(dst []byte, src []float64) error {
	var scale [2]byte
	for ; len(src) >= QuantBlock; src, dst = src[QuantBlock:], dst[QuantBytes:] {
		most := float32(0)
		for _, x := range src[:QuantBlock] {
			v := float32(math.Abs(x))
			if !(v <= math.MaxFloat32) {
				return fmt.Errorf("value %v cannot be quantised: %w", x, errs.Invalid)
			}
			most = max(most, v)
		}
		d := float32(most / 127)
		if d > 65504 {
			return fmt.Errorf("value %v is too large for an F16 scale: %w", most, errs.Invalid)
		}
		inverse := float32(0)
		if d != 0 {
			inverse = float32(1 / d)
		}
		if inverse > math.MaxFloat32 {
			inverse = 0 // ggml computes with infinity here; the scale is 0 in F16, whatever the bytes are
		}
		values.Encode(scale[:], []float64{float64(d)}, dtype.F16)
		copy(dst, scale[:])
		for i, x := range src[:QuantBlock] {
			dst[2+i] = byte(int8(roundAway(float32(float32(x) * inverse))))
		}
	}
	return nil
}

// roundAway rounds to the nearest whole number, halves away from zero, as roundf(3).
func roundAway(x float32) float32 { return float32(math.Round(float64(x))) }
