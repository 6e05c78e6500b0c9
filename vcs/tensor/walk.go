package tensor

import (
	"context"

	"coral/vcs/object"
)

// A strided tensor is gathered element by element (or run by run, where the innermost elements are adjacent) through a cache of windows of the file. The windows of
// a column of a transposed matrix stay until the walk has used them up: 16,384 of 4 KiB, found by a hash, since strides are often powers of two.
const (
	windowBits = 12
	window     = 1 << windowBits
	maxWindows = 1 << 14
)

// walk is a row-major walk over a strided tensor.
type walk struct {
	ctx    context.Context
	src    Source
	base   int64 // of the tensor in the file
	end    int64
	width  int64
	shape  []int64
	stride []int64 // bytes
	index  []int64
	run    int64 // bytes of the innermost dimensions that are contiguous
	pos    int64 // of the run in work, from base
	done   int64 // bytes of it that were given
	slots  []slot
}

type slot struct {
	at int64 // window number + 1; 0: empty
	b  []byte
}

// newWalk prepares a walk. The tensor's table was checked (format.Layout.Check): numbers neither overflow nor leave the file.
func newWalk(ctx context.Context, src Source, t *object.Tensor) *walk {
	w := &walk{ctx: ctx, src: src, base: t.Offset, end: t.Offset + t.Length, width: int64(t.DType.Width())}
	w.run = w.width
	dims := len(t.Shape)
	for dims > 0 && (t.Shape[dims-1] == 1 || t.Stride[dims-1]*w.width == w.run) {
		w.run *= t.Shape[dims-1]
		dims--
	}
	for i := range dims {
		w.shape = append(w.shape, t.Shape[i])
		w.stride = append(w.stride, t.Stride[i]*w.width)
	}
	w.index = make([]int64, dims)
	n := 1
	for n < maxWindows && int64(n)*window < t.Length+window {
		n *= 2
	}
	w.slots = make([]slot, n)
	return w
}

// gather fills p with the next bytes and returns it. p is not longer than what is left.
func (w *walk) gather(p []byte) ([]byte, error) {
	for filled := 0; filled < len(p); {
		n := min(int64(len(p)-filled), w.run-w.done)
		if err := w.read(p[filled:filled+int(n)], w.base+w.pos+w.done); err != nil {
			return nil, err
		}
		filled += int(n)
		if w.done += n; w.done == w.run {
			w.step()
		}
	}
	return p, nil
}

// step goes on to the next run.
func (w *walk) step() {
	w.done = 0
	for i := len(w.index) - 1; i >= 0; i-- {
		w.index[i]++
		w.pos += w.stride[i]
		if w.index[i] < w.shape[i] {
			return
		}
		w.pos -= w.index[i] * w.stride[i]
		w.index[i] = 0
	}
}

// read reads through the windows.
func (w *walk) read(p []byte, off int64) error {
	if len(p) >= window {
		return readFull(w.ctx, w.src, p, off)
	}
	for len(p) > 0 {
		k := off >> windowBits
		s := &w.slots[uint64(k)*0x9e3779b97f4a7c15>>32&uint64(len(w.slots)-1)]
		from := max(k<<windowBits, w.base) // nothing outside the tensor is read
		if s.at != k+1 {
			s.at = 0
			to := min((k+1)<<windowBits, w.end)
			if cap(s.b) < int(to-from) {
				s.b = make([]byte, window)
			}
			s.b = s.b[:to-from]
			if err := readFull(w.ctx, w.src, s.b, from); err != nil {
				return err
			}
			s.at = k + 1
		}
		n := copy(p, s.b[off-from:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}
