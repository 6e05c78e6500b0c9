package derive

import (
	"fmt"
	"sort"

	"coral/internal/errs"
)

// Need is a range of a source.
type Need struct {
	Source   int // index in Recipe.Sources
	Off, Len int64
}

// Needs appends the ranges of sources that n bytes of output from off are computed from, in the order in which Eval takes their bytes.
// off must be a multiple of the element width, and so must n unless the range ends where the output ends; off+n is at most Len.
func (r *Recipe) Needs(dst []Need, off, n int64) []Need {
	r.overlap(off, n, func(p *Piece, from, _, n int64) {
		for i := range p.Terms {
			t := &p.Terms[i]
			need := Need{Source: t.Source, Off: t.Off, Len: p.Len}
			if p.Op != Transpose { // of a matrix all is needed: a column goes through all rows
				need.Off += r.termLen(p, t, from)
				need.Len = r.termLen(p, t, n)
			}
			dst = append(dst, need)
		}
	})
	return dst
}

// Eval fills dst with the output from off. in holds the bytes of Needs(nil, off, len(dst)), one slice each. A range that is not whole elements
// is errs.Invalid, and so are slices of other lengths.
func (r *Recipe) Eval(dst []byte, off int64, in [][]byte) (err error) {
	n := int64(len(dst))
	if w := int64(max(r.DType.Width(), 1)); off < 0 || off > r.Len()-n || off%w != 0 || n%w != 0 && off+n != r.Len() {
		return fmt.Errorf("recipe of %d bytes: %d at %d: %w", r.Len(), n, off, errs.Invalid)
	}
	r.overlap(off, n, func(p *Piece, from, at, n int64) {
		k := len(p.Terms)
		for i := range p.Terms {
			want := p.Len
			if p.Op != Transpose {
				want = r.termLen(p, &p.Terms[i], n)
			}
			if err == nil && (i >= len(in) || int64(len(in[i])) != want) {
				err = fmt.Errorf("recipe needs %d bytes of source %d: %w", want, p.Terms[i].Source, errs.Invalid)
			}
		}
		if err != nil {
			return
		}
		out := dst[at : at+n]
		switch p.Op {
		case Gap:
			clear(out)
		case Copy:
			copy(out, in[0])
		case Cast:
			cast(out, in[0], r.DType, p.Terms[0].DType, p.Mode)
		case Linear:
			linear(out, in[:k], r.DType, p)
		case Transpose:
			transpose(out, in[0], p.Rows, r.DType.Width(), int(from))
		}
		in = in[k:]
	})
	return err
}

// overlap calls fn for each piece that n bytes from off touch: from is where in the piece, at where in the n bytes, and n how many.
func (r *Recipe) overlap(off, n int64, fn func(p *Piece, from, at, n int64)) {
	i := sort.Search(len(r.Pieces), func(i int) bool { return r.starts[i+1] > off })
	for end := off + n; i < len(r.Pieces) && r.starts[i] < end; i++ {
		lo, hi := max(off, r.starts[i]), min(end, r.starts[i+1])
		fn(&r.Pieces[i], lo-r.starts[i], lo-off, hi-lo)
	}
}

// transpose fills dst with the columns of the matrix src of elements of width bytes, from byte from of the output on.
func transpose(dst, src []byte, rows, width, from int) {
	stride := len(src) / rows
	e := from / width
	col, row := e/rows, e%rows
	for len(dst) > 0 {
		k := min(rows-row, len(dst)/width)
		at := row*stride + col*width
		switch width {
		case 2:
			for i := range k {
				le.PutUint16(dst[2*i:], le.Uint16(src[at:]))
				at += stride
			}
		case 4:
			for i := range k {
				le.PutUint32(dst[4*i:], le.Uint32(src[at:]))
				at += stride
			}
		default:
			for i := range k {
				copy(dst[width*i:][:width], src[at:])
				at += stride
			}
		}
		dst = dst[k*width:]
		col, row = col+1, 0
	}
}
