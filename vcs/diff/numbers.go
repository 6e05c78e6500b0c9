package diff

import (
	"coral/delta/format/dequant"
	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// unitOf returns how many values of kind k lie together and in how many bytes: one of a plain kind, a block of a quantised one (a power of two, at
// most dequant.MaxElements). 0, 0: elements of k are no numbers that we can read.
func unitOf(k dtype.Kind) (n, bytes int) {
	if w := values.Width(k); w > 0 {
		return 1, w
	}
	if n, bytes, ok := dequant.Block(k); ok {
		return n, bytes
	}
	return 0, 0
}

// valuesOf returns how many values a tensor has: elements, of complex kinds twice as many; 0 if they are no numbers, or no whole blocks.
func valuesOf(t *object.Tensor) int64 {
	n, bytes := unitOf(t.DType)
	if n == 0 || tensor.Bytes(t)%int64(bytes) != 0 {
		return 0
	}
	return tensor.Bytes(t) / int64(bytes) * int64(n)
}

// sizeOf returns the bytes of count values of a kind; count is a multiple of its unit.
func sizeOf(k dtype.Kind, count int) int {
	n, bytes := unitOf(k)
	return count / n * bytes
}

// decode sets dst from the bytes of as many values; quantised blocks give what ggml makes of them.
func (w *worker) decode(dst []float64, src []byte, k dtype.Kind) error {
	if values.Supported(k) {
		values.Decode(dst, src, k)
		return nil
	}
	plain := w.grow(&w.plain, 4*len(dst))
	if err := dequant.Decode(plain, src, k); err != nil {
		return err
	}
	values.Decode(dst, plain, dtype.F32)
	return nil
}
