package hdf5

import (
	"bytes"

	"coral/delta/format"
)

// link is a hard link of a group.
type link struct {
	name string
	addr uint64 // of the object's header
}

// links returns the hard links that the messages of a header tell of; none if it is no group.
func (f *file) links(ms []message) ([]link, error) {
	var out []link
	for i := range ms {
		var err error
		switch c := (&cursor{b: ms[i].data}); ms[i].kind {
		case msgSymbols:
			tree, heap := c.u(f.aw), c.u(f.aw)
			if !c.bad {
				out, err = f.symbols(out, tree, heap)
			}
		case msgLink:
			if l, ok := f.link(ms[i].data); ok {
				out = append(out, l)
			}
		case msgLinkInfo:
			c.bytes(1)
			flags := c.u(1)
			if flags&1 != 0 {
				c.bytes(8)
			}
			heap, tree := c.u(f.aw), c.u(f.aw)
			if !c.bad && !f.none(heap) && !f.none(tree) {
				out, err = f.denseLinks(out, heap, tree)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// link reads a link message: 1 version, 1 flags, 1 type if flag 3, 8 order if flag 2, 1 character set if flag 4, 1<<(flags&3) length of
// the name, name, then of a hard link (type 0, or no type) A object header.
func (f *file) link(data []byte) (l link, ok bool) {
	c := &cursor{b: data}
	version, flags := c.u(1), c.u(1)
	kind := uint64(0)
	if flags&8 != 0 {
		kind = c.u(1)
	}
	if flags&4 != 0 {
		c.bytes(8)
	}
	if flags&16 != 0 {
		c.bytes(1)
	}
	n := c.u(1 << (flags & 3))
	if n > format.MaxNameBytes || version != 1 || kind != 0 {
		return l, false
	}
	l.name = string(c.bytes(int(n)))
	l.addr = c.u(f.aw)
	return l, !c.bad
}

// node is a node of a B-tree that is to be read, and the level that it must have; -1 is any.
type node struct {
	addr  uint64
	level int
}

// symbols appends the links of a group with a symbol table.
func (f *file) symbols(out []link, tree, heap uint64) ([]link, error) {
	if f.none(tree) || f.none(heap) {
		return out, nil
	}
	names, err := f.localHeap(heap)
	if err != nil {
		return nil, err
	}
	err = f.tree1(tree, 0, f.lw, func(_ *cursor, child uint64) error {
		out, err = f.symbolNode(out, child, names)
		return err
	})
	return out, err
}

// tree1 calls fn for the children of the leaves of a B-tree of version 1, in order, with the key before each.
func (f *file) tree1(addr uint64, kind uint64, keyLen int, fn func(key *cursor, child uint64) error) error {
	todo := []node{{addr, -1}}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		head := uint64(8 + 2*f.aw)
		c, err := f.block(n.addr, head, sigTree)
		if err != nil {
			return err
		}
		got, level, entries := c.u(1), int(c.u(1)), int(c.u(2))
		if got != kind || n.level >= 0 && level != n.level {
			return f.damaged(n.addr, "tree node of type %d and level %d", got, level)
		}
		b, err := f.read(n.addr+head, uint64(entries*(keyLen+f.aw)))
		if err != nil {
			return err
		}
		c = &cursor{b: b}
		children := make([]node, 0, min(entries, 64))
		for range entries {
			key := &cursor{b: c.bytes(keyLen)}
			child := c.u(f.aw)
			if level > 0 {
				children = append(children, node{child, level - 1})
				continue
			}
			if err := fn(key, child); err != nil {
				return err
			}
		}
		for i := len(children) - 1; i >= 0; i-- {
			todo = append(todo, children[i])
		}
	}
	return nil
}

// symbolNode appends the links of a symbol table node.
func (f *file) symbolNode(out []link, addr uint64, names []byte) ([]link, error) {
	c, err := f.block(addr, 8, sigNode)
	if err != nil {
		return nil, err
	}
	c.bytes(2)
	n := int(c.u(2))
	each := 2*f.aw + 24
	b, err := f.read(addr+8, uint64(n*each))
	if err != nil {
		return nil, err
	}
	c = &cursor{b: b}
	for range n {
		name, obj, cache := c.u(f.aw), c.u(f.aw), c.u(4)
		c.bytes(20)
		if cache == 2 || f.none(obj) {
			continue // a soft link
		}
		if name >= uint64(len(names)) {
			return nil, f.damaged(addr, "name at %d of a heap of %d bytes", name, len(names))
		}
		end := bytes.IndexByte(names[name:], 0)
		if end < 0 {
			return nil, f.damaged(addr, "name without an end")
		}
		if end <= format.MaxNameBytes {
			out = append(out, link{string(names[name : name+uint64(end)]), obj})
		}
	}
	return out, nil
}

// localHeap returns the data of a local heap.
func (f *file) localHeap(addr uint64) ([]byte, error) {
	c, err := f.block(addr, uint64(8+2*f.lw+f.aw), sigLocalHeap)
	if err != nil {
		return nil, err
	}
	c.bytes(4)
	size := c.u(f.lw)
	c.bytes(f.lw)
	return f.read(c.u(f.aw), size)
}
