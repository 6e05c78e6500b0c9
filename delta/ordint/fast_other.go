//go:build !amd64 || purego

package ordint

// fast32 decodes a group of 32-bit elements.
func (d *Decoder) fast32(t *Table, dst, base *[4 * groupLen]byte) {
	d.run.group32(t, dst, base, &d.buf)
}
