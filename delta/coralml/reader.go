package coralml

// reader takes the parts of a stored block from its front. After a failure it gives zeros.
type reader struct {
	m    *Coder
	b    []byte
	fail bool
}

func (r *reader) take(n int) []byte {
	if r.fail || n > len(r.b) {
		r.fail = true
		return r.m.zeros(n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// zeros returns n bytes, at most MaxBlock, that stand for what a malformed block does not have.
func (m *Coder) zeros(n int) []byte {
	clear(m.other[:n])
	return m.other[:n]
}

// stream fills dst.
func (r *reader) stream(dst []byte) {
	switch mode := r.take(1)[0]; {
	case r.fail:
	case mode == streamRaw:
		copy(dst, r.take(len(dst)))
	case mode == streamZero:
		clear(dst)
	case mode == streamZstd:
		head := r.take(frameLen)
		frame := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		if r.fail || frame > len(r.b) {
			r.fail = true
			return
		}
		r.fail = r.m.lit.Decompress(dst, r.take(frame)) != nil
	default:
		r.fail = true
	}
}

func (r *reader) streams(n, w int) {
	r.stream(r.m.planes[:n])
	r.stream(r.m.planes[n : 2*n])
	if w > 2 {
		r.stream(r.m.planes[2*n : n*w])
	}
}

// fields reads the streams of Fields into the planes.
func (r *reader) fields(n, w int) {
	m := r.m
	r.stream(m.planes[:n])
	bits := m.bits[:(n+7)/8]
	r.stream(bits)
	s := m.planes[n : 2*n]
	r.stream(s)
	if w > 2 {
		r.stream(m.planes[2*n : n*w])
	}
	if r.fail || n%8 != 0 && bits[n/8]>>(n%8) != 0 {
		r.fail = true
		return
	}
	for i := range s {
		if s[i] > 0x7f {
			r.fail = true
			return
		}
		s[i] |= bits[i/8] >> (i % 8) << 7
	}
}

// exceptionList is the list of a Compressed block.
type exceptionList struct {
	places, elements []byte
	width            int
}

func (r *reader) exceptions(n, w int) exceptionList {
	k := int(le.Uint16(r.take(2)))
	if r.fail || k > n/exceptionPart {
		r.fail = true
		return exceptionList{}
	}
	return exceptionList{places: r.take(2 * k), elements: r.take(k * w), width: w}
}

// put sets the elements in body; false if a place is not in it, or out of order.
func (x exceptionList) put(body []byte) bool {
	last := -1
	for i := 0; 2*i < len(x.places); i++ {
		at := int(le.Uint16(x.places[2*i:]))
		if at <= last || (at+1)*x.width > len(body) {
			return false
		}
		copy(body[at*x.width:], x.elements[i*x.width:(i+1)*x.width])
		last = at
	}
	return true
}
