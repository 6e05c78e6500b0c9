package view

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"coral/delta/format"
)

// gather fills b with elements of a strided tensor in row-major order, beginning with byte off of these.
//
// The range of elements is cut into boxes. A box is read in the order in which it lies in the source, through a window,
// whatever its order in the view: a transposed matrix takes one pass over the rows that hold wanted elements for each read, and never an
// element at a time from blocks that have to be decoded again.
func (f *File) gather(ctx context.Context, p *part, b []byte, off int64) error {
	width := int64(p.t.DType.Width())
	g := gatherer{f: f, ctx: ctx, p: p, width: width, win: windows.Get().(*[windowBytes]byte)}
	defer windows.Put(g.win)
	var one [16]byte
	if in := off % width; in != 0 { // the end of an element
		g.dst = one[:width]
		if err := g.elements(0, 0, off/width, off/width+1, 0); err != nil {
			return err
		}
		n := copy(b, one[in:width])
		b, off = b[n:], off+int64(n)
	}
	n := int64(len(b)) / width
	if n > 0 {
		g.dst = b[:n*width]
		if err := g.elements(0, 0, off/width, off/width+n, 0); err != nil {
			return err
		}
	}
	if rest := b[n*width:]; len(rest) > 0 { // the begin of one
		g.dst = one[:width]
		if err := g.elements(0, 0, off/width+n, off/width+n+1, 0); err != nil {
			return err
		}
		copy(rest, one[:])
	}
	return nil
}

// gatherer gathers one range.
type gatherer struct {
	f     *File
	ctx   context.Context
	p     *part
	width int64
	dst   []byte

	win      *[windowBytes]byte
	from, to int64 // what of the source, in bytes from the tensor's begin, is in win
}

// axis is a dimension of a box: so many elements, so far apart in the source and in dst, in elements.
type axis struct {
	n, src, dst int64
}

// elements gathers those numbered lo to hi-1 in row-major order of dimensions dim and up, whose first element is at src (in elements), to
// dst element out. It recurses once for each dimension, twice where the range begins and ends inside rows; there are at most 64.
func (g *gatherer) elements(dim int, src, lo, hi, out int64) error {
	shape, stride := g.p.t.Shape, g.p.t.Stride
	inner, ok := format.Elements(shape[dim+1:]) // of one index of dim; never 0, as the tensor is not empty
	if !ok || inner == 0 {
		return nil
	}
	first, last := lo/inner, (hi-1)/inner
	if first == last && inner > 1 {
		return g.elements(dim+1, src+first*stride[dim], lo-first*inner, hi-first*inner, out)
	}
	if in := lo % inner; in != 0 {
		if err := g.elements(dim+1, src+first*stride[dim], in, inner, out); err != nil {
			return err
		}
		out += inner - in
		first++
	}
	whole := hi/inner - first
	if whole > 0 {
		if err := g.box(dim, whole, src+first*stride[dim], out, inner); err != nil {
			return err
		}
		out += whole * inner
	}
	if in := hi % inner; in != 0 {
		return g.elements(dim+1, src+(hi/inner)*stride[dim], 0, in, out)
	}
	return nil
}

// box gathers n whole indices of dimension dim.
func (g *gatherer) box(dim int, n, src, out, inner int64) error {
	var room [format.MaxDims]axis
	axes := room[:0]
	axes = append(axes, axis{n, g.p.t.Stride[dim], inner})
	step := inner
	for i := dim + 1; i < len(g.p.t.Shape); i++ {
		step /= g.p.t.Shape[i]
		if g.p.t.Shape[i] > 1 {
			axes = append(axes, axis{g.p.t.Shape[i], g.p.t.Stride[i], step})
		}
	}
	slices.SortStableFunc(axes, func(a, b axis) int { return cmp.Compare(b.src, a.src) })
	run := axes[len(axes)-1]
	axes = axes[:len(axes)-1]
	var count [format.MaxDims]int64
	for {
		if err := g.run(run, src, out); err != nil {
			return err
		}
		i := len(axes) - 1
		for ; i >= 0; i-- { // the next place, innermost first
			a := axes[i]
			src, out = src+a.src, out+a.dst
			if count[i]++; count[i] < a.n {
				break
			}
			src, out, count[i] = src-a.n*a.src, out-a.n*a.dst, 0
		}
		if i < 0 {
			return nil
		}
	}
}

// run gathers elements along one axis.
func (g *gatherer) run(a axis, src, out int64) error {
	most := (windowBytes/g.width-1)/max(a.src, 1) + 1 // of them lie in a window
	for a.n > 0 {
		n := min(a.n, most)
		in, err := g.window(src*g.width, ((n-1)*a.src+1)*g.width)
		if err != nil {
			return err
		}
		g.copy(in, n, a.src, a.dst, out)
		a.n, src, out = a.n-n, src+n*a.src, out+n*a.dst
	}
	return nil
}

// window returns bytes from to from+n of the tensor in the source, n at most windowBytes. What follows is read too where reads come
// one behind the other.
func (g *gatherer) window(from, n int64) ([]byte, error) {
	if from >= g.from && from+n <= g.to {
		return g.win[from-g.from:][:n], nil
	}
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	size := n
	if g.to == 0 || from >= g.from && from-g.to < windowBytes {
		size = windowBytes
	}
	size = min(size, g.p.t.Length-from)
	g.from, g.to = 0, 0
	if err := g.f.full(g.ctx, g.win[:size], g.p.t.Offset+from); err != nil {
		return nil, err
	}
	g.from, g.to = from, from+size
	return g.win[:n], nil
}

// copy takes n elements that are step apart in in to places that are to apart in dst, from element out on.
func (g *gatherer) copy(in []byte, n, step, to, out int64) {
	w := g.width
	dst := g.dst[out*w:]
	if step == 1 && to == 1 {
		copy(dst, in[:n*w])
		return
	}
	switch w {
	case 1:
		for i := range n {
			dst[i*to] = in[i*step]
		}
	case 2:
		for i := range n {
			binary.LittleEndian.PutUint16(dst[i*to*2:], binary.LittleEndian.Uint16(in[i*step*2:]))
		}
	case 4:
		for i := range n {
			binary.LittleEndian.PutUint32(dst[i*to*4:], binary.LittleEndian.Uint32(in[i*step*4:]))
		}
	default: // 8
		for i := range n {
			binary.LittleEndian.PutUint64(dst[i*to*8:], binary.LittleEndian.Uint64(in[i*step*8:]))
		}
	}
}
