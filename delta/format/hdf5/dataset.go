package hdf5

import (
	"slices"
	"strconv"

	"coral/delta/format"
)

// dataset is a dataset whose header has been read.
type dataset struct {
	path  string
	elem  element
	shape []int64
	bytes int64 // of all elements
	fixed bool  // the shape cannot grow
}

// Layout classes.
const (
	layoutCompact    = 0
	layoutContiguous = 1
	layoutChunked    = 2
)

// dataset adds what the messages of a header tell of a dataset; nothing if they are not those of one that is cut.
func (w *walker) dataset(path string, ms []message) error {
	layout, dataspace, typ := find(ms, msgLayout), find(ms, msgDataspace), find(ms, msgDatatype)
	if layout == nil || dataspace == nil || typ == nil || find(ms, msgExternal) != nil || layout.shared || dataspace.shared {
		return nil
	}
	if typ.shared {
		var err error
		if typ, err = w.f.committed(typ.data); err != nil || typ == nil {
			return err
		}
	}
	d := dataset{path: path}
	var ok bool
	if d.elem, ok = datatype(typ.data); !ok || !d.elem.cut {
		return nil
	}
	if ok, err := w.f.dataspace(&d, dataspace.data); err != nil || !ok {
		return err
	}
	if d.bytes == 0 {
		w.tensor(&d, 0)
		return nil
	}
	filtered := false
	if m := find(ms, msgFilters); m != nil {
		filtered = len(m.data) < 2 || m.data[1] != 0
	}
	return w.place(&d, layout, filtered)
}

// find returns the first message of a kind.
func find(ms []message, kind int) *message {
	i := slices.IndexFunc(ms, func(m message) bool { return m.kind == kind })
	if i < 0 {
		return nil
	}
	return &ms[i]
}

// committed returns the datatype message of a named datatype: 1 version, 1 type, in version 1 6 reserved, A header.
func (f *file) committed(data []byte) (*message, error) {
	c := &cursor{b: data}
	version := c.u(1)
	typ := c.u(1)
	if version == 1 {
		c.bytes(6)
	} else if version == 3 && typ != 2 {
		return nil, nil // in a heap of shared messages
	}
	addr := c.u(f.aw)
	if c.bad {
		return nil, nil
	}
	ms, err := f.header(addr)
	if err != nil {
		return nil, err
	}
	if m := find(ms, msgDatatype); m != nil && !m.shared {
		return m, nil
	}
	return nil, nil
}

// dataspace reads the shape: 1 version, 1 dimensions, 1 flags, in version 1 5 reserved, in version 2 1 type, then L for each dimension, and L for how
// far each may grow if flag 0. ok is false for one without elements (a null dataspace), and for what is not known.
func (f *file) dataspace(d *dataset, data []byte) (ok bool, err error) {
	c := &cursor{b: data}
	version, rank, flags := c.u(1), int(c.u(1)), c.u(1)
	switch version {
	case 1:
		c.bytes(5)
	case 2:
		if c.u(1) == 2 {
			return false, nil
		}
	default:
		return false, nil
	}
	d.fixed = true
	d.shape = make([]int64, 0, min(rank, format.MaxDims))
	for range rank {
		d.shape = append(d.shape, int64(c.u(f.lw)))
	}
	for i := 0; flags&1 != 0 && i < rank; i++ {
		d.fixed = int64(c.u(f.lw)) == d.shape[i] && d.fixed
	}
	n, ok := format.Extent(d.shape, nil, d.elem.size)
	if c.bad || !ok || rank > format.MaxDims {
		return false, format.Damaged(kind, f.base, "shape of dataset %q", d.path)
	}
	d.bytes = n
	return true, nil
}

