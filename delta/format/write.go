package format

import (
	"fmt"
	"io"
	"unicode/utf8"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// Item is a tensor that a writer is to write: contiguous, row-major, little endian.
type Item struct {
	Name   string
	DType  dtype.Kind
	Shape  []int64 // outermost first
	Length int64   // bytes
	TiedTo int     // 1 + the index of an earlier item that is the same storage, dtype and shape; 0: none. Containers that know no ties write it again
}

// Fill writes the bytes of item i, exactly its Length, to w.
type Fill func(i int, w io.Writer) error

// CheckItems refuses what no container holds: too many tensors, a name that is empty, no UTF-8, too long or there twice, a shape that does not fit
// the length, a bad tie. Errors are errs.Invalid.
func CheckItems(items []Item) error {
	if len(items) > MaxTensors {
		return fmt.Errorf("%d tensors, at most %d: %w", len(items), MaxTensors, errs.Invalid)
	}
	seen := make(map[string]bool, len(items))
	for i := range items {
		it := &items[i]
		switch {
		case it.Name == "" || len(it.Name) > MaxNameBytes || !utf8.ValidString(it.Name):
			return fmt.Errorf("tensor %q: the name is empty, too long or not UTF-8: %w", it.Name, errs.Invalid)
		case seen[it.Name]:
			return fmt.Errorf("tensor %q: there are two of this name: %w", it.Name, errs.Invalid)
		case len(it.Shape) > MaxDims:
			return fmt.Errorf("tensor %q: %d dimensions, at most %d: %w", it.Name, len(it.Shape), MaxDims, errs.Invalid)
		}
		seen[it.Name] = true
		if err := it.check(); err != nil {
			return err
		}
		if k := it.TiedTo; k != 0 && (k < 0 || k > i || items[k-1].TiedTo != 0 || items[k-1].DType != it.DType || items[k-1].Length != it.Length) {
			return fmt.Errorf("tensor %q: tied to number %d, which is no earlier tensor of its kind: %w", it.Name, k, errs.Invalid)
		}
	}
	return nil
}

func (it *Item) check() error {
	n, ok := Elements(it.Shape)
	w := int64(it.DType.Width())
	if !ok || it.Length < 0 || w > 0 && (n > it.Length/w || n*w != it.Length) {
		return fmt.Errorf("tensor %q: %s of shape %v in %d bytes: %w", it.Name, it.DType, it.Shape, it.Length, errs.Invalid)
	}
	return nil
}

// Exactly calls fn with a writer to w that takes n bytes, and fails with errs.Invalid if fn writes more or fewer: all that follows would be misplaced.
func Exactly(w io.Writer, n int64, fn func(w io.Writer) error) error {
	e := exact{w: w, left: n}
	if err := fn(&e); err != nil {
		return err
	}
	if e.left != 0 {
		return fmt.Errorf("%d bytes are missing of %d: %w", e.left, n, errs.Invalid)
	}
	return nil
}

type exact struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (e *exact) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than were announced: %w", int64(len(p))-e.left, errs.Invalid)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}
