package field

// Encode appends the coded block b, at off in the blob, to dst; false if it cannot be coded or does not shrink. Build comes first.
func (m *Model) Encode(dst, b []byte, off int) (out []byte, ok bool) {
	l := m.layout
	if len(b) > maxBlock {
		return dst, false
	}
	k := m.cut(b, off)
	if !k.ok || k.n == 0 {
		return dst, false
	}
	start := len(dst)
	dst = append(dst, k.flags, byte(k.head))
	if l.window {
		dst = append(dst, byte(len(m.patches)/patchLen))
	}
	modes := len(dst)
	var none [MaxColumns / 2]byte
	dst = append(dst, none[:(len(l.columns)+1)/2]...)
	dst = append(append(dst, k.groups...), k.single...)
	for i := range l.columns {
		var mode uint8
		if dst, mode, ok = m.column(dst, i); !ok {
			return dst[:start], false
		}
		dst[modes+i/2] |= mode << (i & 1 * 4)
	}
	if l.window {
		dst = append(dst, m.patches...)
	}
	dst = append(dst, b[:k.head]...)
	dst = append(dst, b[k.head+k.n*l.Size:]...)
	return dst, len(dst)-start < len(b)
}

// column appends column i and returns its mode; false if it is longer than a block.
func (m *Model) column(dst []byte, i int) ([]byte, uint8, bool) {
	b, col := m.cols[i], &m.layout.columns[i]
	switch {
	case col.store == rest && len(b) > 0 && !signs(b):
		return appendUnsigned(dst, b), modeShort, true
	case col.store == rest || len(b) == 0:
		return append(dst, b...), modeRaw, true
	case col.store == lows && repeats(b, col.per):
		return append(dst, b[:col.per]...), modeConst, true
	case col.store == lows && shortLen(b) < len(b)-len(b)/shortGain:
		return appendShort(dst, b), modeShort, true
	case col.store == anyMode && repeats(b, 1):
		return append(dst, b[0]), modeConst, true
	case m.code[i]:
		start := len(dst)
		out, ok := m.enc[i].Encode(append(dst, 0, 0), b)
		if n := len(out) - start - 2; ok && n < len(b) && n < 1<<16 {
			le.PutUint16(out[start:], uint16(n))
			return out, modeRans, true
		}
		dst = dst[:start]
	}
	return append(dst, b...), modeRaw, len(b) <= maxBlock
}

// repeats reports whether b is its first w bytes again and again.
func repeats(b []byte, w int) bool {
	return len(b) >= w && string(b[w:]) == string(b[:len(b)-w])
}
