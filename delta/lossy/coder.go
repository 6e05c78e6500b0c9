package lossy

import (
	"bytes"
	"math"

	"github.com/klauspost/compress/huff0"

	"coral/delta/element"
	"coral/delta/format/dtype"
)

// Coder encodes and decodes blocks. It is used by one goroutine at a time; its memory is about 400 KiB.
type Coder struct {
	x, y [MaxBlock / 2]float32 // of block and base
	q    [MaxBlock / 2]int16
	back [MaxBlock]byte
	hi   [MaxBlock / 2]byte
	lo   [MaxBlock / 2]byte
	runs []run
	enc  *huff0.Scratch
	dec  *huff0.Scratch
}

// Encode appends the block raw of kind k as c codes it, against base, which is as long (nil for codecs without base). ok is false, and dst
// as it was, if the block is no approximation of that kind.
func (m *Coder) Encode(c Codec, k dtype.Kind, dst, raw, base []byte) (out []byte, ok bool) {
	w := element.Width(k)
	if !Codes(k) || len(raw) > MaxBlock || len(raw) < w || c.needsBase() && len(base) != len(raw) {
		return dst, false
	}
	n := len(raw) / w
	m.load(c, k, raw, base, n)
	if c == Axis {
		if !m.findRuns(k, raw, n) {
			return dst, false
		}
		return append(m.appendAxis(dst, n), raw[n*w:]...), true
	}
	s, found := m.findScale(c, k, raw, n)
	if !found {
		return dst, false
	}
	dst = le.AppendUint16(dst, s)
	q := m.q[:n]
	if c.levels() == levels8 {
		for i, v := range q {
			m.lo[i] = byte(v)
		}
	} else {
		for i, v := range q {
			z := uint16(v)<<1 ^ uint16(v>>15)
			m.hi[i], m.lo[i] = byte(z>>8), byte(z)
		}
		dst = m.plane(dst, m.hi[:n])
	}
	return append(m.plane(dst, m.lo[:n]), raw[n*w:]...), true
}

func (m *Coder) load(c Codec, k dtype.Kind, raw, base []byte, n int) {
	element.Load(m.x[:n], raw, k)
	if c.needsBase() {
		element.Load(m.y[:n], base, k)
	} else {
		clear(m.y[:n])
	}
}

// scaleSteps is how many BF16 numbers below and above the first guess are tried as scales: the largest difference was rounded to the kind.
const scaleSteps = 3

// findScale looks for the scale of a block and leaves its q in m.q.
func (m *Coder) findScale(c Codec, k dtype.Kind, raw []byte, n int) (s uint16, ok bool) {
	largest, ok := m.largest(n)
	if !ok || largest == 0 {
		return 0, false
	}
	guess := int(ceilBF16(largest / c.levels()))
	for step := range 2*scaleSteps + 1 {
		d := (step + 1) / 2 // 0, 1, 1, 2, 2 …: up, then down
		if step%2 == 0 {
			d = -d
		}
		if s := guess + d; s > 0 && s < 0x7f80 && m.fits(c, k, raw, n, element.FromBF16(uint16(s))) {
			return uint16(s), true
		}
	}
	return 0, false
}

// largest returns the largest difference; ok is false if something is not finite.
func (m *Coder) largest(n int) (d float32, ok bool) {
	for i, x := range m.x[:n] {
		a := float32(x - m.y[i])
		if !element.Finite(a) {
			return 0, false
		}
		d = max(d, float32(math.Abs(float64(a))))
	}
	return d, true
}

// probe is how many elements are tried before all are.
const probe = 64

// fits reports whether every element of the block is b + q·s for some q, which it leaves in m.q.
func (m *Coder) fits(c Codec, k dtype.Kind, raw []byte, n int, s float32) bool {
	if n > probe && !m.fits(c, k, raw, probe, s) {
		return false
	}
	levels, w := float64(c.levels()), element.Width(k)
	var out [probe]float32
	for i := 0; i < n; i += probe {
		to := min(i+probe, n)
		for j := i; j < to; j++ {
			q := nearest(float32(m.x[j]-m.y[j]), s)
			if math.Abs(q) > levels {
				return false
			}
			m.q[j] = int16(q)
			out[j-i] = value(m.y[j], float32(q), s)
		}
		element.Store(m.back[:], out[:to-i], k)
		if !bytes.Equal(m.back[:(to-i)*w], raw[i*w:to*w]) {
			return false
		}
	}
	return true
}