// place finds the elements by a layout message: version 1 and 2: 1 dimensions, 1 class, 5 reserved, A address unless compact, 4 for each dimension;
// version 3 and above: 1 class, then of a compact one 2 size and the bytes, of a contiguous one A, L.
func (w *walker) place(d *dataset, m *message, filtered bool) error {
	f := w.f
	c := &cursor{b: m.data}
	version := c.u(1)
	switch version {
	case 1, 2:
		rank, class := int(c.u(1)), c.u(1)
		c.bytes(5)
		if class == layoutContiguous {
			return w.contiguous(d, c.u(f.aw), uint64(d.bytes))
		}
		if class == layoutChunked && !filtered && rank >= 1 {
			return w.chunked1(d, c, rank, c.u(f.aw))
		}
	case 3, 4, 5:
		switch class := c.u(1); class {
		case layoutCompact:
			n := int64(c.u(2))
			off := m.off + int64(c.at)
			if c.bytes(int(n)); c.bad || n < d.bytes {
				return format.Damaged(kind, m.off, "dataset %q of %d bytes in %d", d.path, d.bytes, n)
			}
			w.whole(d, off)
		case layoutContiguous:
			return w.contiguous(d, c.u(f.aw), c.u(f.lw))
		case layoutChunked:
			if filtered {
				return nil
			}
			if version == 3 {
				rank := int(c.u(1))
				return w.chunked1(d, c, rank, c.u(f.aw))
			}
			return w.chunked4(d, c)
		}
	}
	return nil
}

// contiguous adds a dataset whose n bytes are at addr, if they are there yet.
func (w *walker) contiguous(d *dataset, addr, n uint64) error {
	if w.f.none(addr) {
		return nil // nothing was written
	}
	off, ok := w.f.place(addr, max(n, uint64(d.bytes)))
	if !ok || n < uint64(d.bytes) {
		return w.f.damaged(addr, "dataset %q of %d bytes in %d", d.path, d.bytes, n)
	}
	w.whole(d, off)
	return nil
}

// whole adds a dataset whose elements lie in one run.
func (w *walker) whole(d *dataset, off int64) {
	w.payload(d, off, d.bytes, d.path) // first: a tensor must not be without
	w.tensor(d, off)
}

func (w *walker) payload(d *dataset, off, n int64, name string) {
	if w.names += len(name); w.full() {
		return
	}
	w.layout.Payloads = append(w.layout.Payloads, format.Payload{Offset: off, Length: n, DType: d.elem.kind, Name: format.CleanName(name)})
}

func (w *walker) tensor(d *dataset, off int64) {
	w.names += len(d.path)
	if w.dims += len(d.shape); w.full() {
		return
	}
	w.layout.Tensors = append(w.layout.Tensors, format.Tensor{
		Name: format.CleanName(d.path), DType: d.elem.kind, Shape: d.shape, Offset: off, Length: d.bytes,
	})
}

// chunkName is the name of the payload of a chunk.
func chunkName(path string, i int64) string { return path + "[" + strconv.FormatInt(i, 10) + "]" }

// chunks adds those of a dataset: as one payload and a tensor if they lie one behind the other in the order of the elements, else one by one.
func (w *walker) chunks(d *dataset, g *grid, found []chunk) error {
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b chunk) int { return int(min(1, max(-1, a.index-b.index))) })
	inOrder := g.rows && int64(len(found)) == g.count
	for i, c := range found {
		if i > 0 && c.index == found[i-1].index {
			return w.f.damaged(c.addr, "chunk %d of dataset %q is there twice", c.index, d.path)
		}
		if _, ok := w.f.place(c.addr, uint64(g.bytes)); !ok {
			return w.f.damaged(c.addr, "chunk %d of dataset %q", c.index, d.path)
		}
		inOrder = inOrder && c.addr-found[0].addr == uint64(int64(i)*g.bytes)
	}
	if inOrder {
		off, _ := w.f.place(found[0].addr, uint64(d.bytes))
		w.whole(d, off)
		return nil
	}
	for _, c := range found {
		off, _ := w.f.place(c.addr, uint64(g.bytes))
		w.payload(d, off, g.bytes, chunkName(d.path, c.index))
	}
	return nil
}

// full reports whether the layout has as much as one may have; what is met behind is not cut.
func (w *walker) full() bool {
	return len(w.layout.Tensors) >= format.MaxTensors || len(w.layout.Payloads) >= format.MaxTensors ||
		w.dims > format.MaxAllDims || w.names > format.MaxNames
}
