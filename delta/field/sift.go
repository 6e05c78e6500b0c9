package field

import "math/bits"

// Zero structs: whole groups of 64 of them first, as rows without a gradient have them, then single ones, as pruned weights.

const (
	leastGroups = 16 // one group of so many must be zero to leave groups out
	leastSingle = 6  // and one struct of so many
)

// sifter holds the masks of zero structs and what is left without them.
type sifter struct {
	groups [maxStructs / group / 8]byte
	single [maxStructs / 8]byte
	kept   [maxBlock]byte
}

// sift leaves zero structs of size bytes out of b, n structs, if there are enough of them. It returns what is left, how many structs
// that is, and the flags and masks, which are empty if nothing is left out.
func (s *sifter) sift(b []byte, size, n int) (left []byte, m int, flags uint8, groups, single []byte) {
	left, m = b[:n*size], n
	if g := s.zeroGroups(left, size); g*leastGroups >= (n+group-1)/group {
		flags |= flagGroups
		groups = s.groups[:((n+group-1)/group+7)/8]
		left = s.dropGroups(left, size)
		m = len(left) / size
	}
	if z := countZero(left, size); z > 0 && z*leastSingle >= m {
		flags |= flagSingle
		single = s.single[:(m+7)/8]
		left, m = s.dropSingle(left, size, single)
	}
	return left, m, flags, groups, single
}

// zeroGroups marks the groups of zeros in s.groups and returns how many there are.
func (s *sifter) zeroGroups(b []byte, size int) int {
	step := group * size
	g, zeros := 0, 0
	for ; len(b) > 0; g++ {
		part := b[:min(step, len(b))]
		b = b[len(part):]
		if g&7 == 0 {
			s.groups[g>>3] = 0
		}
		if isZero(part) {
			s.groups[g>>3] |= 1 << (g & 7)
			zeros++
		}
	}
	return zeros
}

func isZero(b []byte) bool {
	var or uint64
	for len(b) >= 32 {
		or |= le.Uint64(b) | le.Uint64(b[8:]) | le.Uint64(b[16:]) | le.Uint64(b[24:])
		if or != 0 {
			return false
		}
		b = b[32:]
	}
	for _, v := range b {
		or |= uint64(v)
	}
	return or == 0
}

func (s *sifter) dropGroups(b []byte, size int) []byte {
	step := group * size
	at := 0
	for g := 0; len(b) > 0; g++ {
		part := b[:min(step, len(b))]
		b = b[len(part):]
		if s.groups[g>>3]>>(g&7)&1 == 0 {
			at += copy(s.kept[at:], part)
		}
	}
	return s.kept[:at]
}

// countZero counts zero structs; where the first 1024 have few, it does not look further.
func countZero(b []byte, size int) int {
	zeros := 0
	for i, at := 0, 0; at < len(b); i, at = i+1, at+size {
		if i == 1024 && zeros < 1024/leastSingle/2 {
			return 0
		}
		if load(b[at:at+size]) == 0 {
			zeros++
		}
	}
	return zeros
}

// load returns a struct of 1, 2, 4 or 8 bytes as a number.
func load(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(le.Uint16(b))
	case 4:
		return uint64(le.Uint32(b))
	}
	return le.Uint64(b)
}

// dropSingle marks zero structs in mask and moves the others to the front of s.kept, which b may be.
func (s *sifter) dropSingle(b []byte, size int, mask []byte) (left []byte, m int) {
	clear(mask)
	at := 0
	for i := 0; i*size < len(b); i++ {
		e := b[i*size : (i+1)*size]
		if load(e) == 0 {
			mask[i>>3] |= 1 << (i & 7)
		} else {
			at += copy(s.kept[at:], e) // never behind what is read
		}
	}
	return s.kept[:at], at / size
}

// clearBits counts the 0 bits among the first n of mask, and reports whether the bits above are 0.
func clearBits(mask []byte, n int) (zeros int, ok bool) {
	zeros = n
	for _, v := range mask {
		zeros -= bits.OnesCount8(v)
	}
	return zeros, n&7 == 0 || len(mask) > 0 && mask[len(mask)-1]>>(n&7) == 0
}

// spreadSingle puts the structs of src where mask is 0 and zeros where it is 1, n structs. It works from the end, so that src may be
// the front of dst.
func spreadSingle(dst, src, mask []byte, size, n int) {
	from := len(src)
	for i := n - 1; i >= 0; i-- {
		e := dst[i*size : (i+1)*size]
		if mask[i>>3]>>(i&7)&1 == 1 {
			clear(e)
			continue
		}
		from -= size
		copy(e, src[from:from+size])
	}
}

// spreadGroups does the same with groups.
func spreadGroups(dst, src, mask []byte, size, n int) {
	from := len(src)
	for g := (n - 1) / group; g >= 0; g-- {
		e := dst[g*group*size : min((g+1)*group, n)*size]
		if mask[g>>3]>>(g&7)&1 == 1 {
			clear(e)
			continue
		}
		from -= len(e)
		copy(e, src[from:from+len(e)])
	}
}
