package view

import (
	"context"
	"fmt"
	"io"
	"sort"
	"sync"

	"coral/delta/format/dequant"
	"coral/internal/errs"
	"coral/vcs/tensor"
)

// File reads a view. Safe for concurrent use if its source is. It needs no closing.
type File struct {
	p   *Plan
	src tensor.Source
}

// Open returns a reader of the view of src, which must be the file that the plan was made of.
func (p *Plan) Open(src tensor.Source) *File { return &File{p, src} }

// Size returns the length of the view.
func (f *File) Size() int64 { return f.p.size }

// ReadAt fills b from off, as io.ReaderAt: fewer bytes only at the end, with io.EOF, or with the error of the source.
func (f *File) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read view at %d: %w", off, errs.Invalid)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if off >= f.p.size {
		return 0, io.EOF
	}
	short := int64(len(b)) > f.p.size-off
	if short {
		b = b[:f.p.size-off]
	}
	n := 0
	if off < int64(len(f.p.header)) {
		n = copy(b, f.p.header[off:])
	}
	parts := f.p.parts
	for i := sort.Search(len(parts), func(i int) bool { return parts[i].end > off+int64(n) }); n < len(b); i++ {
		at := off + int64(n)
		piece := b[n:][:min(int64(len(b)-n), parts[i].end-at)]
		if err := f.part(ctx, &parts[i], piece, at-parts[i].start); err != nil {
			return n, fmt.Errorf("read view at %d, tensor %q: %w", at, parts[i].t.Name, err)
		}
		n += len(piece)
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// part fills b from a tensor's bytes in the view, beginning with byte off of them.
func (f *File) part(ctx context.Context, p *part, b []byte, off int64) error {
	switch p.how {
	case direct:
		return f.full(ctx, b, p.t.Offset+off)
	case blocks:
		return f.blocks(ctx, p, b, off)
	default:
		return f.gather(ctx, p, b, off)
	}
}

// full fills b from the source or fails.
func (f *File) full(ctx context.Context, b []byte, off int64) error {
	n, err := f.src.ReadAt(ctx, b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return fmt.Errorf("the original ends at %d: %w", off+int64(n), errs.Corrupt)
	}
	return err
}

// windowBytes is what is read of the source at once where it is not read as it is.
const windowBytes = 256 << 10

// windows are the buffers of that size.
var windows = sync.Pool{New: func() any { return new([windowBytes]byte) }}

// blocks fills b from dequantised blocks. Whole ones are decoded into b; of the first and the last, a part may be wanted.
func (f *File) blocks(ctx context.Context, p *part, b []byte, off int64) error {
	elements, size, _ := dequant.Block(p.t.DType)
	whole := int64(4 * elements) // of a block in the view
	w := windows.Get().(*[windowBytes]byte)
	defer windows.Put(w)
	var one [4 * dequant.MaxElements]byte
	for len(b) > 0 {
		in := off % whole
		src := p.t.Offset + off/whole*int64(size)
		n := int64(len(b)) / whole
		if in != 0 || n == 0 { // a part of one block
			if err := f.full(ctx, w[:size], src); err != nil {
				return err
			}
			if err := dequant.Decode(one[:whole], w[:size], p.t.DType); err != nil {
				return err
			}
			done := copy(b, one[in:whole])
			b, off = b[done:], off+int64(done)
			continue
		}
		n = min(n, int64(windowBytes/size))
		if err := f.full(ctx, w[:n*int64(size)], src); err != nil {
			return err
		}
		if err := dequant.Decode(b[:n*whole], w[:n*int64(size)], p.t.DType); err != nil {
			return err
		}
		b, off = b[n*whole:], off+n*whole
	}
	return nil
}
