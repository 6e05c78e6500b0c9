package pickle

import (
	"math"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// Place returns t as it lies in a file whose bytes off to off+length are its storage. big says that the file is
// big-endian. ok is false if the storage is too short, or if the shape does not tell the length.
func (t *Tensor) Place(off, length int64, big bool) (out format.Tensor, ok bool) {
	w := t.Kind.Width()
	if w == 0 || t.Kind == dtype.Bytes {
		return out, false
	}
	n, ok := format.Extent(t.Shape, t.Stride, w)
	if !ok || t.Offset > math.MaxInt64/int64(w) {
		return out, false
	}
	first := t.Offset * int64(w)
	if first > length || n > length-first {
		return out, false
	}
	out = format.Tensor{Name: t.Name, DType: t.Kind, Shape: t.Shape, Offset: off + first, Length: n, Stride: t.Stride}
	if big && w > 1 {
		out.DType = dtype.Bytes // every kind is little endian
	}
	return out, true
}
