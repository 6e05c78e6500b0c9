package hdf5

import "coral/delta/format"

// grid is how a dataset is cut into chunks, which are all of one size, also at the edges.
type grid struct {
	dims  []int64 // of a chunk
	bytes int64   // of a chunk
	count int64   // chunks of the dataset
	rows  bool    // a chunk is whole rows: chunks one behind the other are the elements in order
}

// chunk is one that is in the file. Its index is in row-major order of the dataset's chunks.
type chunk struct {
	index int64
	addr  uint64
}

// grid checks the dimensions of a chunk. ok is false if they do not fit the dataset.
func (d *dataset) grid(dims []int64) (g grid, ok bool) {
	if len(dims) != len(d.shape) || len(dims) == 0 {
		return g, false
	}
	g = grid{dims: dims, count: 1, rows: true}
	for i, n := range dims {
		if n < 1 {
			return g, false
		}
		if g.count *= 1 + (d.shape[i]-1)/n; g.count > format.MaxTensors {
			return g, false
		}
		g.rows = g.rows && (i == 0 || n == d.shape[i])
	}
	g.bytes, ok = format.Extent(dims, nil, d.elem.size)
	return g, ok && g.bytes > 0
}

// chunked1 adds the chunks of a layout of version 1 to 3, whose dimensions, 4 bytes each, follow in c, that of the element last. They are in a B-tree, its keys
// 4 bytes, 4 filters that were not used, 8 for the first element in each dimension.
func (w *walker) chunked1(d *dataset, c *cursor, rank int, tree uint64) error {
	dims := make([]int64, max(rank-1, 0))
	for i := range dims {
		dims[i] = int64(c.u(4))
	}
	g, ok := d.grid(dims)
	if c.bad || !ok || w.f.none(tree) {
		return nil
	}
	var found []chunk
	err := w.f.tree1(tree, 1, 8+8*rank, func(key *cursor, addr uint64) error {
		size := key.u(4)
		key.bytes(4)
		k := chunk{addr: addr}
		for i, n := range dims {
			at := int64(key.u(8))
			if at < 0 || at >= d.shape[i] || at%n != 0 {
				return w.f.damaged(addr, "chunk of dataset %q begins at %d", d.path, at)
			}
			k.index = k.index*(1+(d.shape[i]-1)/n) + at/n
		}
		if size != uint64(g.bytes) || len(found) >= int(g.count) {
			return w.f.damaged(addr, "chunk of dataset %q of %d bytes, %d wanted", d.path, size, g.bytes)
		}
		found = append(found, k)
		return nil
	})
	if err != nil {
		return err
	}
	return w.chunks(d, &g, found)
}

// Ways in which a layout of version 4 and above finds its chunks.
const (
	indexSingle   = 1
	indexImplicit = 2
	indexArray    = 3
)

// chunked4 adds the chunks of a layout of version 4 and above: 1 flags, 1 dimensions, 1 bytes of each, dimensions, that of the element
// last, 1 index type, of an array 1 bits of a page, then A. Those that can grow are not cut.
func (w *walker) chunked4(d *dataset, c *cursor) error {
	c.bytes(1)
	rank, each := int(c.u(1)), int(c.u(1))
	if each < 1 || each > 8 || rank < 1 {
		return nil
	}
	dims := make([]int64, rank-1)
	for i := range dims {
		dims[i] = int64(c.u(each))
	}
	c.u(each)
	index := c.u(1)
	if index == indexArray {
		c.bytes(1)
	}
	addr := c.u(w.f.aw)
	g, ok := d.grid(dims)
	if c.bad || !ok || w.f.none(addr) {
		return nil
	}
	var found []chunk
	switch {
	case index == indexSingle && g.count == 1:
		found = []chunk{{addr: addr}}
	case index == indexImplicit && d.fixed:
		if _, ok := w.f.place(addr, uint64(g.count)); !ok { // at least a byte each
			return w.f.damaged(addr, "%d chunks of dataset %q", g.count, d.path)
		}
		for i := range g.count {
			found = append(found, chunk{i, addr + uint64(i)*uint64(g.bytes)})
		}
	case index == indexArray && d.fixed:
		var err error
		if found, err = w.f.array(addr, g.count); err != nil {
			return err
		}
	}
	return w.chunks(d, &g, found)
}

// array reads a fixed array of the addresses of n chunks: FAHD, 1 version, 1 client, 1 bytes of an entry, 1 bits of a page, L entries, A block. The block is FADB, 1 version,
// 1 client, A header, then the addresses; if they are more than a page, a bit for each page, 4 checksum, and pages of addresses with 4 checksum each.
func (f *file) array(addr uint64, n int64) (found []chunk, err error) {
	c, err := f.block(addr, uint64(8+f.lw+f.aw), sigArray)
	if err != nil {
		return nil, err
	}
	c.bytes(1)
	client, entry, pageBits, count, block := c.u(1), int(c.u(1)), c.u(1), c.u(f.lw), c.u(f.aw)
	if client != 0 || entry != f.aw || f.none(block) {
		return nil, nil
	}
	if count != uint64(n) || pageBits > 30 {
		return nil, f.damaged(addr, "array of %d chunks, %d wanted", count, n)
	}
	head := uint64(6 + f.aw)
	if _, err := f.block(block, head, sigArrayBlock); err != nil {
		return nil, err
	}
	page, at := uint64(1)<<pageBits, block+head
	if count <= page {
		return f.addresses(nil, at, 0, count)
	}
	pages := (count + page - 1) / page
	bitmap, err := f.read(at, (pages+7)/8)
	if err != nil {
		return nil, err
	}
	at += uint64(len(bitmap)) + 4
	for p := range pages {
		first := p * page
		k := min(page, count-first)
		if bitmap[p/8]&(0x80>>(p%8)) != 0 {
			if found, err = f.addresses(found, at, first, k); err != nil {
				return nil, err
			}
		}
		at += page*uint64(f.aw) + 4
	}
	return found, nil
}

// addresses appends the n chunks from first on whose addresses are at addr. Those that were not written have none.
func (f *file) addresses(found []chunk, addr, first, n uint64) ([]chunk, error) {
	b, err := f.read(addr, n*uint64(f.aw))
	if err != nil {
		return nil, err
	}
	c := &cursor{b: b}
	for i := range n {
		if a := c.u(f.aw); !f.none(a) {
			found = append(found, chunk{int64(first + i), a})
		}
	}
	return found, nil
}
