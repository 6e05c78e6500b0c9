package coralml

import (
	"bytes"

	"coral/delta/element"
	"coral/delta/format/dtype"
)

// differences leaves body − base, rounded to the kind, in m.other and returns how many elements do not come back from it;
// these are in m.places, and 0 in m.other. Only finite numbers are computed with: what a NaN becomes differs between processors.
func (m *Coder) differences(k dtype.Kind, body, base []byte) int {
	w := width(k)
	n := len(body) / w
	x, y := m.x[:n], m.y[:n]
	element.Load(x, body, k)
	element.Load(y, base, k)
	for i := range x {
		x[i] = float32(x[i] - y[i])
	}
	diff := m.other[:n*w]
	element.Store(diff, x, k)
	element.Load(x, diff, k)
	for i := range y {
		y[i] = float32(y[i] + x[i])
	}
	back := m.planes[:n*w]
	element.Store(back, y, k)
	m.places = m.places[:0]
	if bytes.Equal(back, body) && finite(x) && finite(y) {
		return 0
	}
	for i := range x {
		at := i * w
		if element.Finite(x[i]) && element.Finite(y[i]) && bytes.Equal(back[at:at+w], body[at:at+w]) {
			continue
		}
		clear(diff[at : at+w])
		m.places = append(m.places, uint16(i))
	}
	return len(m.places)
}

func finite(x []float32) bool {
	for _, f := range x {
		if !element.Finite(f) {
			return false
		}
	}
	return true
}

// appendExceptions appends the list of m.places.
func (m *Coder) appendExceptions(dst, body []byte, w int) []byte {
	dst = le.AppendUint16(dst, uint16(len(m.places)))
	for _, at := range m.places {
		dst = le.AppendUint16(dst, at)
	}
	for _, at := range m.places {
		dst = append(dst, body[int(at)*w:(int(at)+1)*w]...)
	}
	return dst
}

// restore computes body from base and the differences.
func (m *Coder) restore(k dtype.Kind, body, base, diff []byte) {
	n := len(body) / width(k)
	x, y := m.x[:n], m.y[:n]
	element.Load(x, diff, k)
	element.Load(y, base, k)
	for i := range x {
		x[i] = float32(y[i] + x[i])
	}
	element.Store(body, x, k)
}
