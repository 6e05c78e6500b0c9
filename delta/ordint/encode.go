package ordint

import "bytes"

// laneWriter collects a lane's bits. The buffer holds the longest lane that is not
// refused, and one group more.
type laneWriter struct {
	acc uint64
	n   uint // bits in acc, fewer than 8 between groups
	at  int
	buf [maxLane + 16*10 + 8]byte
}

const maxLane = 0xffff

// Encode appends the coded block to dst. The block must have been counted, and its base be the same.
// A block that takes too many bytes (a lane of 64 KiB, or maxStored in all) is refused.
func (m *Model) Encode(dst, raw, base []byte) (out []byte, ok bool) {
	w := m.kind.Width()
	n := len(raw) / w
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, noMask[:(groups(n)+7)/8]...)
	mask, masked := dst[start+headLen:], false
	for l := range m.lane {
		m.lane[l].acc, m.lane[l].n, m.lane[l].at = 0, 0, 0
	}
	var vals [groupLen]uint64
	for g := range groups(n) {
		from, to := g*groupLen*w, min((g+1)*groupLen, n)*w
		r, b := raw[from:to], base[from:to]
		if bytes.Equal(r, b) {
			mask[g>>3] |= 1 << (g & 7)
			masked = true
			continue
		}
		switch {
		case m.kind.wide():
			if !m.putWide(r, b) {
				return dst[:start], false
			}
			continue
		case w == 2:
			m.group16(&vals, r, b)
		default:
			m.group32(&vals, r, b)
		}
		for l := range m.lane {
			if !m.lane[l].put(vals[:len(r)/w], l) {
				return dst[:start], false
			}
		}
	}
	if masked {
		dst[start] = flagMask
	} else {
		dst = dst[:start+headLen]
	}
	for l := range m.lane {
		lane := m.lane[l].finish()
		if l < laneCount-1 {
			le.PutUint16(dst[start+1+2*l:], uint16(len(lane)))
		}
		dst = append(dst, lane...)
	}
	dst = append(dst, raw[n*w:]...)
	return dst, len(dst)-start <= maxStored
}

// noMask is the longest mask: blocks have at most 2^20 bytes.
var noMask [(1 << 20) / groupLen / 8]byte

// A value is what is put into a lane for an element: the code, the extra bits above it, and in
// the byte from valueLen on the number of both.
const valueLen = 48

// group16 makes the values of up to a group of 16-bit elements.
func (m *Model) group16(vals *[groupLen]uint64, raw, base []byte) {
	base = base[:len(raw)]
	i := 0
	for ; i+8 <= len(raw); i += 8 {
		b := le.Uint64(base[i : i+8])
		d := diff16x4(le.Uint64(raw[i:i+8]), b)
		v := vals[i/2&(groupLen-4):][:4]
		v[0] = m.value16(uint16(d), uint8(b>>7))
		v[1] = m.value16(uint16(d>>16), uint8(b>>23))
		v[2] = m.value16(uint16(d>>32), uint8(b>>39))
		v[3] = m.value16(uint16(d>>48), uint8(b>>55))
	}
	for ; i+2 <= len(raw); i += 2 {
		b := le.Uint16(base[i:])
		vals[i/2] = m.value16(uint16(diff16(le.Uint16(raw[i:]), b)), uint8(b>>7))
	}
}

func (m *Model) value16(d uint16, top uint8) uint64 {
	p := m.pack[m.ctxOf[top]&(maxContexts-1)][symbols16[d]]
	return p&0xffff | uint64(d-uint16(p>>32))<<(p>>16&15) | p>>24<<56>>(56-valueLen)
}

// group32 makes the values of up to a group of 32-bit elements.
func (m *Model) group32(vals *[groupLen]uint64, raw, base []byte) {
	m.symbols32(raw, base)
	for j, i := range m.idx[:len(raw)/4] {
		p := m.pack[m.ctxOf[uint8(i>>8)]&(maxContexts-1)][uint8(i)]
		vals[j&(groupLen-1)] = p&0xffff | uint64(m.val[j&(groupLen-1)])<<(p>>16&15) | p>>24<<56>>(56-valueLen)
	}
}

// put appends elements l, l+4, … of a group. It reports false if the lane is too long.
func (w *laneWriter) put(vals []uint64, l int) bool {
	if w.at > maxLane-1 {
		return false
	}
	acc, n, at := w.acc, w.n, w.at
	for ; l < len(vals); l += laneCount {
		v := vals[l]
		acc |= v & (1<<valueLen - 1) << (n & 63)
		n += uint(v >> valueLen)
		le.PutUint64(w.buf[at:], acc)
		at += int(n >> 3)
		acc >>= n & 56
		n &= 7
	}
	w.acc, w.n, w.at = acc, n, at
	return at <= maxLane-1
}

// finish returns the lane with its last bits.
func (w *laneWriter) finish() []byte {
	if w.n > 0 {
		w.buf[w.at] = byte(w.acc)
		w.at++
	}
	return w.buf[:w.at]
}
