package derive

import (
	"math"

	"coral/delta/format/dtype"
)

// chunk is how many elements are converted at a time, on the stack.
const chunk = 512

// cast fills dst, elements of to, with the elements of src, of from. NaNs are converted by their bits, so that all platforms agree.
func cast(dst, src []byte, to, from dtype.Kind, mode Mode) {
	switch {
	case mode == ViaBF16:
		castVia(dst, src, to, from, dtype.BF16)
		return
	case mode == ViaF16:
		castVia(dst, src, to, from, dtype.F16)
		return
	case from == dtype.F32 && to == dtype.BF16 && mode == Truncate:
		for i := 0; i+4 <= len(src); i += 4 {
			le.PutUint16(dst[i/2:], le.Uint16(src[i+2:]))
		}
		return
	case from == dtype.F32 && to == dtype.BF16:
		castBF16(dst, src)
		return
	case from == dtype.BF16 && to == dtype.F32:
		for i := 0; i+2 <= len(src); i += 2 {
			le.PutUint32(dst[2*i:], uint32(le.Uint16(src[i:]))<<16)
		}
		return
	case from == dtype.F64:
		narrow(dst, src, to)
		return
	case to == dtype.F64:
		widen(dst, src, from)
		return
	}
	var v [chunk]float32
	fw, tw := from.Width(), to.Width()
	for len(src) >= fw {
		n := min(chunk, len(src)/fw)
		load(v[:n], src, from)
		store(dst, v[:n], to)
		src, dst = src[n*fw:], dst[n*tw:]
	}
}

// castVia casts twice.
func castVia(dst, src []byte, to, from, via dtype.Kind) {
	var half [2 * chunk]byte
	fw, tw := from.Width(), to.Width()
	for len(src) >= fw {
		n := min(chunk, len(src)/fw)
		cast(half[:2*n], src[:n*fw], via, from, Nearest)
		cast(dst[:n*tw], half[:2*n], to, via, Nearest)
		src, dst = src[n*fw:], dst[n*tw:]
	}
}

// castBF16 rounds F32 to BF16, four elements at a time: BenchmarkEval/F32-BF16.
func castBF16(dst, src []byte) {
	for len(src) >= 16 && len(dst) >= 8 {
		a, b := le.Uint64(src), le.Uint64(src[8:])
		le.PutUint64(dst, roundPair(a)|roundPair(b)<<32)
		src, dst = src[16:], dst[8:]
	}
	for len(src) >= 4 {
		le.PutUint16(dst, toBF16(le.Uint32(src)))
		src, dst = src[4:], dst[2:]
	}
}

// roundPair rounds two binary32 to BF16. Half of the unit less the bit that decides ties is added to both at once: a carry out of the lower one would be of a NaN.
func roundPair(u uint64) uint64 {
	const low, sign = 0x0000ffff_0000ffff, 0x80000000_80000000
	abs := u &^ sign
	if (abs+0x007fffff_007fffff)&sign != 0 { // an exponent of ones, in one of them
		return uint64(toBF16(uint32(u))) | uint64(toBF16(uint32(u>>32)))<<16
	}
	r := (abs + 0x00007fff_00007fff + u>>16&0x00000001_00000001 | u&sign) >> 16 & low
	return (r | r>>16) & 0xffffffff
}

// toBF16 rounds the bits of a binary32 to the nearest BF16, ties to even. A NaN becomes the quiet one, 7fc0, as PyTorch has it.
func toBF16(u uint32) uint16 {
	if u&0x7fffffff > 0x7f800000 {
		return 0x7fc0
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// toF16 rounds the bits of a binary32 to the nearest binary16, ties to even; too large ones become infinite, a NaN the quiet one of its sign.
func toF16(u uint32) uint16 {
	sign := uint16(u >> 16 & 0x8000)
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000:
		return sign | 0x7e00
	case u >= 0x477ff000: // 65520 and more
		return sign | 0x7c00
	case u >= 0x38800000: // normal: 2^-14 and more
		return sign | uint16((u-0x38000000+0xfff+u>>13&1)>>13)
	}
	shift := 126 - u>>23 // of the mantissa, to units of 2^-24
	if shift > 24 {
		return sign
	}
	m := u&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	return sign | uint16((m+half-1+m>>shift&1)>>shift)
}

// fromF16 returns the bits of the binary32 that equals a binary16. NaNs keep their payload.
func fromF16(h uint16) uint32 {
	sign, e, m := uint32(h&0x8000)<<16, uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case e == 31:
		return sign | 0x7f800000 | m<<13
	case e != 0:
		return sign | (e+112)<<23 | m<<13
	}
	return sign | math.Float32bits(float32(m)*0x1p-24) // exact
}

