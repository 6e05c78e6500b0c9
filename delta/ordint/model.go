package ordint

import (
	"bytes"
	"math/bits"

	"coral/delta/huff"
)

// Model collects the statistics of a blob's blocks, then encodes them with shared codes. It holds
// scratch memory of about 600 KiB and is used by one goroutine at a time.
type Model struct {
	kind  Kind
	zero  uint
	count [256][256]uint32 // by the 8 bits below the base's sign, then symbol
	dirty bool             // count is not all zero
	ctxs  []cluster
	ctxOf [256]uint8 // by the 8 bits below the base's sign
	codes [maxContexts]huff.Code
	pack  [maxContexts][256]uint64 // for each symbol: code | length<<16 | all bits<<24 | low<<32
	build huff.Builder
	logs  [4096]uint32
	lane  [laneCount]laneWriter
	idx   [groupLen]uint32 // of a group: symbols32
	val   [groupLen]uint32
}

// NewModel returns a Model.
func NewModel() *Model {
	m := &Model{}
	for n := 2; n < len(m.logs); n++ {
		m.logs[n] = log2(uint32(n))
	}
	return m
}

// Reset forgets the statistics. zero is how many low bits of all elements and bases to come are 0
// (see CommonZeros); other kinds than F32 take no notice of it.
func (m *Model) Reset(k Kind, zero int) {
	m.kind, m.zero = k, 0
	if k == F32 {
		m.zero = uint(min(zero, maxZero))
	}
	if m.dirty {
		clear(m.count[:])
		m.dirty = false
	}
}

// CommonZeros returns how many of the low bits of all 32-bit elements of b, and of those that
// have gave before, are 0. It starts from 32 and stops early at 0.
func CommonZeros(have int, b []byte) int {
	var or uint64
	for i := 0; i+8 <= len(b) && have > 0; i += 8 {
		if or |= le.Uint64(b[i : i+8]); i&0x3f8 == 0x3f8 || i+16 > len(b) {
			have = min(have, bits.TrailingZeros32(uint32(or)|uint32(or>>32)))
		}
	}
	if len(b)&4 != 0 && have > 0 {
		have = min(have, bits.TrailingZeros32(le.Uint32(b[len(b)&^7:])))
	}
	return have
}

// Gate looks at up to 256 elements all over the block, after Reset, for a quick sign of whether the base is of
// use: the mean number of bits of their differences, a sign included where there is one. It is in 1/256 of a bit.
func (m *Model) Gate(raw, base []byte) int {
	w := m.kind.Width()
	n := len(raw) / w
	step := max(1, n/256)
	magnitude := uint32(0x7fffffff) &^ (1<<m.zero - 1)
	sum, seen := 0, 0
	for from := 0; from+step <= n; from += step {
		i := from + seen*29%step // not in step with rows
		if m.kind.wide() {
			sum += m.kind.size(raw[i*w:i*w+w], base[i*w:i*w+w])
			seen++
			continue
		}
		var d int32
		if w == 2 {
			d = diff16(le.Uint16(raw[2*i:]), le.Uint16(base[2*i:]))
		} else {
			d = diff32(le.Uint32(raw[4*i:]), le.Uint32(base[4*i:]), magnitude, m.zero)
		}
		sum += bits.Len32(uint32(max(d, -(d+1)))) + int(uint32(d|-d)>>31)
		seen++
	}
	return sum * 256 / max(seen, 1)
}

// Count adds a block's statistics. It returns the number of elements that would be coded (those of
// unchanged groups are not) and the sum of their extra bits.
func (m *Model) Count(raw, base []byte) (coded, extra int) {
	w := m.kind.Width()
	n := len(raw) / w
	m.dirty = true
	for g := range groups(n) {
		from, to := g*groupLen*w, min((g+1)*groupLen, n)*w
		r, b := raw[from:to], base[from:to]
		if bytes.Equal(r, b) {
			continue
		}
		coded += (to - from) / w
		switch {
		case m.kind.wide():
			extra += m.countWide(r, b)
		case w == 2:
			extra += m.count16(r, b)
		default:
			extra += m.count32(r, b)
		}
	}
	return coded, extra
}

