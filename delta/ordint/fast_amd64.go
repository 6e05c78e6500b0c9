//go:build !purego

package ordint

import "golang.org/x/sys/cpu"

// vector says whether the loops of fast_amd64.s are used. Tests turn it off to run the portable ones.
var vector = cpu.X86.HasAVX2 && cpu.X86.HasBMI2

// group32AVX2 is lanes.group32. It does not check that a lane stays in buf: t must be parsed, and the lanes must begin where
// Decoder.groups lets a group begin, padLen and a word before the end.
//
//go:noescape
func group32AVX2(r *lanes, t *Table, dst, base *[4 * groupLen]byte, buf *[bufMask + 9]byte, tmp *scratch32)

// group16AVX2 is lanes.group16, for a table of total entries, on the same condition.
//
//go:noescape
func group16AVX2(r *lanes, t *Table, dst, base *[2 * groupLen]byte, buf *[bufMask + 9]byte, tmp *scratch32)

// fast16 decodes a group of 16-bit elements.
func (d *Decoder) fast16(t *Table, dst, base *[2 * groupLen]byte) {
	if t.total {
		group16AVX2(&d.run, t, dst, base, &d.buf, &d.vec)
		return
	}
	d.run.group16(t, dst, base, &d.buf)
}

// fast32 decodes a group of 32-bit elements.
func (d *Decoder) fast32(t *Table, dst, base *[4 * groupLen]byte) {
	if vector {
		group32AVX2(&d.run, t, dst, base, &d.buf, &d.vec)
		return
	}
	d.run.group32(t, dst, base, &d.buf)
}

//go:noescape
func symbols32AVX2(idx, val *[groupLen]uint32, raw, base *byte, magnitude uint32, zero uint)

// fastSymbols32 is plainSymbols32 for whole groups; it reports false if it did nothing.
func (m *Model) fastSymbols32(raw, base []byte, magnitude uint32) bool {
	if !vector || len(raw) < 4*groupLen || len(base) < 4*groupLen {
		return false
	}
	symbols32AVX2(&m.idx, &m.val, &raw[0], &base[0], magnitude, m.zero)
	return true
}
