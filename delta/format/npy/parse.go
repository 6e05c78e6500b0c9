// Package npy cuts NumPy's files: .npy, one array or several one behind the other, and .npz, a ZIP file of them.
//
// An array is a magic, a version, a Python literal that describes it, and its elements. The elements are a payload:
// Bytes for big-endian, structured and text dtypes. Arrays of pickled objects are not cut.
package npy

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/scan"
	"coral/delta/format/zipdir"
)

const (
	kind    = format.NPY
	kindZip = format.NPZ
)

// Name is the name of the array of a .npy file, which has none; the ones behind it are array.1, array.2, ….
const Name = "array"

// Parser is the format.Parser of .npy files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// ZipParser is the format.Parser of .npz files.
type ZipParser struct{}

// Name implements format.Parser.
func (ZipParser) Name() string { return kindZip }

// Parse implements format.Parser.
func (ZipParser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return ParseZip(r, size) }

// Parse cuts a .npy file of size bytes. It returns format.ErrUnknown if the magic is missing.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	l := layout{Layout: format.Layout{Format: kind}}
	s := scan.New(r, 0, size)
	for i := 0; !l.full(); i++ {
		t, err := array(s, size)
		if i > 0 && (errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrUnknown)) {
			break // something else follows the arrays
		}
		if err != nil {
			return nil, err
		}
		t.Name = Name
		if i > 0 {
			t.Name += "." + strconv.Itoa(i)
		}
		l.add(t)
		if t.Offset+t.Length == size {
			break
		}
		s.Reset(t.Offset+t.Length, size)
	}
	return &l.Layout, nil
}

// ParseZip cuts a .npz file of size bytes: every stored .npy entry. It returns format.ErrUnknown
// if the file is no ZIP file or has no such entry, deflated ones included.
func ParseZip(r io.ReaderAt, size int64) (*format.Layout, error) {
	if err := zipdir.Want(r, size); err != nil {
		return nil, err
	}
	dir, err := zipdir.Read(r, size)
	if err != nil {
		return nil, err
	}
	arrays := 0
	for i := range dir.Entries {
		if strings.HasSuffix(dir.Entries[i].Name, ".npy") {
			arrays++
		}
	}
	if arrays == 0 {
		return nil, format.ErrUnknown
	}
	if err := dir.Resolve(r); err != nil {
		return nil, err
	}
	l := layout{Layout: format.Layout{Format: kindZip}}
	s := scan.New(r, 0, 0)
	for i := 0; i < len(dir.Entries) && !l.full(); i++ {
		if err := l.entry(s, &dir.Entries[i]); err != nil {
			return nil, err
		}
	}
	return &l.Layout, nil
}

// layout is a layout in the making.
type layout struct {
	format.Layout
	dims, names int
}

// full reports whether the layout has about as much as one may have. What follows in the file is not cut.
func (l *layout) full() bool {
	return len(l.Tensors) >= format.MaxTensors || l.dims > format.MaxAllDims-format.MaxDims || l.names > format.MaxNames-format.MaxNameBytes
}

// entry adds the array of one entry. One that is deflated or damaged costs nothing but its own payload.
func (l *layout) entry(s *scan.Reader, e *zipdir.Entry) error {
	name, ok := strings.CutSuffix(e.Name, ".npy")
	if !ok || !e.Stored() {
		return nil
	}
	end := e.Data + e.Packed
	s.Reset(e.Data, end)
	t, err := array(s, end)
	if errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	t.Name = format.CleanName(name)
	l.add(t)
	return nil
}

func (l *layout) add(t format.Tensor) {
	l.dims += len(t.Shape)
	l.names += len(t.Name)
	l.Tensors = append(l.Tensors, t)
	if t.Length > 0 {
		l.Payloads = append(l.Payloads, format.Payload{Offset: t.Offset, Length: t.Length, DType: t.DType, Name: t.Name})
	}
}
