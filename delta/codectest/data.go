// Package codectest holds what the tests of all codecs share: blobs of every kind and shape of data,
// bases near and far from them, and the suite that each block codec must pass.
package codectest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"coral/delta/format/dtype"
)

var le = binary.LittleEndian

// Shapes are the names that Blob knows.
var Shapes = []string{"gauss", "zeros", "constant", "nan", "signedzero", "denormal", "skewed", "random", "upcast", "halfupcast", "halfzero", "positive", "quants", "palette", "text"}

// Relations are the names that Base knows.
var Relations = []string{"none", "same", "near", "sparse", "rows", "decay", "far", "shorter", "longer"}

// Blob returns n bytes of elements of kind dt; the last element may be cut. The same
// arguments give the same bytes.
func Blob(shape string, dt dtype.Kind, n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, 0, n+16)
	switch shape {
	case "zeros":
		return make([]byte, n)
	case "random":
		for len(b) < n {
			b = le.AppendUint64(b, r.Uint64())
		}
		return b[:n]
	case "text":
		words := []string{"layers.", "weight", "\"dtype\":", "[4096,", "1024]", "\n", "attention."}
		for len(b) < n {
			b = append(b, words[r.IntN(len(words))]...)
		}
		return b[:n]
	}
	for i := 0; len(b) < n; i++ {
		b = appendElement(b, dt, r, shape, i, n)
	}
	return b[:n]
}

func appendElement(b []byte, dt dtype.Kind, r *rand.Rand, shape string, i, n int) []byte {
	v := r.NormFloat64() * 0.02
	switch shape {
	case "constant":
		v = 1.5
	case "nan": // payloads, both signs, infinities, among ordinary values
		switch r.IntN(4) {
		case 0:
			return appendBits(b, dt, r.Uint64()|exponentMask(dt))
		case 1:
			return appendBits(b, dt, exponentMask(dt)|r.Uint64()&signMask(dt))
		}
	case "signedzero":
		if r.IntN(3) > 0 {
			return appendBits(b, dt, r.Uint64()&signMask(dt))
		}
	case "denormal":
		return appendBits(b, dt, r.Uint64()&^exponentMask(dt))
	case "skewed":
		if v = 1; r.IntN(200) == 0 {
			v = 1 + r.Float64()
		}
	case "upcast":
		v = float64(math.Float32frombits(math.Float32bits(float32(v)) &^ 0xffff))
	case "halfupcast": // from F16
		v = Value(Append(nil, dtype.F16, v), dtype.F16)
	case "positive":
		v *= v
	case "quants": // two bell curves of 4 bits
		return append(b, byte(8+min(max(3*r.NormFloat64(), -8), 7))|byte(8+min(max(3*r.NormFloat64(), -8), 7))<<4)
	case "palette": // dequantised from 8 bits
		v = math.Round(min(max(v*1500, -127), 127)) * 0.0007
	case "halfzero":
		if len(b) < n/2 || r.IntN(10) > 0 {
			v = 0
		}
	}
	return Append(b, dt, v)
}

func signMask(dt dtype.Kind) uint64 { return 1 << (8*partWidth(dt) - 1) }

func exponentMask(dt dtype.Kind) uint64 {
	switch dt {
	case dtype.F64, dtype.C128:
		return 0x7ff << 52
	case dtype.F32, dtype.C64:
		return 0xff << 23
	case dtype.F16:
		return 0x1f << 10
	case dtype.BF16:
		return 0xff << 7
	}
	return 0x78
}

// partWidth is the width of an element, or of each part of a complex one.
func partWidth(dt dtype.Kind) int {
	switch dt {
	case dtype.C64, dtype.C128:
		return dt.Width() / 2
	}
	return max(dt.Width(), 1)
}

func appendBits(b []byte, dt dtype.Kind, v uint64) []byte {
	var w [8]byte
	le.PutUint64(w[:], v)
	return append(b, w[:partWidth(dt)]...)
}

