package format

import (
	"math"
	"math/bits"
)

// mul returns a×b for non-negative a and b; ok is false if that overflows.
func mul(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	return int64(lo), a >= 0 && b >= 0 && hi == 0 && lo <= math.MaxInt64
}

// Elements returns the number of elements of a shape; ok is false if a dimension is negative or the number overflows.
func Elements(shape []int64) (n int64, ok bool) {
	n = 1
	for _, d := range shape {
		if d == 0 {
			n = 0
		}
	}
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if n, ok = mul(n, d); !ok {
			return 0, false
		}
	}
	return n, true
}

// Extent returns the bytes from the first element to the end of the last one of a tensor whose elements are
// width bytes wide. A nil stride means contiguous. ok is false if a number is negative or overflows.
func Extent(shape, stride []int64, width int) (n int64, ok bool) {
	elements, ok := Elements(shape)
	if !ok || elements == 0 {
		return 0, ok
	}
	if stride == nil {
		return mul(elements, int64(width))
	}
	last := int64(0)
	for i, d := range shape {
		step, ok := mul(d-1, stride[i])
		if !ok || step > math.MaxInt64-1-last {
			return 0, false
		}
		last += step
	}
	return mul(last+1, int64(width))
}

// Contiguous reports whether stride is that of a contiguous tensor (outermost first) of the given shape.
// The strides of dimensions of 1 do not matter; an empty tensor is contiguous.
func Contiguous(shape, stride []int64) bool {
	if n, ok := Elements(shape); !ok || n == 0 {
		return ok
	}
	want := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && stride[i] != want {
			return false
		}
		want *= shape[i] // no overflow: the product is at most Elements
	}
	return true
}
