// Package tensor reads the elements of tensors, in row-major order, from any file whose tensors are known: of a commit, of a live tree or of the disk.
package tensor

import (
	"context"
	"io"

	"coral/delta/format"
	"coral/delta/format/detect"
	"coral/vcs/object"
)

// Source is where the bytes of a file come from. content.File and worktree.Handle are Sources.
type Source interface {
	// ReadAt is io.ReaderAt with a context: n < len(p) comes with an error, io.EOF at the end of the file.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// File is a file and the tensors in it.
type File struct {
	Format  string // one of delta/format's names
	Size    int64
	Tensors []object.Tensor // in file order
	src     Source
}

// FromManifest returns the file that a manifest describes.
func FromManifest(src Source, m *object.Manifest) *File {
	return &File{Format: m.Format, Size: m.Size, Tensors: m.Tensors, src: src}
}

// Parse finds the tensors of a file of size bytes by its content. What no parser knows is format.Opaque and has no tensors; the error then says why, and
// wraps format.ErrUnknown, format.ErrDamaged, or comes from src. The file is not nil in any case.
func Parse(ctx context.Context, src Source, size int64) (*File, error) {
	l, err := detect.Parse(readerAt{ctx, src}, size)
	return fromLayout(l, src, size), err
}

func fromLayout(l *format.Layout, src Source, size int64) *File {
	f := &File{Format: l.Format, Size: size, Tensors: make([]object.Tensor, len(l.Tensors)), src: src}
	for i, t := range l.Tensors {
		f.Tensors[i] = object.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Offset: t.Offset, Length: t.Length, Stride: t.Stride}
	}
	return f
}

// Find returns the tensor of a name; of several, the first.
func (f *File) Find(name string) (*object.Tensor, bool) {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i], true
		}
	}
	return nil, false
}

// ReadAt reads the file's bytes.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.src.ReadAt(ctx, p, off)
}

// Bytes returns how many bytes a Reader of t gives: its elements without gaps. Of a kind whose elements have no whole number of bytes it is t.Length.
func Bytes(t *object.Tensor) int64 {
	if t.Stride == nil {
		return t.Length
	}
	n, _ := format.Elements(t.Shape) // was checked when the file was parsed
	return n * int64(t.DType.Width())
}

// readerAt is a Source with a context, for parsers.
type readerAt struct {
	ctx context.Context
	src Source
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.src.ReadAt(r.ctx, p, off)
}

// ReaderAt makes an io.ReaderAt of a Source, for the time of a context.
func ReaderAt(ctx context.Context, src Source) io.ReaderAt { return readerAt{ctx, src} }

// Plain makes a Source of an io.ReaderAt, such as an *os.File.
func Plain(r io.ReaderAt) Source { return plain{r} }

type plain struct{ r io.ReaderAt }

func (p plain) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.ReadAt(b, off)
}