// load fills v with the first elements of src, of dt, which is exact in binary32.
func load(v []float32, src []byte, dt dtype.Kind) {
	switch dt {
	case dtype.F32:
		for i := range v {
			v[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case dtype.BF16:
		for i := range v {
			v[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
	case dtype.F16:
		for i := range v {
			v[i] = math.Float32frombits(fromF16(le.Uint16(src[2*i:])))
		}
	}
}

// store puts v into dst as elements of dt.
func store(dst []byte, v []float32, dt dtype.Kind) {
	switch dt {
	case dtype.F32:
		for i, x := range v {
			le.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case dtype.BF16:
		for i, x := range v {
			le.PutUint16(dst[2*i:], toBF16(math.Float32bits(x)))
		}
	case dtype.F16:
		for i, x := range v {
			u := math.Float32bits(x)
			if a := u & 0x7fffffff; a-0x38800000 < 0x477ff000-0x38800000 { // as toF16 has it, without a call
				le.PutUint16(dst[2*i:], uint16(u>>16&0x8000|(a-0x38000000+0xfff+a>>13&1)>>13))
				continue
			}
			le.PutUint16(dst[2*i:], toF16(u))
		}
	}
}

// round returns x rounded to dt.
func round(x float32, dt dtype.Kind) float32 {
	switch dt {
	case dtype.BF16:
		return math.Float32frombits(uint32(toBF16(math.Float32bits(x))) << 16)
	case dtype.F16:
		return math.Float32frombits(fromF16(toF16(math.Float32bits(x))))
	}
	return x
}

// narrow converts F64 by way of binary32. A NaN keeps its sign, the highest bits of its payload, and becomes quiet.
func narrow(dst, src []byte, to dtype.Kind) {
	w := to.Width()
	for ; len(src) >= 8; src, dst = src[8:], dst[w:] {
		bits := le.Uint64(src)
		var u uint32
		if bits&^(1<<63) > 0x7ff<<52 {
			u = uint32(bits>>32)&0x80000000 | 0x7fc00000 | uint32(bits>>29)&0x3fffff
		} else {
			u = math.Float32bits(float32(math.Float64frombits(bits)))
		}
		switch to {
		case dtype.F32:
			le.PutUint32(dst, u)
		case dtype.BF16:
			le.PutUint16(dst, toBF16(u))
		case dtype.F16:
			le.PutUint16(dst, toF16(u))
		}
	}
}

// widen converts to F64. NaNs keep sign and payload.
func widen(dst, src []byte, from dtype.Kind) {
	w := from.Width()
	for ; len(src) >= w; src, dst = src[w:], dst[8:] {
		var u uint32
		switch from {
		case dtype.F32:
			u = le.Uint32(src)
		case dtype.BF16:
			u = uint32(le.Uint16(src)) << 16
		case dtype.F16:
			u = fromF16(le.Uint16(src))
		}
		if u&0x7fffffff > 0x7f800000 {
			le.PutUint64(dst, uint64(u&0x80000000)<<32|0x7ff<<52|uint64(u&0x7fffff)<<29)
			continue
		}
		le.PutUint64(dst, math.Float64bits(float64(math.Float32frombits(u))))
	}
}

// Convert fills dst, elements of to, with the elements of src, of from, rounded to nearest, as Cast does; to and from may be the same.
func Convert(dst, src []byte, to, from dtype.Kind) {
	if to == from {
		copy(dst, src)
		return
	}
	cast(dst, src, to, from, Nearest)
}
