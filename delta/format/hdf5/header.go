package hdf5

// message is one message of an object header.
type message struct {
	kind   int
	shared bool // data says where the message is
	off    int64
	data   []byte // at off in the file
}

// run is a block of messages that is to be read.
type run struct {
	addr, size uint64
	block      bool // an OCHK block, not messages alone
}

// header returns the messages at addr that are looked at, in order.
func (f *file) header(addr uint64) ([]message, error) {
	b, err := f.read(addr, 16)
	if err != nil {
		return nil, err
	}
	h := headerReader{f: f}
	c := &cursor{b: b}
	if string(b[:4]) == sigHeader {
		c.bytes(4)
		if c.u(1) != 2 {
			return nil, nil
		}
		h.v2 = true
		flags := c.u(1)
		at := uint64(6)
		if flags&0x20 != 0 {
			at += 16
		}
		if flags&0x10 != 0 {
			at += 4
		}
		h.ordered = flags&4 != 0
		n := 1 << (flags & 3)
		if b, err = f.read(addr+at, uint64(n)); err != nil {
			return nil, err
		}
		size := (&cursor{b: b}).u(n)
		h.todo = []run{{addr: addr + at + uint64(n), size: size}}
	} else {
		if c.u(1) != 1 {
			return nil, f.damaged(addr, "no object header")
		}
		c.bytes(7)
		h.todo = []run{{addr: addr + 16, size: c.u(4)}}
	}
	for i := 0; i < len(h.todo); i++ {
		if i > maxContinues {
			return nil, f.damaged(addr, "more than %d continuation blocks", maxContinues)
		}
		if err := h.read(h.todo[i]); err != nil {
			return nil, err
		}
	}
	return h.found, nil
}

// headerReader collects the messages of one header.
type headerReader struct {
	f       *file
	v2      bool
	ordered bool
	todo    []run
	found   []message
}

// read reads one block of messages.
func (h *headerReader) read(r run) error {
	b, err := h.f.read(r.addr, r.size)
	if err != nil {
		return err
	}
	off, _ := h.f.place(r.addr, r.size)
	c := &cursor{b: b}
	if r.block {
		if len(b) < 8 || string(c.bytes(4)) != sigContinue {
			return h.f.damaged(r.addr, "no %s", sigContinue)
		}
		c.b = b[:len(b)-4]
	}
	for {
		least := 8
		if h.v2 {
			least = 4
			if h.ordered {
				least = 6
			}
		}
		if len(c.b)-c.at < least {
			return nil // a gap
		}
		var m message
		var n int
		var flags uint64
		if h.v2 {
			m.kind, n, flags = int(c.u(1)), int(c.u(2)), c.u(1)
			c.bytes(least - 4)
		} else {
			m.kind, n, flags = int(c.u(2)), int(c.u(2)), c.u(1)
			c.bytes(3)
		}
		m.off = off + int64(c.at)
		m.data = c.bytes(n)
		if c.bad {
			return h.f.damaged(r.addr, "message of %d bytes goes past its header", n)
		}
		m.shared = flags&2 != 0
		h.take(m)
	}
}

func (h *headerReader) take(m message) {
	switch m.kind {
	case msgContinue:
		c := &cursor{b: m.data}
		r := run{addr: c.u(h.f.aw), size: c.u(h.f.lw), block: h.v2}
		if !c.bad {
			h.todo = append(h.todo, r)
		}
	case msgDataspace, msgLinkInfo, msgDatatype, msgLink, msgExternal, msgLayout, msgFilters, msgSymbols:
		h.found = append(h.found, m)
	}
}
