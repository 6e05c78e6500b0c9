package solo

import (
	"errors"
	"math"

	"github.com/klauspost/compress/huff0"

	"coral/delta/huff"
	"coral/delta/plane"
)

// minGain is the part of a plane (1/64) that coding it must save to be worth decoding.
const minGain = 64

// Model collects the statistics of a blob's blocks, then encodes them with shared tables. It
// is used by one goroutine at a time. The order of calls is Reset, Sample…, Choose, Count…, Build, Encode….
type Model struct {
	shape Shape
	n     int // elements sampled
	count [MaxPlanes][256]uint32
	code  [MaxPlanes]bool // the plane may be Huffman coded
	enc   [MaxPlanes]*huff0.Scratch
	build huff.Builder
	huff  huff.Code

	exp, sign, low, tmp [maxBlock]byte
}

// NewModel returns a Model.
func NewModel() *Model { return &Model{} }

// Reset forgets the statistics.
func (m *Model) Reset(s Shape) {
	m.shape, m.n = s, 0
	m.count = [MaxPlanes][256]uint32{}
	m.code = [MaxPlanes]bool{}
}

// Sample counts all planes of b, at most a block of whole elements.
func (m *Model) Sample(b []byte) {
	n := len(b) / m.shape.Width
	m.n += n
	m.split(b, n)
	k := m.shape.Low()
	for p := range k {
		plane.Take(m.tmp[:n], m.low[:n*k], p, k)
		plane.Count(&m.count[p], m.tmp[:n])
	}
	if m.shape.Top {
		plane.Count(&m.count[m.shape.Width-1], m.exp[:n])
		plane.Count(&m.count[m.shape.Width-2], m.sign[:n])
	}
}

// Choose decides from the samples which planes may be coded in a blob of total elements, returns the bits
// an element then takes, tables included, and forgets the samples.
func (m *Model) Choose(total int) float64 {
	var bits float64
	for p := range m.shape.Planes() {
		raw := float64(8 * total)
		coded := m.expect(p, total)
		m.code[p] = coded < raw-raw/minGain
		if m.code[p] {
			raw = coded
		}
		bits += raw
		m.count[p] = [256]uint32{}
	}
	return bits / float64(max(total, 1))
}

// expect returns the bits that a plane of total elements, of which m.n were counted, takes if it is coded.
// A sample looks less random than what it is taken from (Miller and Madow 1955), and the table costs about
// 3 bits a symbol.
func (m *Model) expect(p, total int) float64 {
	if m.n == 0 {
		return 0
	}
	used := 0
	for _, n := range m.count[p] {
		if n > 0 {
			used++
		}
	}
	if used <= 1 {
		return 8
	}
	cost := m.build.Cost(&m.huff, m.count[p][:])
	whole := float64(total) / float64(m.n)
	bias := float64(used-1) / 2 * math.Log2E * max(0, 1-1/whole)
	return (cost+bias)*whole + float64(64+3*used)
}

// Count adds the statistics of a block to come, of the planes that may be coded.
func (m *Model) Count(b []byte) {
	n := len(b) / m.shape.Width
	m.split(b, n)
	k := m.shape.Low()
	for p := range k {
		if m.code[p] {
			plane.Take(m.tmp[:n], m.low[:n*k], p, k)
			plane.Count(&m.count[p], m.tmp[:n])
		}
	}
	w := m.shape.Width
	if m.shape.Top && m.code[w-1] {
		plane.Count(&m.count[w-1], m.exp[:n])
	}
	if m.shape.Top && m.code[w-2] {
		plane.Count(&m.count[w-2], m.sign[:n])
	}
}

// split cuts n elements of b into exp, sign and low.
func (m *Model) split(b []byte, n int) {
	w := m.shape.Width
	b = b[:n*w]
	switch {
	case !m.shape.Top:
		copy(m.low[:], b)
	case w == 2:
		plane.Split16(m.exp[:n], m.sign[:n], b)
	case w == 4:
		plane.Split32(m.exp[:n], m.sign[:n], m.low[:2*n], b)
	default:
		plane.Split64(m.exp[:n], m.sign[:n], m.low[:6*n], b)
	}
}

