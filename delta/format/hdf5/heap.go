package hdf5

import "math/bits"

// Groups of more than a few links in the newer style keep them in a fractal heap, and a B-tree of version 2 that says where.
//
// Heap: FRHP, 1 version, 2 length of an id, 2 length of filters, 1 flags, 4 largest managed object, L, A, L, A, L, L, L, L, L, L, L, L, then 2 table
// width, L first block size, L largest direct block, 2 bits of a heap address, 2 rows at the start, A root block, 2 rows of the root
// (0: it is a direct block). An id is 1 type, offset in the heap, length. Offsets count a block's header, too.
//
// Indirect block: FHIB, 1 version, A heap, offset, then A for each child: width to a row, direct ones up to the largest size, indirect ones behind.
//
// Tree: BTHD, 1 version, 1 type, 4 node size, 2 record size, 2 depth, 2 percents, A root, 2 records in it, L in all. Leaf: BTLF, 1 version, 1 type, records. Inner
// node: BTIN, 1 version, 1 type, records, then for each child A, number of records, and, above the lowest inner level, that of all below.
type heap struct {
	f            *file
	addr         uint64
	width        uint64
	first, large uint64 // sizes of direct blocks
	root         uint64
	rows         uint64 // of the root; 0 if it is a direct block
	offLen       int
	lenLen       int
	filtered     bool
}

// encLen is the number of bytes that hold numbers up to n.
func encLen(n uint64) int { return max(1, (bits.Len64(n)+7)/8) }

// openHeap reads a heap's header.
func (f *file) openHeap(addr uint64) (*heap, error) {
	c, err := f.block(addr, uint64(22+12*f.lw+3*f.aw), sigHeap)
	if err != nil {
		return nil, err
	}
	c.bytes(3)
	h := &heap{f: f, addr: addr}
	h.filtered = c.u(2) != 0
	c.bytes(1)
	largest := c.u(4)
	c.bytes(10*f.lw + 2*f.aw)
	h.width, h.first, h.large = c.u(2), c.u(f.lw), c.u(f.lw)
	addrBits := c.u(2)
	c.bytes(2)
	h.root, h.rows = c.u(f.aw), c.u(2)
	if c.bad || h.width == 0 || bits.OnesCount64(h.first) != 1 || bits.OnesCount64(h.large) != 1 || h.large < h.first || addrBits > 64 {
		return nil, f.damaged(addr, "heap with blocks of %d to %d bytes, %d to a row", h.first, h.large, h.width)
	}
	h.offLen = int(addrBits+7) / 8
	h.lenLen = min((bits.TrailingZeros64(h.large)+7)/8, encLen(largest))
	return h, nil
}

// object returns a managed object; ok is false if the id is of another kind.
func (h *heap) object(id []byte) (b []byte, ok bool, err error) {
	c := &cursor{b: id}
	if c.u(1)&0xf0 != 0 || h.filtered {
		return nil, false, nil
	}
	off, n := c.u(h.offLen), c.u(h.lenLen)
	if c.bad {
		return nil, false, nil
	}
	block, within, err := h.find(off)
	if err != nil {
		return nil, false, err
	}
	b, err = h.f.read(block+within, n)
	return b, err == nil, err
}

