package detect

import (
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/onnx"
	"coral/delta/format/tfbundle"
)

// Companion returns the name of the file in the same directory that tells what is in a file of the given name which has no structure of its own: the
// index of a TensorFlow bundle, the model of a file of ONNX external data. It is empty if there is none for such a name.
func Companion(name string) string {
	if index, _, ok := tfbundle.IndexName(name); ok {
		return index
	}
	if model, ok := onnx.ModelName(name); ok {
		return model
	}
	return ""
}

// ParseData cuts the file of the given name and size bytes by its companion r. It reads nothing of the file itself. Like Parse it
// returns a layout that passes Check, opaque with an error if the companion is damaged or that of another file.
func ParseData(name string, size int64, r io.ReaderAt, companionSize int64) (l *format.Layout, err error) {
	opaque := &format.Layout{Format: format.Opaque}
	defer func() {
		if x := recover(); x != nil {
			l, err = opaque, fmt.Errorf("parse companion of %s: panic: %v: %w", name, x, format.ErrDamaged)
		}
	}()
	if l, err = parseData(name, size, r, companionSize); err == nil {
		err = l.Check(size)
	}
	if err != nil {
		return opaque, fmt.Errorf("parse companion of %s: %w", name, err)
	}
	return l, nil
}

func parseData(name string, size int64, r io.ReaderAt, companionSize int64) (*format.Layout, error) {
	if _, shard, ok := tfbundle.IndexName(name); ok {
		b, err := tfbundle.ReadIndex(r, companionSize)
		if err != nil {
			return nil, err
		}
		return b.Layout(shard, size)
	}
	if _, ok := onnx.ModelName(name); ok {
		return onnx.ParseData(r, companionSize, name, size)
	}
	return nil, format.ErrUnknown
}