// Build makes the tables. Planes that have one symbol, or too many to pay, get none.
func (m *Model) Build() {
	for p := range m.shape.Planes() {
		if !m.code[p] {
			continue
		}
		if m.enc[p] == nil {
			m.enc[p] = &huff0.Scratch{Reuse: huff0.ReusePolicyMust}
		}
		m.code[p] = m.enc[p].BuildCTable(&m.count[p]) == nil
	}
}

// Tables calls fn with each table that Tables.Parse reads. body is valid during the call.
func (m *Model) Tables(fn func(plane int, body []byte)) {
	for p := range m.shape.Planes() {
		if !m.code[p] {
			continue
		}
		body, err := m.enc[p].AppendTable(m.tmp[:0])
		if err != nil { // more than 128 symbols, whose lengths do not compress
			m.code[p] = false
			continue
		}
		fn(p, body)
	}
}

// Encode appends the coded block to dst; false if no plane shrinks. Tables comes first.
func (m *Model) Encode(dst, b []byte) (out []byte, ok bool) {
	s := m.shape
	n := len(b) / s.Width
	if n == 0 || len(b) > maxBlock {
		return dst, false
	}
	m.split(b, n)
	start := len(dst)
	var none [MaxPlanes / 2]byte
	dst = append(dst, none[:(s.Planes()+1)/2]...)
	var modes [MaxPlanes]uint8
	if s.Top {
		dst, modes[s.Width-1] = m.plane(dst, s.Width-1, m.exp[:n])
		dst, modes[s.Width-2] = m.plane(dst, s.Width-2, m.sign[:n])
	}
	dst = m.encodeLow(dst, n, &modes)
	ok = false
	for p := range s.Planes() {
		dst[start+p/2] |= modes[p] << (p & 1 * 4)
		ok = ok || modes[p] != modeRaw && modes[p] != modeRun
	}
	return append(dst, b[n*s.Width:]...), ok
}

// encodeLow appends the low part: plane by plane if any of its planes shrinks, else as one run.
func (m *Model) encodeLow(dst []byte, n int, modes *[MaxPlanes]uint8) []byte {
	k := m.shape.Low()
	if k == 0 {
		return dst
	}
	low := m.low[:n*k]
	start, shrinks := len(dst), false
	for p := k - 1; p >= 0; p-- {
		b, constant := plane.Constant(low, p, k)
		switch {
		case constant:
			dst, modes[p] = append(dst, b), modeConst
		case !m.code[p]:
			plane.Take(m.tmp[:n], low, p, k)
			dst, modes[p] = append(dst, m.tmp[:n]...), modeRaw
		default:
			plane.Take(m.tmp[:n], low, p, k)
			dst, modes[p] = m.plane(dst, p, m.tmp[:n])
		}
		shrinks = shrinks || modes[p] != modeRaw
	}
	if shrinks {
		return dst
	}
	for p := range k {
		modes[p] = modeRun
	}
	return append(dst[:start], low...)
}

// plane appends a plane and returns its mode.
func (m *Model) plane(dst []byte, p int, b []byte) ([]byte, uint8) {
	if c, ok := plane.Constant(b, 0, 1); ok {
		return append(dst, c), modeConst
	}
	if !m.code[p] || len(b) < minHuff {
		return append(dst, b...), modeRaw
	}
	// Must: huff0 uses the table it was given or refuses.
	out, reused, err := huff0.Compress4X(b, m.enc[p])
	if err != nil || !reused || len(out)+2 > len(b)-len(b)/minGain || len(out) > 0xffff {
		if errors.Is(err, huff0.ErrUseRLE) {
			return append(dst, b[0]), modeConst
		}
		return append(dst, b...), modeRaw
	}
	dst = le.AppendUint16(dst, uint16(len(out)))
	return append(dst, out...), modeHuff
}