// find returns the direct block that holds heap offset off, and where in it.
func (h *heap) find(off uint64) (block, within uint64, err error) {
	block, rows := h.root, h.rows
	directRows := uint64(bits.TrailingZeros64(h.large)-bits.TrailingZeros64(h.first)) + 2
	for depth := 0; rows > 0; depth++ {
		size, row := h.first, uint64(0)
		for ; row < rows && off/size >= h.width; row++ {
			off -= h.width * size
			if row > 0 {
				size *= 2
			}
			if size == 0 || size > 1<<62/h.width {
				return 0, 0, h.f.damaged(h.addr, "heap is too large")
			}
		}
		if row == rows || depth > 64 {
			return 0, 0, h.f.damaged(h.addr, "object behind the heap's end")
		}
		at := uint64(5+h.f.aw+h.offLen) + (row*h.width+off/size)*uint64(h.f.aw)
		b, err := h.f.read(block+at, uint64(h.f.aw))
		if err != nil {
			return 0, 0, err
		}
		block, off = (&cursor{b: b}).u(h.f.aw), off%size
		if h.f.none(block) {
			return 0, 0, h.f.damaged(h.addr, "object in a block that is not there")
		}
		if row < directRows {
			break
		}
		// An indirect block of this size has as many rows as make it up: the first two rows are width×first bytes each, and the sum doubles with each.
		rows = uint64(bits.Len64(size / (h.first * h.width))) // 1 + log2
		if rows == 0 {
			return 0, 0, h.f.damaged(h.addr, "indirect block of %d bytes", size)
		}
	}
	return block, off, nil
}

// denseLinks appends the links of a group that keeps them in a heap.
func (f *file) denseLinks(out []link, heapAddr, treeAddr uint64) ([]link, error) {
	h, err := f.openHeap(heapAddr)
	if err != nil {
		return nil, err
	}
	err = f.tree2(treeAddr, func(record []byte) error {
		if len(record) < 5 {
			return f.damaged(treeAddr, "record of %d bytes", len(record))
		}
		b, ok, err := h.object(record[4:]) // behind the name's hash
		if err != nil || !ok {
			return err
		}
		if l, ok := f.link(b); ok {
			out = append(out, l)
		}
		return nil
	})
	return out, err
}

// tree2 calls fn for each record of a B-tree of version 2; those of a node come before those below it.
func (f *file) tree2(addr uint64, fn func(record []byte) error) error {
	c, err := f.block(addr, uint64(18+f.aw), sigTree2)
	if err != nil {
		return err
	}
	c.bytes(2)
	size, record, depth := c.u(4), c.u(2), int(c.u(2))
	c.bytes(2)
	root, count := c.u(f.aw), c.u(2)
	const overhead = 10 // of a node
	if record == 0 || size < overhead+record || size > maxBlock || depth > 32 {
		return f.damaged(addr, "tree of depth %d with records of %d bytes in nodes of %d", depth, record, size)
	}
	if f.none(root) {
		return nil
	}
	// How long the counts of a child are follows from how many records a node may have.
	leaf := (size - overhead) / record
	countLen := encLen(leaf)
	totalLen := make([]int, depth+1) // by level
	for level, total := 1, leaf; level <= depth; level++ {
		pointer := uint64(f.aw + countLen + totalLen[level-1])
		if size < overhead+2*pointer+record {
			return f.damaged(addr, "tree of depth %d in nodes of %d bytes", depth, size)
		}
		most := (size - overhead - pointer) / (record + pointer)
		if total > (1<<62)/(most+1) {
			return f.damaged(addr, "tree is too large")
		}
		total = (most+1)*total + most
		totalLen[level] = encLen(total)
	}
	type child struct {
		addr, count uint64
		level       int
	}
	for todo := []child{{root, count, depth}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		sig, pointer := sigLeaf2, uint64(0)
		if n.level > 0 {
			sig, pointer = sigInner2, uint64(f.aw+countLen+totalLen[n.level-1])
		}
		used := 6 + n.count*record
		if n.level > 0 {
			used += (n.count + 1) * pointer
		}
		if n.count > leaf || used > size {
			return f.damaged(n.addr, "%d records in a node of %d bytes", n.count, size)
		}
		c, err := f.block(n.addr, used, sig)
		if err != nil {
			return err
		}
		c.bytes(2)
		for range n.count {
			if err := fn(c.bytes(int(record))); err != nil {
				return err
			}
		}
		for i := uint64(0); n.level > 0 && i <= n.count; i++ {
			k := child{level: n.level - 1}
			k.addr, k.count = c.u(f.aw), c.u(countLen)
			c.bytes(totalLen[n.level-1])
			todo = append(todo, k)
		}
	}
	return nil
}
