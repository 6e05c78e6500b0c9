package tensor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/object"
)

// chunk is how much of a contiguous tensor is read at a time.
const chunk = 256 << 10

// Reader gives the bytes of a tensor in row-major order, whatever its strides, as an io.Reader. It holds at most chunk bytes, or for a strided tensor those of
// its window cache (64 MiB). Not safe for concurrent use; Readers of one File are independent.
type Reader struct {
	ctx   context.Context
	src   Source
	t     *object.Tensor
	left  int64 // bytes not given yet
	off   int64 // contiguous: next byte in the file
	walk  *walk // strided
	buf   []byte
	ready []byte // part of buf
	quant *quant // of a block-quantised kind, once Floats was called
}

// Reader returns a reader of one of f's tensors.
func (f *File) Reader(ctx context.Context, t *object.Tensor) *Reader {
	r := &Reader{ctx: ctx, src: f.src, t: t, left: Bytes(t), off: t.Offset}
	if t.Stride != nil && !format.Contiguous(t.Shape, t.Stride) {
		r.walk = newWalk(ctx, f.src, t)
	}
	return r
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 && len(r.ready) == 0 {
		return 0, io.EOF
	}
	if len(r.ready) == 0 && len(p) >= chunk && r.walk == nil { // straight to where it goes
		n := int(min(int64(len(p)), r.left))
		if err := readFull(r.ctx, r.src, p[:n], r.off); err != nil {
			return 0, r.error(err)
		}
		r.off, r.left = r.off+int64(n), r.left-int64(n)
		return n, nil
	}
	if len(r.ready) == 0 {
		if err := r.fill(); err != nil {
			return 0, r.error(err)
		}
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// fill reads the next chunk.
func (r *Reader) fill() error {
	if r.buf == nil {
		r.buf = make([]byte, min(r.left, chunk))
	}
	b := r.buf[:min(int64(len(r.buf)), r.left)]
	var err error
	if r.walk != nil {
		b, err = r.walk.gather(b)
	} else {
		err = readFull(r.ctx, r.src, b, r.off)
	}
	if err != nil {
		return err
	}
	r.off, r.left, r.ready = r.off+int64(len(b)), r.left-int64(len(b)), b
	return nil
}

func (r *Reader) error(err error) error {
	return fmt.Errorf("read tensor %s: %w", r.t.Name, err)
}

// Floats reads the next values as float64: n < len(dst) only at the end, with io.EOF, or with the error that stopped it. A complex element is two values.
// Block-quantised kinds give what they stand for. The tensor's kind must be Numbers, else it is errs.Unsupported.
func (r *Reader) Floats(dst []float64) (int, error) {
	w := values.Width(r.t.DType)
	if w == 0 && Numbers(r.t.DType) {
		return r.dequantise(dst)
	}
	if w == 0 {
		return 0, r.error(fmt.Errorf("elements of kind %s are no plain numbers: %w", r.t.DType, errs.Unsupported))
	}
	done := 0
	for done < len(dst) {
		if len(r.ready) == 0 {
			if r.left == 0 {
				return done, io.EOF
			}
			if err := r.fill(); err != nil {
				return done, r.error(err)
			}
		}
		n := min(len(dst)-done, len(r.ready)/w)
		if n == 0 { // Read left part of an element
			return done, r.error(fmt.Errorf("an element was read in part: %w", errs.Invalid))
		}
		values.Decode(dst[done:done+n], r.ready, r.t.DType)
		r.ready = r.ready[n*w:]
		done += n
	}
	return done, nil
}

// readFull reads all of p.
func readFull(ctx context.Context, src Source, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := src.ReadAt(ctx, p, off)
		p, off = p[n:], off+int64(n)
		switch {
		case len(p) == 0:
			return nil
		case errors.Is(err, io.EOF) || err == nil && n == 0:
			return fmt.Errorf("%d bytes at %d are missing: %w", len(p), off, io.ErrUnexpectedEOF)
		case err != nil:
			return err
		}
	}
	return nil
}
