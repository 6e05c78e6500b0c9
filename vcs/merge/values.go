package merge

import (
	"context"
	"errors"
	"io"

	"coral/delta/format/values"
	"coral/vcs/merge/method"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// windowLen is how many elements of each side are in memory.
const windowLen = 16 << 10

// buffers are a merger's, for all its tensors.
type buffers struct {
	a, b  []byte // to compare
	base  []float64
	sides [][]float64
	out   []float64
	bytes []byte
}

// operands gives the values of one tensor on all sides; it is a method.Source.
type operands struct {
	m     *merger
	ctx   context.Context // of the merge that it lives in
	p     *plan
	a     *action
	count int64
}

var _ method.Source = (*operands)(nil)

// Name, Len and Sides implement method.Source.
func (o *operands) Name() string { return o.a.name }
func (o *operands) Len() int64   { return o.count }
func (o *operands) Sides() int   { return len(o.p.sides) }

// reader opens the tensor in a version.
func (o *operands) reader(v *version) *tensor.Reader {
	t := v.get(o.a.name)
	if o.a.flat {
		t = flat(t)
	}
	return v.Reader(o.ctx, t)
}

// flat is a tensor as a run of elements in the order of their bytes.
func flat(t *object.Tensor) *object.Tensor {
	f := *t
	f.Stride = nil
	f.Shape = []int64{t.Length / int64(t.DType.Width())}
	return &f
}

// Windows implements method.Source.
func (o *operands) Windows(fn func(w method.Window) error) error {
	b := &o.m.buf
	for len(b.sides) < len(o.p.sides) {
		b.sides = append(b.sides, make([]float64, windowLen))
	}
	readers := make([]*tensor.Reader, len(o.p.sides))
	for i, v := range o.p.sides {
		readers[i] = o.reader(v)
	}
	var base *tensor.Reader
	if o.a.spec.NeedsBase() {
		base = o.reader(o.p.base)
		if b.base == nil {
			b.base = make([]float64, windowLen)
		}
	}
	w := method.Window{Sides: make([][]float64, len(readers))}
	for w.At = 0; w.At < o.count; w.At += windowLen {
		n := int(min(windowLen, o.count-w.At))
		for i, r := range readers {
			w.Sides[i] = b.sides[i][:n]
			if err := floatsFull(r, w.Sides[i]); err != nil {
				return err
			}
		}
		if base != nil {
			w.Base = b.base[:n]
			if err := floatsFull(base, w.Base); err != nil {
				return err
			}
		}
		if err := fn(w); err != nil {
			return err
		}
	}
	return nil
}

// floatsFull reads all of dst.
func floatsFull(r *tensor.Reader, dst []float64) error {
	n, err := r.Floats(dst)
	if n == len(dst) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// compute writes the bytes of a computed tensor.
func (m *merger) compute(ctx context.Context, p *plan, a *action, dst io.Writer) error {
	width := values.Width(a.out.DType)
	length := a.out.Length
	if !a.flat {
		length = tensor.Bytes(a.out)
	}
	o := &operands{m: m, ctx: ctx, p: p, a: a, count: length / int64(width)}
	k, err := a.spec.Prepare(o)
	if err != nil {
		return err
	}
	if m.buf.out == nil {
		m.buf.out, m.buf.bytes = make([]float64, windowLen), make([]byte, 8*windowLen)
	}
	return o.Windows(func(w method.Window) error {
		out := m.buf.out[:len(w.Sides[0])]
		k.Apply(out, w)
		b := m.buf.bytes[:len(out)*width]
		values.Encode(b, out, a.out.DType)
		_, err := dst.Write(b)
		return err
	})
}