// nearest returns the q for which q·s is nearest to d.
func nearest(d, s float32) float64 { return math.RoundToEven(float64(d) / float64(s)) }

// plane appends b as the smallest of its forms.
func (m *Coder) plane(dst, b []byte) []byte {
	if m.enc == nil {
		m.enc = &huff0.Scratch{Reuse: huff0.ReusePolicyNone}
	}
	if constant(b) {
		return append(dst, planeConst, b[0])
	}
	out, _, err := huff0.Compress4X(b, m.enc)
	if err != nil || len(out)+2 >= len(b) || len(out) > 0xffff {
		return append(append(dst, planeRaw), b...)
	}
	dst = le.AppendUint16(append(dst, planeHuff), uint16(len(out)))
	return append(dst, out...)
}

func constant(b []byte) bool {
	return len(b) > 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// Decode decodes stored into dst, of kind k; base is as long as dst (nil for codecs without base).
func (m *Coder) Decode(c Codec, k dtype.Kind, dst, stored, base []byte) error {
	w := element.Width(k)
	if !Codes(k) || c > Axis || len(dst) > MaxBlock || len(dst) < w || len(stored) < 2 || c.needsBase() && len(base) != len(dst) {
		return ErrBlock
	}
	n := len(dst) / w
	m.load(c, k, dst, base, n) // what it loads of dst is overwritten
	r := &reader{m: m, b: stored}
	if c == Axis {
		r.axis(n)
	} else {
		r.quantised(c, n)
	}
	tail := r.take(len(dst) - n*w)
	if r.fail || len(r.b) != 0 {
		return ErrBlock
	}
	element.Store(dst, m.x[:n], k)
	copy(dst[n*w:], tail)
	return nil
}

// reader takes the parts of a stored block from its front. After a failure it gives nothing.
type reader struct {
	m    *Coder
	b    []byte
	fail bool
}

func (r *reader) take(n int) []byte {
	if r.fail || n > len(r.b) {
		r.fail = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// quantised computes the elements into m.x.
func (r *reader) quantised(c Codec, n int) {
	m := r.m
	bits := le.Uint16(r.take(2))
	if bits >= 0x7f80 {
		r.fail = true
		return
	}
	s := element.FromBF16(bits)
	x, y := m.x[:n], m.y[:n]
	if c.levels() == levels8 {
		r.plane(m.lo[:n])
		for i, b := range m.lo[:n] {
			x[i] = value(y[i], float32(int8(b)), s)
		}
		return
	}
	r.plane(m.hi[:n])
	r.plane(m.lo[:n])
	for i, b := range m.lo[:n] {
		z := uint16(m.hi[i])<<8 | uint16(b)
		x[i] = value(y[i], float32(int16(z>>1)^-int16(z&1)), s)
	}
}

// plane fills dst.
func (r *reader) plane(dst []byte) {
	mode := r.take(1)
	if r.fail {
		return
	}
	switch mode[0] {
	case planeRaw:
		copy(dst, r.take(len(dst)))
	case planeConst:
		if b := r.take(1); !r.fail {
			for i := range dst {
				dst[i] = b[0]
			}
		}
	case planeHuff:
		head := r.take(2)
		if r.fail {
			return
		}
		r.huff(dst, r.take(int(le.Uint16(head))))
	default:
		r.fail = true
	}
}

func (r *reader) huff(dst, src []byte) {
	if r.fail {
		return
	}
	m := r.m
	s, rest, err := huff0.ReadTable(src, m.dec)
	m.dec = s
	if err != nil {
		r.fail = true
		return
	}
	// The capacity is the length to decode.
	out, err := s.Decoder().Decompress4X(dst[:0:len(dst)], rest)
	if err != nil || len(out) != len(dst) || len(out) > 0 && &out[0] != &dst[0] {
		r.fail = true
	}
}
