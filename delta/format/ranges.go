package format

import (
	"cmp"
	"slices"

	"coral/delta/format/dtype"
)

// Range is a tensor of a file whose header names ranges of bytes in any order, the same one several times perhaps.
type Range struct {
	Name   string
	DType  dtype.Kind
	Packed int // as of Builder.AddData
	Shape  []int64
	Sparse bool // the bytes are the elements that are kept, fewer than the shape tells
	Offset int64
	Length int64
}

// lookBack is how many tensors of one payload are compared to tell whether a further one is new.
const lookBack = 32

// AddRanges adds tensors and their payloads, and sorts rs. Tensors in the same bytes share a payload, which has the name and kind of the first of them in rs. One that
// overlaps another in part, which no program writes, is left out.
func (b *Builder) AddRanges(rs []Range) {
	slices.SortStableFunc(rs, func(x, y Range) int { return cmp.Or(cmp.Compare(x.Offset, y.Offset), cmp.Compare(y.Length, x.Length)) })
	end := int64(0)
	for i := range rs {
		r := &rs[i]
		switch {
		case r.Offset >= end:
			if b.Full() {
				return
			}
			b.first(r)
			end = max(end, r.Offset+r.Length)
		case r.Offset+r.Length <= end:
			b.again(r, rs[max(0, i-lookBack):i])
		}
	}
}

// first adds r and its payload.
func (b *Builder) first(r *Range) {
	if w := int64(r.DType.Width()); r.Sparse && w > 0 && r.Length%w == 0 && r.Length > 0 {
		b.AddPayload(Payload{Offset: r.Offset, Length: r.Length, DType: r.DType, Name: CleanName(r.Name)})
		return
	}
	b.AddData(r.Name, r.DType, r.Packed, r.Shape, r.Offset, r.Length)
}

// again adds r, in the payload of another, if it is no tensor that was there before: the graphs of one model may name the same ones.
func (b *Builder) again(r *Range, before []Range) {
	if slices.ContainsFunc(before, func(x Range) bool { return x.Offset == r.Offset && x.Name == r.Name && slices.Equal(x.Shape, r.Shape) }) {
		return
	}
	if n, ok := dataLen(r.DType, r.Packed, r.Shape); !r.Sparse && ok && n == r.Length && len(r.Shape) <= MaxDims {
		b.AddTensor(Tensor{Name: CleanName(r.Name), DType: r.DType, Shape: r.Shape, Offset: r.Offset, Length: r.Length})
	}
}
