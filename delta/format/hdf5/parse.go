package hdf5

import (
	"errors"
	"io"
	"strings"

	"coral/delta/format"
	"coral/delta/format/zipdir"
)

// Parse cuts an HDF5 file of size bytes. It returns format.ErrUnknown if the signature is missing.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	w := walker{layout: &format.Layout{Format: kind}}
	if err := w.file(r, size); err != nil {
		return nil, err
	}
	w.layout.Sort()
	return w.layout, nil
}

// ParseZip cuts a ZIP file of size bytes with stored HDF5 files in it, as Keras 3 saves a model. Names are those of the HDF5 file, so that they are the same in
// a .weights.h5; of several files they begin with the entry's name. It returns format.ErrUnknown for any other file.
func ParseZip(r io.ReaderAt, size int64) (*format.Layout, error) {
	if err := zipdir.Want(r, size); err != nil {
		return nil, err
	}
	dir, err := zipdir.Read(r, size)
	if err != nil {
		return nil, err
	}
	files := 0
	for i := range dir.Entries {
		if isWeights(&dir.Entries[i]) {
			files++
		}
	}
	if files == 0 {
		return nil, format.ErrUnknown
	}
	if err := dir.Resolve(r); err != nil {
		return nil, err
	}
	w := walker{layout: &format.Layout{Format: kindZip}}
	for i := range dir.Entries {
		e := &dir.Entries[i]
		if !isWeights(e) {
			continue
		}
		if w.prefix = ""; files > 1 {
			w.prefix = e.Name + "/"
		}
		if err := w.entry(r, e); err != nil {
			return nil, err
		}
	}
	w.layout.Sort()
	return w.layout, nil
}

func isWeights(e *zipdir.Entry) bool { return strings.HasSuffix(e.Name, ".h5") && e.Stored() }

// entry adds the HDF5 file in a ZIP entry. One that is damaged costs its own tensors.
func (w *walker) entry(r io.ReaderAt, e *zipdir.Entry) error {
	payloads, tensors := len(w.layout.Payloads), len(w.layout.Tensors)
	err := w.file(io.NewSectionReader(r, e.Data, e.Packed), e.Packed)
	if errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrUnknown) {
		w.layout.Payloads, w.layout.Tensors = w.layout.Payloads[:payloads], w.layout.Tensors[:tensors]
		return nil
	}
	for i := range w.layout.Payloads[payloads:] {
		w.layout.Payloads[payloads+i].Offset += e.Data
	}
	for i := range w.layout.Tensors[tensors:] {
		w.layout.Tensors[tensors+i].Offset += e.Data
	}
	return err
}

// walker collects the layout.
type walker struct {
	f           *file
	layout      *format.Layout
	prefix      string // of all names
	dims, names int
	paths       int // bytes of all paths that were met
}

// object is one that a group links to.
type object struct {
	path string
	addr uint64
}

// file adds the datasets of one HDF5 file. An object that is reached twice keeps the path that comes first, depth first in the order of the groups.
func (w *walker) file(r io.ReaderAt, size int64) error {
	f, root, err := open(r, size)
	if err != nil {
		return err
	}
	w.f = f
	first := len(w.layout.Payloads)
	seen := map[uint64]bool{}
	todo := []object{{addr: root}}
	for len(todo) > 0 && !w.full() {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[o.addr] {
			continue
		}
		seen[o.addr] = true
		links, err := w.object(o)
		if errors.Is(err, errFull) {
			break
		}
		if err != nil {
			return err
		}
		for i := len(links) - 1; i >= 0; i-- {
			path := links[i].name
			if o.path != "" {
				path = o.path + "/" + path
			}
			w.paths += len(path) + 32
			if len(w.prefix)+len(path) <= format.MaxNameBytes && w.paths <= format.MaxNames && links[i].name != "" {
				todo = append(todo, object{path, links[i].addr})
			}
		}
	}
	return w.overlaps(first)
}

// object adds a dataset, or returns the links of a group.
func (w *walker) object(o object) ([]link, error) {
	ms, err := w.f.header(o.addr)
	if err != nil {
		return nil, err
	}
	if find(ms, msgLayout) != nil {
		return nil, w.dataset(w.prefix+o.path, ms)
	}
	return w.f.links(ms)
}

// overlaps refuses a file of which two payloads from the first on share bytes.
func (w *walker) overlaps(first int) error {
	part := format.Layout{Payloads: w.layout.Payloads[first:]}
	part.Sort()
	end := int64(0)
	for _, p := range part.Payloads {
		if p.Offset < end {
			return format.Damaged(kind, p.Offset, "dataset %q overlaps another", p.Name)
		}
		end = p.Offset + p.Length
	}
	return nil
}
