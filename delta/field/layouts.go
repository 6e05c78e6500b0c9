package field

import "coral/delta/format/dtype"

// Layout says how structs of a kind are cut into columns.
type Layout struct {
	Size    int   // bytes of a struct: of an element, or of a GGUF block
	window  bool  // floats whose exponents are numbered from a window of them: floats.go
	phased  bool  // a block need not begin with a whole struct
	marks   []int // bytes of the struct that are the high bytes of scales: phase.go
	columns []column
	split   func(c *columns, b []byte, n int) // cuts n structs; nil if the ranges say all
	merge   func(b []byte, c *columns, n int)
}

// column is one field of the structs of a kind.
type column struct {
	at, n int    // byte range in the struct, if the layout has no split
	per   int    // symbols a struct
	bits  int    // bits of a symbol in the struct
	store stored // which modes it can have
}

type stored uint8

const (
	anyMode stored = iota
	lows           // low halves of F32: raw, constant or by classes: short.go
	rest           // raw only; six bits an element, in groups of 64 elements of 48 bytes
)

// columns are the symbols of the columns of a block.
type columns [MaxColumns][]byte

// length returns the symbols that n structs have in the column.
func (c *column) length(n int) int {
	if c.store == rest {
		return (n + group - 1) / group * restLen
	}
	return c.per * n
}

func ranges(size int, phased bool, ends ...int) *Layout {
	l := &Layout{Size: size, phased: phased}
	at := 0
	for _, end := range ends {
		l.columns = append(l.columns, column{at: at, n: end - at, per: end - at, bits: 8})
		at = end
	}
	return l
}

func ggufRanges(marks []int, size int, ends ...int) *Layout {
	l := ranges(size, true, ends...)
	l.marks = marks
	return l
}

func symbols(per, bits int) column { return column{per: per, bits: bits} }

