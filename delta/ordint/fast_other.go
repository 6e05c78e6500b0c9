//go:build !amd64 || purego

package ordint

// vector is false: there are the portable loops only.
const vector = false

// fast16 decodes a group of 16-bit elements.
func (d *Decoder) fast16(t *Table, dst, base *[2 * groupLen]byte) {
	d.run.group16(t, dst, base, &d.buf)
}

// fast32 decodes a group of 32-bit elements.
func (d *Decoder) fast32(t *Table, dst, base *[4 * groupLen]byte) {
	d.run.group32(t, dst, base, &d.buf)
}

// fastSymbols32 reports that it did nothing.
func (m *Model) fastSymbols32(raw, base []byte, magnitude uint32) bool { return false }
