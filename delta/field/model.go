package field

import (
	"math"

	"coral/delta/plane"
	"coral/delta/rans"
)

const (
	columnGain = 128 // coding must save this part of a column to be worth decoding
	symbolCost = 7   // bits of a table for each symbol that occurs, about
	outsideMax = 256 // one of so many sampled exponents may be outside the window, else there is none
)

// Model collects the statistics of a blob's blocks, then encodes them with shared tables. It is used by one goroutine at a
// time. The order of calls is Reset, Sample…, Choose, Count…, Build, Tables, Encode….
type Model struct {
	layout *Layout
	phase  int // bytes of the blob before its first whole struct
	window uint8

	n, kept int                       // structs sampled, and not left out
	signs   bool                      // one was sampled
	lows    int                       // bytes that sampled low halves take by classes
	masks   int                       // bits of masks sampled
	count   [MaxColumns][256]uint32   // symbols
	tops    [1 << 10]uint32           // sampled exponents with two mantissa bits, where there is a window
	freqs   [MaxColumns]rans.Freqs    // once built
	enc     [MaxColumns]*rans.Encoder // made when first needed
	code    [MaxColumns]bool          // the column may be coded

	cols    columns
	mem     [MaxColumns][]byte
	exp     [maxStructs]byte
	sign    [maxStructs]byte
	patches []byte
	sifter  sifter
}

// NewModel returns a Model.
func NewModel() *Model { return &Model{} }

// Reset forgets the statistics. blob is all of what is to be encoded, of which GGUF structs are looked for: an
// extent of a long tensor need not begin with a whole one.
func (m *Model) Reset(l *Layout, blob []byte) {
	m.layout, m.phase, m.window = l, 0, 0
	m.n, m.kept, m.masks, m.lows, m.signs = 0, 0, 0, 0, false
	m.count, m.tops, m.code = [MaxColumns][256]uint32{}, [1 << 10]uint32{}, [MaxColumns]bool{}
	if l.phased {
		m.phase = findPhase(l, blob)
	}
}

// head returns the bytes before the first whole struct of what is at off in the blob.
func (m *Model) head(off int) int {
	if !m.layout.phased {
		return 0
	}
	size := m.layout.Size
	return ((m.phase-off)%size + size) % size
}

// block is a block cut up: columns in Model.cols.
type block struct {
	head, n, m     int // bytes before the first struct; whole structs; those not left out
	flags          uint8
	groups, single []byte
	ok             bool // few enough patches
}

// cut cuts b, at off in the blob.
func (m *Model) cut(b []byte, off int) block {
	l := m.layout
	k := block{head: min(m.head(off), len(b)), ok: true}
	k.n = (len(b) - k.head) / l.Size
	body := b[k.head : k.head+k.n*l.Size]
	if k.m = k.n; !l.phased {
		body, k.m, k.flags, k.groups, k.single = m.sifter.sift(body, l.Size, k.n)
	}
	m.cols = columns{}
	for i := range l.columns {
		length := l.columns[i].length(k.m)
		if len(m.mem[i]) < length {
			m.mem[i] = make([]byte, max(length, maxBlock))
		}
		m.cols[i] = m.mem[i][:length]
	}
	if !l.window {
		l.cut(&m.cols, body, k.m)
		return k
	}
	e, s := m.exp[:k.m], m.sign[:k.m]
	splitTop(e, s, m.cols[2], body, k.m, l.Size)
	if m.window == 0 {
		return k
	}
	m.patches = m.patches[:0]
	copy(m.cols[0], e)
	if !number(m.cols[0], s, m.cols[1], m.window) {
		k.ok = m.patch(e)
		copy(m.cols[0], e)
		number(m.cols[0], s, m.cols[1], m.window)
	}
	return k
}

// patch lists the exponents outside the window and makes them 0; false if they are too many.
func (m *Model) patch(e []byte) bool {
	for i, v := range e {
		if !outside(v, m.window) {
			continue
		}
		if len(m.patches) == maxPatches*patchLen {
			return false
		}
		m.patches = append(m.patches, byte(i), byte(i>>8), v)
		e[i] = 0
	}
	return true
}

// Sample counts b, part of a block and off in the blob.
func (m *Model) Sample(b []byte, off int) {
	k := m.cut(b, off)
	m.n += k.n
	m.kept += k.m
	m.masks += 8 * (len(k.groups) + len(k.single))
	if m.layout.window {
		m.lows += shortLen(m.cols[2])
		for _, s := range m.sign[:k.m] {
			m.signs = m.signs || s > 127
		}
	}
	m.countColumns(k.m)
}

// Empty reports whether all that was sampled was left out.
func (m *Model) Empty() bool { return m.kept == 0 }

