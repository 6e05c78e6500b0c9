package bench

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"coral/delta/format"
	"coral/delta/format/detect"
)

// Exactness says how what came back differs from what was stored. JSON names are a promise.
type Exactness struct {
	Files         int  `json:"files"`
	FilesDiffer   int  `json:"files_differ"` // in any byte, or missing
	FilesMissing  int  `json:"files_missing"`
	Tensors       int  `json:"tensors"`             // of the files that differ; all, where a tool gives back tensors and no files
	TensorsDiffer int  `json:"tensors_differ"`      // in a bit, or missing
	NotFiles      bool `json:"not_files,omitempty"` // the tool gives back tensors only: its files were not compared
}

// Exact reports whether every byte came back.
func (e *Exactness) Exact() bool { return e.FilesDiffer == 0 && e.TensorsDiffer == 0 && !e.NotFiles }

// compare adds the comparison of one file. Where bytes differ, the tensors of both are compared by name.
func (e *Exactness) compare(want, got string) error {
	e.Files++
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(got)
	if errors.Is(err, fs.ErrNotExist) {
		e.FilesDiffer++
		e.FilesMissing++
		return nil
	}
	if err != nil {
		return err
	}
	defer b.Close()
	same, err := equal(a, b)
	if err != nil || same {
		return err
	}
	e.FilesDiffer++
	return e.compareTensors(a, b)
}

const compareBuffer = 1 << 20

// equal compares two readers to their ends.
func equal(a, b io.Reader) (bool, error) {
	x, y := make([]byte, compareBuffer), make([]byte, compareBuffer)
	for {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if end(err) && end(err2) {
			return true, nil
		}
		if err = firstError(err, err2); err != nil {
			return false, err
		}
	}
}

func end(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil && !end(err) {
			return err
		}
	}
	return nil
}

// compareTensors counts the tensors of a that b has not, or not with the same dtype, length and bits. Files without tensors add nothing.
func (e *Exactness) compareTensors(a, b *os.File) error {
	la, err := layoutOf(a)
	if err != nil || la == nil {
		return err
	}
	lb, err := layoutOf(b)
	if err != nil {
		return err
	}
	other := map[string]format.Tensor{}
	if lb != nil {
		for _, t := range lb.Tensors {
			other[t.Name] = t
		}
	}
	for _, t := range la.Tensors {
		e.Tensors++
		o, ok := other[t.Name]
		if ok && o.DType == t.DType && o.Length == t.Length {
			if ok, err = equal(io.NewSectionReader(a, t.Offset, t.Length), io.NewSectionReader(b, o.Offset, o.Length)); err != nil {
				return err
			}
		} else {
			ok = false
		}
		if !ok {
			e.TensorsDiffer++
		}
	}
	return nil
}

// layoutOf parses a file; nil if no tensors are found in it.
func layoutOf(f *os.File) (*format.Layout, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l, err := detect.Parse(f, info.Size())
	if errors.Is(err, format.ErrUnknown) || errors.Is(err, format.ErrDamaged) {
		return nil, nil
	}
	return l, err
}