func (m *Model) count16(raw, base []byte) (extra int) {
	base = base[:len(raw)]
	i := 0
	for ; i+8 <= len(raw); i += 8 {
		b := le.Uint64(base[i : i+8])
		d := diff16x4(le.Uint64(raw[i:i+8]), b)
		s0, s1, s2, s3 := symbols16[uint16(d)], symbols16[uint16(d>>16)], symbols16[uint16(d>>32)], symbols16[d>>48]
		m.count[uint8(b>>7)][s0]++
		m.count[uint8(b>>23)][s1]++
		m.count[uint8(b>>39)][s2]++
		m.count[uint8(b>>55)][s3]++
		extra += int(extraBits[s0]) + int(extraBits[s1]) + int(extraBits[s2]) + int(extraBits[s3])
	}
	for ; i+2 <= len(raw); i += 2 {
		b := le.Uint16(base[i:])
		s := symbols16[uint16(diff16(le.Uint16(raw[i:]), b))]
		m.count[uint8(b>>7)][s]++
		extra += int(extraBits[s])
	}
	return extra
}

func (m *Model) count32(raw, base []byte) (extra int) {
	m.symbols32(raw, base)
	for _, i := range m.idx[:len(raw)/4] {
		m.count[uint8(i>>8)][uint8(i)]++
		extra += int(extraBits[uint8(i)])
	}
	return extra
}

// symbols32 sets idx and val for up to a group of 32-bit elements: the 8 bits below the base's sign above the symbol, and the value of
// the extra bits.
func (m *Model) symbols32(raw, base []byte) {
	magnitude := uint32(0x7fffffff) &^ (1<<m.zero - 1)
	if !m.fastSymbols32(raw, base, magnitude) {
		m.plainSymbols32(raw, base, magnitude)
	}
}

func (m *Model) plainSymbols32(raw, base []byte, magnitude uint32) {
	base = base[:len(raw)]
	for i := 0; i+4 <= len(raw); i += 4 {
		b := le.Uint32(base[i : i+4])
		s, _, v := classify(diff32(le.Uint32(raw[i:i+4]), b, magnitude, m.zero))
		j := i / 4 & (groupLen - 1)
		m.idx[j], m.val[j] = b>>23&255<<8|uint32(s), v
	}
}

// Build makes contexts and codes of the statistics, and returns the sum of the code
// lengths of all that was counted, in bits. ok is false if nothing was counted.
func (m *Model) Build() (codeBits int64, ok bool) {
	if !m.dirty || !m.cluster() {
		return 0, false
	}
	first := 0
	for c := range m.ctxs {
		ctx := &m.ctxs[c]
		code := &m.codes[c]
		m.build.Build(code, ctx.count[:])
		for s, n := range ctx.count {
			codeBits += int64(n) * int64(code.Len[s])
			low, extra := interval(uint8(s))
			m.pack[c][s] = uint64(code.Bits[s]) | uint64(code.Len[s])<<16 | (uint64(code.Len[s])+uint64(extra))<<24 | uint64(uint32(low))<<32
		}
		last := m.kind.exps() - 1
		if c+1 < len(m.ctxs) {
			last = m.ctxs[c+1].first - 1
		}
		for top := range 256 {
			if e := int(m.kind.exponent(uint8(top))); e >= first && e <= last {
				m.ctxOf[top] = uint8(c)
			}
		}
		first = last + 1
	}
	return codeBits, true
}

// AppendTable appends the table that Table.Parse reads. Build comes first.
func (m *Model) AppendTable(dst []byte) []byte {
	dst = append(dst, byte(m.zero), byte(len(m.ctxs)))
	for c := 1; c < len(m.ctxs); c++ {
		dst = append(dst, byte(m.ctxs[c].first))
	}
	for c := range m.ctxs {
		dst = m.codes[c].Append(dst)
	}
	return dst
}
