package torchzip

import (
	"errors"
	"io"
	"slices"

	"coral/delta/format"
	"coral/delta/format/zipdir"
)

// Parse cuts a file of size bytes. It returns format.ErrUnknown for anything but a ZIP file with a data.pkl.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	if err := zipdir.Want(r, size); err != nil {
		return nil, err
	}
	archives, err := read(r, size)
	if err != nil {
		return nil, err
	}
	c := cutter{r: r, layout: &format.Layout{Format: format.TorchZip}, pickles: format.MaxHeader}
	for i, a := range archives {
		if err := a.dir.Resolve(r); err != nil {
			return nil, err
		}
		if err := c.archive(a, i, len(archives)); err != nil {
			return nil, err
		}
	}
	c.layout.Sort()
	return c.layout, nil
}

// read returns the archives of the file in file order. What stands before the first one, if anything, is not looked at.
func read(r io.ReaderAt, size int64) ([]*archive, error) {
	var out []*archive
	entries, bytes := 0, int64(0)
	for end := size; end > 0; {
		dir, err := zipdir.Read(r, end)
		if errors.Is(err, format.ErrDamaged) && len(out) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		a := newArchive(dir)
		entries += len(dir.Entries)
		bytes += dir.Size
		if a == nil || entries > format.MaxTensors || bytes > zipdir.MaxDirectory {
			break
		}
		out = append(out, a)
		end = dir.Begin // less than end: end records lie between
	}
	if len(out) == 0 {
		return nil, format.ErrUnknown
	}
	slices.Reverse(out)
	return out, nil
}
