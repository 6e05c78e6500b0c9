package coralml

import (
	"crypto/subtle"

	"coral/delta/format/dtype"
	"coral/delta/lit"
	"coral/delta/plane"
	"coral/delta/same"
)

// Coder encodes and decodes blocks. It is used by one goroutine at a time; its memory, 640 KiB and zstd's, is used again.
type Coder struct {
	lit    lit.Coder
	planes [MaxBlock]byte // of the block: exponents, signs, low part
	other  [MaxBlock]byte // of the base; the XOR of both
	x, y   [MaxBlock / 2]float32
	bits   [MaxBlock / 16]byte
	places []uint16 // of exceptions
}

// Encode appends the block raw of kind k as c codes it, against base, which is as long (nil for Fields). ok is false, and dst as
// it was, if c does not code the block; what is appended may be longer than the block.
func (m *Coder) Encode(c Codec, k dtype.Kind, dst, raw, base []byte) (out []byte, ok bool) {
	if !c.Codes(k) || len(raw) > MaxBlock || c.needsBase() && len(base) != len(raw) {
		return dst, false
	}
	w := width(k)
	n := len(raw) / w
	body, tail := raw[:n*w], raw[n*w:]
	switch c {
	case Float32Raw:
		if m.differences(k, body, base) > 0 {
			return dst, false
		}
		dst = append(dst, m.other[:n*w]...)
	case Compressed:
		if m.differences(k, body, base) > n/exceptionPart {
			return dst, false
		}
		dst = m.appendExceptions(dst, body, w)
		dst = m.stream(dst, m.other[:n*w])
	case XorFloat32:
		m.xorPlanes(body, base, w)
		dst = m.stream(dst, m.planes[:n])
		dst = m.stream(dst, m.planes[n:n*w])
	case XorBFloat16:
		m.xorPlanes(body, base, w)
		dst = m.streams(dst, n, w)
	case Fields, FieldsBase:
		split(m.planes[:n*w], body, w)
		if c == FieldsBase {
			split(m.other[:n*w], base, w)
			for i, b := range m.other[:n] {
				m.planes[i] -= b
			}
			subtle.XORBytes(m.planes[n:n*w], m.planes[n:n*w], m.other[n:n*w])
		}
		dst = m.stream(dst, m.planes[:n])
		dst = m.stream(dst, m.takeSigns(n))
		dst = m.stream(dst, m.planes[n:2*n])
		if w > 2 {
			dst = m.stream(dst, m.planes[2*n:n*w])
		}
	}
	return append(dst, tail...), true
}

// Decode decodes stored into dst, of kind k; base is as long as dst (nil for Fields).
func (m *Coder) Decode(c Codec, k dtype.Kind, dst, stored, base []byte) error {
	if !c.Codes(k) || len(dst) > MaxBlock || c.needsBase() && len(base) != len(dst) {
		return ErrBlock
	}
	w := width(k)
	n := len(dst) / w
	body := dst[:n*w]
	r := reader{m: m, b: stored}
	switch c {
	case Float32Raw:
		m.restore(k, body, base, r.take(n*w))
	case Compressed:
		exceptions := r.exceptions(n, w)
		diff := m.other[:n*w]
		r.stream(diff)
		m.restore(k, body, base, diff)
		r.fail = r.fail || !exceptions.put(body)
	case XorFloat32:
		r.stream(m.planes[:n])
		r.stream(m.planes[n : n*w])
		m.unXor(body, base, w)
	case XorBFloat16:
		r.streams(n, w)
		m.unXor(body, base, w)
	case Fields, FieldsBase:
		r.fields(n, w)
		if c == FieldsBase && !r.fail {
			split(m.other[:n*w], base, w)
			for i, b := range m.other[:n] {
				m.planes[i] += b
			}
			subtle.XORBytes(m.planes[n:n*w], m.planes[n:n*w], m.other[n:n*w])
		}
		merge(body, m.planes[:n*w], w)
	}
	copy(dst[n*w:], r.take(len(dst)-n*w))
	if r.fail || len(r.b) != 0 {
		return ErrBlock
	}
	return nil
}

// streams appends each plane as a stream of its own.
func (m *Coder) streams(dst []byte, n, w int) []byte {
	dst = m.stream(dst, m.planes[:n])
	dst = m.stream(dst, m.planes[n:2*n])
	if w > 2 {
		dst = m.stream(dst, m.planes[2*n:n*w])
	}
	return dst
}

// stream appends b as the smallest of its forms.
func (m *Coder) stream(dst, b []byte) []byte {
	if same.Zero(b) {
		return append(dst, streamZero)
	}
	start := len(dst)
	dst = m.lit.Compress(append(dst, streamZstd, 0, 0, 0), b)
	frame := len(dst) - start - 1 - frameLen
	if frame+frameLen >= len(b) {
		return append(append(dst[:start], streamRaw), b...)
	}
	dst[start+1], dst[start+2], dst[start+3] = byte(frame), byte(frame>>8), byte(frame>>16)
	return dst
}

// xorPlanes leaves the planes of the XOR of both in m.planes.
func (m *Coder) xorPlanes(body, base []byte, w int) {
	x := m.other[:len(body)]
	subtle.XORBytes(x, body, base)
	split(m.planes[:len(body)], x, w)
}

func (m *Coder) unXor(body, base []byte, w int) {
	merge(body, m.planes[:len(body)], w)
	subtle.XORBytes(body, body, base)
}

// takeSigns moves the sign bits out of the sign plane.
func (m *Coder) takeSigns(n int) []byte {
	bits := m.bits[:(n+7)/8]
	clear(bits)
	s := m.planes[n : 2*n]
	for i, b := range s {
		bits[i/8] |= b >> 7 << (i % 8)
		s[i] = b & 0x7f
	}
	return bits
}

// split writes the planes of src, which has elements of w bytes only: exponents, signs, low part.
func split(dst, src []byte, w int) {
	n := len(src) / w
	src = src[:n*w]
	e, s, low := dst[:n], dst[n:2*n], dst[2*n:n*w]
	switch w {
	case 2:
		plane.Split16(e, s, src)
	case 4:
		plane.Split32(e, s, low, src)
	default:
		plane.Split64(e, s, low, src)
	}
}

// merge is the inverse of split.
func merge(dst, planes []byte, w int) {
	n := len(dst) / w
	e, s, low := planes[:n], planes[n:2*n], planes[2*n:n*w]
	switch w {
	case 2:
		plane.Merge16(dst, e, s)
	case 4:
		plane.Merge32(dst, e, s, low)
	default:
		plane.Merge64(dst, e, s, low)
	}
}