// Append appends v as an element of kind dt (a part, for complex kinds); kinds that are no
// floats get 1000 v.
func Append(b []byte, dt dtype.Kind, v float64) []byte {
	switch dt {
	case dtype.F64, dtype.C128:
		return appendBits(b, dt, math.Float64bits(v))
	case dtype.F32, dtype.C64:
		return appendBits(b, dt, uint64(math.Float32bits(float32(v))))
	case dtype.BF16:
		return appendBits(b, dt, uint64(math.Float32bits(float32(v))+0x8000)>>16)
	case dtype.F16:
		return appendBits(b, dt, uint64(half(float32(v))))
	}
	return appendBits(b, dt, uint64(int64(1000*v)))
}

// half converts to F16 by truncation; values out of range become the nearest in range.
func half(f float32) uint16 {
	u := math.Float32bits(f)
	sign, e, m := uint16(u>>16&0x8000), int(u>>23&0xff)-112, u&0x7fffff
	switch {
	case e >= 31:
		return sign | 0x7bff
	case e <= -10:
		return sign
	case e <= 0:
		return sign | uint16((m|0x800000)>>(14-e))
	}
	return sign | uint16(e)<<10 | uint16(m>>13)
}

// Value is the inverse of Append for floats.
func Value(b []byte, dt dtype.Kind) float64 {
	switch dt {
	case dtype.F64, dtype.C128:
		return math.Float64frombits(le.Uint64(b))
	case dtype.F32, dtype.C64:
		return float64(math.Float32frombits(le.Uint32(b)))
	case dtype.BF16:
		return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16))
	case dtype.F16:
		u := uint32(le.Uint16(b))
		e, m := int(u>>10&31), float64(u&0x3ff)
		v := math.Ldexp(1024+m, e-25)
		if e == 0 {
			v = math.Ldexp(m, -24)
		}
		if u&0x8000 != 0 {
			v = -v
		}
		return v
	}
	return float64(b[0])
}

// Base returns a base for raw: nil for "none".
func Base(relation string, raw []byte, dt dtype.Kind, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 77))
	same := append([]byte(nil), raw...)
	switch relation {
	case "none":
		return nil
	case "same":
		return same
	case "near", "shorter", "longer":
		b := perturb(same, dt, r, 1, 3e-4)
		switch {
		case relation == "shorter":
			return b[:len(b)*2/3]
		case relation == "longer":
			return append(b, 1, 2, 3, 4, 5, 6, 7)
		}
		return b
	case "sparse":
		return perturb(same, dt, r, 40, 3e-4)
	case "rows": // the first half is as it was
		perturb(same[len(same)/2/16*16:], dt, r, 1, 3e-4)
		return same
	case "decay":
		return grow(same, dt, r)
	}
	return Blob("gauss", dt, len(raw), seed+1)
}

// grow undoes AdamW's weight decay: each element of a base of which b has the rows without gradient is a little larger. One
// row of 17 had a gradient. Kinds other than F32 get noise.
func grow(b []byte, dt dtype.Kind, r *rand.Rand) []byte {
	if dt != dtype.F32 {
		return perturb(b, dt, r, 1, 3e-4)
	}
	const row = 4 * 384
	for i := 0; i+4 <= len(b); i += 4 {
		f := math.Float32frombits(le.Uint32(b[i:]))
		for range 15 {
			f = float32(f * (1 + 6e-7))
		}
		if f == f {
			le.PutUint32(b[i:], math.Float32bits(f))
		}
	}
	for at := 0; at < len(b); at += 17 * row {
		perturb(b[at:min(at+row, len(b))], dt, r, 1, 3e-4)
	}
	return b
}

// perturb adds noise to one of every so many elements.
func perturb(b []byte, dt dtype.Kind, r *rand.Rand, every int, sigma float64) []byte {
	w := partWidth(dt)
	for i := 0; i+w <= len(b); i += w {
		if r.IntN(every) == 0 {
			v := Value(b[i:], dt)
			if dt.Float() && !math.IsNaN(v) {
				copy(b[i:i+w], Append(nil, dt, v+sigma*r.NormFloat64()))
			} else {
				b[i] ^= byte(r.Uint32() & 1)
			}
		}
	}
	return b
}
