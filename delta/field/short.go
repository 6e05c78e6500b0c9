package field

// The rests of elements without signs, as of Adam's second moment: bits 4 of a group's rests, with no sign between them, in 8 bytes for 16. Bit
// k of byte j is that of element j + 8 k.

const unsignedLen = 40 // bytes for 64 elements

const evens = 0x55 * ones

// signs reports whether an element of rests has a sign.
func signs(rests []byte) bool {
	var or uint64
	for at := 32; at < len(rests); at += restLen {
		or |= le.Uint64(rests[at:]) | le.Uint64(rests[at+8:])
	}
	return or&^evens != 0
}

func appendUnsigned(dst, rests []byte) []byte {
	for ; len(rests) > 0; rests = rests[restLen:] {
		dst = append(dst, rests[:32]...)
		dst = le.AppendUint64(dst, le.Uint64(rests[32:])|le.Uint64(rests[40:])<<1)
	}
	return dst
}

// unsigned takes rests without signs.
func (r *reader) unsigned(rests []byte) {
	in := r.take(len(rests) / restLen * unsignedLen)
	for ; len(in) > 0; in, rests = in[unsignedLen:], rests[restLen:] {
		copy(rests[:32], in)
		x := le.Uint64(in[32:])
		le.PutUint64(rests[32:], x&evens)
		le.PutUint64(rests[40:], x>>1&evens)
	}
}

// The low halves of F32 whose values are of fewer bits, all of them or those of some rows: cast up from F16 (13 zero bits) or BF16 (16). By groups
// of 64 elements, the last perhaps of fewer:
//
//	0  (G+3)/4  a class for each of the G groups: two bits, from the low ones of the first byte up; bits above are 0
//	…  …        the groups:
//	              class 0  nothing: all low halves are 0
//	              class 1  the high 3 bits of each, the others are 0: 24 bytes, if there are 64 elements. Byte j of the first 16 has bits 13–14
//	                       of elements j, j + 16, j + 32 and j + 48 from its low bits up, byte j of the others bit 15 of elements j, j + 8 … j + 56
//	              class 2  the high byte of each, the low ones are 0
//	              class 3  both bytes of each
const (
	classZero   = 0
	classThree  = 1
	classByte   = 2
	classBoth   = 3
	threeLen    = 24
	shortGain   = 32 // one part of so many of the low halves must be saved
	classesByte = 4  // a byte has so many
)

// classOf returns the class of a group of low halves, and what it takes.
func classOf(b []byte) (class uint8, size int) {
	var or uint64
	for len(b) >= 8 && or&0x00ff00ff00ff00ff == 0 { // most groups end here at once
		or |= le.Uint64(b)
		b = b[8:]
		size += 8
	}
	if or&0x00ff00ff00ff00ff != 0 {
		return classBoth, size + len(b)
	}
	size += len(b)
	for i, v := range b {
		or |= uint64(v) << (i & 1 * 8)
	}
	switch {
	case or == 0:
		return classZero, 0
	case or&0x00ff00ff00ff00ff != 0:
		return classBoth, size
	case or&0x1fff1fff1fff1fff == 0 && size == 2*group:
		return classThree, threeLen
	}
	return classByte, size / 2
}

// shortLen returns what the low halves take by classes.
func shortLen(low []byte) int {
	n := (len(low)/2 + group - 1) / group
	size := (n + classesByte - 1) / classesByte
	for len(low) > 0 {
		part := low[:min(2*group, len(low))]
		low = low[len(part):]
		_, k := classOf(part)
		size += k
	}
	return size
}

// appendShort appends the low halves by classes.
func appendShort(dst, low []byte) []byte {
	n := (len(low)/2 + group - 1) / group
	classes := len(dst)
	for range (n + classesByte - 1) / classesByte {
		dst = append(dst, 0)
	}
	for g := range n {
		part := low[g*2*group : min((g+1)*2*group, len(low))]
		class, _ := classOf(part)
		dst[classes+g/classesByte] |= class << (g % classesByte * 2)
		switch class {
		case classThree:
			dst = appendThree(dst, part)
		case classByte:
			for i := 1; i < len(part); i += 2 {
				dst = append(dst, part[i])
			}
		case classBoth:
			dst = append(dst, part...)
		}
	}
	return dst
}

func appendThree(dst, part []byte) []byte {
	var out [threeLen]byte
	for i := range group {
		v := part[2*i+1] >> 5
		out[i&15] |= v & 3 << (i >> 4 << 1)
		out[16+i&7] |= v >> 2 << (i >> 3)
	}
	return append(dst, out[:]...)
}

// short takes low halves by classes and fills low with them.
func (r *reader) short(low []byte) {
	n := (len(low)/2 + group - 1) / group
	classes := r.take((n + classesByte - 1) / classesByte)
	for g := 0; g < n && !r.fail; g++ {
		part := low[g*2*group : min((g+1)*2*group, len(low))]
		switch classes[g/classesByte] >> (g % classesByte * 2) & 3 {
		case classZero:
			clear(part)
		case classThree:
			if in := r.take(threeLen); in == nil || len(part) < 2*group {
				r.fail = true
			} else {
				three((*[2 * group]byte)(part), (*[threeLen]byte)(in))
			}
		case classByte:
			clear(part)
			for i, v := range r.take(len(part) / 2) {
				part[2*i+1] = v
			}
		case classBoth:
			copy(part, r.take(len(part)))
		}
	}
}

func three(part *[2 * group]byte, in *[threeLen]byte) {
	for i := range group {
		part[2*i] = 0
		part[2*i+1] = in[i&15]>>(i>>4<<1)&3<<5 | in[16+i&7]>>(i>>3)&1<<7
	}
}