// countColumns counts the symbols of n structs that were cut; where there is a window, what they will be made of.
func (m *Model) countColumns(n int) {
	if m.layout.window {
		for i, e := range m.exp[:n] {
			m.tops[int(e)<<2|int(m.sign[i])>>5&3]++
		}
		return
	}
	for i := range m.layout.columns {
		if m.layout.columns[i].store == anyMode {
			plane.Count(&m.count[i], m.cols[i])
		}
	}
}

// Choose decides from the samples which columns are coded in a blob of total structs, returns the bits a struct then
// takes, tables included, and forgets the samples.
func (m *Model) Choose(total int) float64 {
	if m.n == 0 || total == 0 {
		return float64(8 * m.layout.Size)
	}
	var patches float64
	if m.layout.window {
		out := m.chooseWindow()
		patches = float64(out * 8 * patchLen)
		if out*outsideMax > m.kept {
			patches = float64(m.kept) * 8 // not worth it
		}
		m.window, m.tops = 0, [1 << 10]uint32{} // Build chooses by all
	}
	scale := float64(total) / float64(m.n)
	bits := (patches + float64(m.masks)) * scale
	for i := range m.layout.columns {
		bits += m.expect(i, scale)
		m.count[i] = [256]uint32{}
	}
	return bits / float64(total)
}

// chooseWindow sets the window and counts the symbols it makes of the counted exponents; it returns how many are outside.
func (m *Model) chooseWindow() (out int) {
	var exps [256]uint32
	for i, n := range m.tops {
		exps[i>>2] += n
	}
	m.window = bestWindow(&exps)
	for i, n := range m.tops {
		e := uint8(i >> 2)
		switch {
		case e == 0:
			m.count[0][i&3] += n
		case outside(e, m.window):
			m.count[0][i&3] += n
			out += int(n)
		default:
			m.count[0][int(e-m.window+1)<<2|i&3] += n
		}
	}
	return out
}

// expect returns the bits that column i takes if the blob has scale times what was sampled. A sample looks less random
// than what it is taken from (Miller and Madow 1955).
func (m *Model) expect(i int, scale float64) float64 {
	col := &m.layout.columns[i]
	raw := 8 * float64(col.length(m.kept)) * scale
	switch col.store {
	case rest:
		if m.signs {
			return 6 * float64(m.kept) * scale
		}
		return 5 * float64(m.kept) * scale
	case lows:
		if short := 8 * float64(m.lows) * scale; short < raw-raw/shortGain {
			return short
		}
		return raw
	}
	used := 0
	for _, n := range m.count[i] {
		if n > 0 {
			used++
		}
	}
	if used <= 1 {
		m.code[i] = true // another symbol may yet come
		return 8
	}
	symbols := float64(col.length(m.kept)) * scale
	bias := float64(used-1) / 2 * math.Log2E * max(0, 1-1/scale)
	coded := (entropy(&m.count[i])+bias)*scale + float64(48+symbolCost*used)
	coded += symbols / (maxBlock / float64(m.layout.Size) * float64(col.per)) * float64(6*rans.StateBytes(int(symbols))) // 6 of 8 bits of a state are lost
	if m.code[i] = coded < raw-raw/columnGain; m.code[i] {
		return coded
	}
	return raw
}

func entropy(counts *[256]uint32) float64 {
	var total, bits float64
	for _, n := range counts {
		if n > 0 {
			total += float64(n)
			bits -= float64(n) * math.Log2(float64(n))
		}
	}
	return max(0, bits+total*math.Log2(max(total, 1)))
}

// Count adds the statistics of a block to come, at off in the blob.
func (m *Model) Count(b []byte, off int) {
	m.countColumns(m.cut(b, off).m)
}

// Build makes the frequencies. Columns of one symbol get none.
func (m *Model) Build() {
	if m.layout.window {
		m.chooseWindow()
	}
	for i := range m.layout.columns {
		if m.code[i] = m.code[i] && m.layout.columns[i].store == anyMode && m.freqs[i].Normalize(&m.count[i]); !m.code[i] {
			continue
		}
		if m.enc[i] == nil {
			m.enc[i] = new(rans.Encoder)
		}
		m.enc[i].Init(&m.freqs[i])
	}
}

// Tables appends each table that Tables reads to dst[:0] and calls fn with it; body is valid during the call. column is -1 for the window.
func (m *Model) Tables(dst []byte, fn func(column int, body []byte)) []byte {
	if m.layout.window {
		dst = append(dst[:0], m.window)
		fn(-1, dst)
	}
	for i := range m.layout.columns {
		if m.code[i] {
			dst = m.freqs[i].Append(dst[:0])
			fn(i, dst)
		}
	}
	return dst
}