// layouts lists the kinds. The byte ranges of GGUF blocks are those of the structs of ggml-common.h (block_q4_0 and so on): F16 scales are two
// columns, low byte and high; bytes with two 4-bit quants are one symbol. Where a quant's bits are spread over the struct, or
// scales are packed in 6 bits, gguf.go puts them together. Permanent: a kind's columns never change.
var layouts = map[dtype.Kind]*Layout{
	dtype.BF16: {Size: 2, window: true, columns: []column{symbols(1, 8), {store: rest}}},
	dtype.F32:  float32Layout, dtype.C64: float32Layout,
	dtype.F16: {Size: 2, columns: []column{symbols(1, 8), symbols(1, 8)}, split: splitHalf, merge: mergeHalf},

	dtype.I8: ranges(1, false, 1), dtype.U8: ranges(1, false, 1), dtype.Bool: ranges(1, false, 1),
	dtype.F8E4M3: ranges(1, false, 1), dtype.F8E5M2: ranges(1, false, 1), dtype.F8E8M0: ranges(1, false, 1),
	dtype.F4: ranges(1, false, 1), dtype.F6E2M3: ranges(3, true, 1, 2, 3), dtype.F6E3M2: ranges(3, true, 1, 2, 3),
	dtype.I16: ranges(2, false, 1, 2), dtype.U16: ranges(2, false, 1, 2),
	dtype.I32: ranges(4, false, 1, 2, 3, 4), dtype.U32: ranges(4, false, 1, 2, 3, 4),
	dtype.I64: ranges(8, false, 1, 2, 3, 4, 5, 6, 7, 8), dtype.U64: ranges(8, false, 1, 2, 3, 4, 5, 6, 7, 8),

	dtype.Q4_0: ggufRanges([]int{1}, 18, 1, 2, 18), dtype.IQ4_NL: ggufRanges([]int{1}, 18, 1, 2, 18),
	dtype.Q4_1: ggufRanges([]int{1, 3}, 20, 1, 2, 3, 4, 20),
	dtype.Q8_0: ggufRanges([]int{1}, 34, 1, 2, 34), dtype.Q8_1: ggufRanges([]int{1, 3}, 36, 1, 2, 3, 4, 36),
	dtype.Q2_K:   ggufRanges([]int{81, 83}, 84, 16, 80, 81, 82, 83, 84),
	dtype.IQ4_XS: ggufRanges([]int{1}, 136, 1, 2, 3, 4, 8, 136),
	dtype.MXFP4:  ggufRanges([]int{0}, 17, 1, 17),

	dtype.Q5_0: {Size: 22, phased: true, marks: []int{1}, columns: []column{symbols(1, 8), symbols(1, 8), symbols(32, 5)}, split: splitQ5(22), merge: mergeQ5(22)},
	dtype.Q5_1: {Size: 24, phased: true, marks: []int{1, 3}, columns: []column{symbols(1, 8), symbols(1, 8), symbols(1, 8), symbols(1, 8), symbols(32, 5)},
		split: splitQ5(24), merge: mergeQ5(24)},
	dtype.Q3_K: {Size: 110, phased: true, marks: []int{109}, columns: []column{symbols(128, 6), symbols(16, 6), symbols(1, 8), symbols(1, 8)}, split: splitQ3K, merge: mergeQ3K},
	dtype.Q4_K: {Size: 144, phased: true, marks: []int{1, 3}, columns: []column{symbols(1, 8), symbols(1, 8), symbols(1, 8), symbols(1, 8),
		symbols(8, 6), symbols(8, 6), symbols(128, 8)}, split: splitQ4K, merge: mergeQ4K},
	dtype.Q5_K: {Size: 176, phased: true, marks: []int{1, 3}, columns: []column{symbols(1, 8), symbols(1, 8), symbols(1, 8), symbols(1, 8),
		symbols(8, 6), symbols(8, 6), symbols(256, 5)}, split: splitQ5K, merge: mergeQ5K},
	dtype.Q6_K: {Size: 210, phased: true, marks: []int{209}, columns: []column{symbols(256, 6), symbols(16, 8), symbols(1, 8), symbols(1, 8)}, split: splitQ6K, merge: mergeQ6K},
}

var float32Layout = &Layout{Size: 4, window: true,
	columns: []column{symbols(1, 8), {store: rest}, {per: 2, bits: 8, store: lows}}}

// LayoutOf returns the layout of a kind; ok is false for kinds that have none.
func LayoutOf(k dtype.Kind) (l *Layout, ok bool) {
	l, ok = layouts[k]
	return l, ok
}

// cut cuts n structs of b into columns; kinds with a window are cut by package plane and number.
func (l *Layout) cut(c *columns, b []byte, n int) {
	if l.split != nil {
		l.split(c, b, n)
		return
	}
	for i, col := range l.columns {
		take(c[i], b, col.at, col.n, l.Size, n)
	}
}

// join is the inverse of cut.
func (l *Layout) join(b []byte, c *columns, n int) {
	if l.merge != nil {
		l.merge(b, c, n)
		return
	}
	for i, col := range l.columns {
		put(b, c[i], col.at, col.n, l.Size, n)
	}
}

// take copies w bytes from at on of each of n structs of size bytes to dst; put is its inverse.
func take(dst, b []byte, at, w, size, n int) {
	switch {
	case w == size:
		copy(dst, b[:n*size])
	case w == 1:
		for i := range dst[:n] {
			dst[i] = b[at]
			at += size
		}
	default:
		for i := range n {
			copy(dst[i*w:(i+1)*w], b[i*size+at:])
		}
	}
}

func put(b, src []byte, at, w, size, n int) {
	switch {
	case w == size:
		copy(b, src[:n*size])
	case w == 1:
		for _, v := range src[:n] {
			b[at] = v
			at += size
		}
	default:
		for i := range n {
			copy(b[i*size+at:i*size+at+w], src[i*w:])
		}
	}
}
