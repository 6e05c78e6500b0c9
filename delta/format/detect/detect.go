// Package detect finds out what kind of model file a file is, by its bytes and never by its name, and cuts it.
package detect

import (
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/ctranslate2"
	"coral/delta/format/gguf"
	"coral/delta/format/hdf5"
	"coral/delta/format/msgpack"
	"coral/delta/format/npy"
	"coral/delta/format/onnx"
	"coral/delta/format/safetensors"
	"coral/delta/format/tfbundle"
	"coral/delta/format/tflite"
	"coral/delta/format/torchlegacy"
	"coral/delta/format/torchzip"
)

// Parsers returns the parsers in the order in which they are tried: those whose magic is weak come last, and those that read more than a few bytes to
// find out come behind safetensors, so that damage in a tensor does not hide the header before it.
func Parsers() []format.Parser {
	return []format.Parser{
		torchzip.Parser{}, npy.ZipParser{}, hdf5.ZipParser{}, gguf.Parser{}, npy.Parser{}, torchlegacy.Parser{}, safetensors.Parser{},
		hdf5.Parser{}, tflite.Parser{}, msgpack.Parser{}, onnx.Parser{}, ctranslate2.Parser{}, tfbundle.Parser{},
	}
}

// Parse returns the layout of a file of size bytes. It always returns one that passes Check: when no
// parser knows the file, when it is damaged, or when reading it fails, one of format.Opaque without payloads, with an error that
// is format.ErrUnknown, wraps format.ErrDamaged, or is that of r. A layout of a known format may lack payloads, too.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	opaque := &format.Layout{Format: format.Opaque}
	if size <= 0 {
		return opaque, format.ErrUnknown
	}
	for _, p := range Parsers() {
		l, err := try(p, r, size)
		if errors.Is(err, format.ErrUnknown) {
			continue
		}
		if err != nil {
			return opaque, err
		}
		return l, nil
	}
	return opaque, format.ErrUnknown
}

// try runs one parser and checks what it returns. A parser never panics; if one does all the same,
// the file is no worse off than a damaged one.
func try(p format.Parser, r io.ReaderAt, size int64) (l *format.Layout, err error) {
	defer func() {
		if x := recover(); x != nil {
			l, err = nil, fmt.Errorf("parse %s: panic: %v: %w", p.Name(), x, format.ErrDamaged)
		}
	}()
	if l, err = p.Parse(r, size); err != nil {
		return nil, err
	}
	if err := l.Check(size); err != nil {
		return nil, fmt.Errorf("parse %s: %w", p.Name(), err)
	}
	return l, nil
}
