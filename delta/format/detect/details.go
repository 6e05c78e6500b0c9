package detect

import (
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/pickle"
	"coral/delta/format/torchlegacy"
	"coral/delta/format/torchzip"
)

// MaxDetails bounds the bytes of pickles that Details reads of a file.
const MaxDetails = 4 << 20

// Details returns what a file of size bytes, of the given format, holds beside its tensors: numbers and texts, and what quantised integers stand for. It reads pickles and the
// directory of a ZIP file, and no tensor. It is nil for a format without, and for a file that is damaged; an error is one of reading.
func Details(name string, r io.ReaderAt, size int64) (d *pickle.Details, err error) {
	defer func() { // as try
		if x := recover(); x != nil {
			d, err = nil, nil
		}
	}()
	switch name {
	case format.TorchZip:
		d, err = torchzip.Details(r, size, MaxDetails)
	case format.TorchLegacy:
		d, err = torchlegacy.Details(r, size, MaxDetails)
	default:
		return nil, nil
	}
	if err != nil && !errors.Is(err, format.ErrDamaged) && !errors.Is(err, format.ErrUnknown) {
		return nil, fmt.Errorf("read what is in a file of format %s: %w", name, err)
	}
	return d, nil
}

// HasDetails reports whether files of a format have details.
func HasDetails(name string) bool { return name == format.TorchZip || name == format.TorchLegacy }
