package field

import "fmt"

// Decoder decodes blocks. It is used by one goroutine at a time.
type Decoder struct {
	cols      [MaxColumns][]byte // memory of coded columns, grown when needed
	part      columns            // of the block being decoded
	exp, sign [maxStructs]byte
}

// reader takes the parts of a stored block from its front.
type reader struct {
	b    []byte
	fail bool
}

func (r *reader) take(n int) []byte {
	if r.fail || n < 0 || n > len(r.b) {
		r.fail = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

// Decode decodes a block into dst.
func (d *Decoder) Decode(l *Layout, t *Tables, dst, stored []byte) error {
	if len(dst) > maxBlock || !t.Complete(l) {
		return ErrBlock
	}
	r := &reader{b: stored}
	flags, head, patches := r.byte(), int(r.byte()), 0
	if l.window {
		patches = int(r.byte())
	}
	if r.fail || flags&^(flagGroups|flagSingle) != 0 || head > len(dst) || head > 0 && (!l.phased || head >= l.Size) || flags != 0 && l.phased {
		return ErrBlock
	}
	modes := r.take((len(l.columns) + 1) / 2)
	n := (len(dst) - head) / l.Size
	m, groups := n, []byte(nil)
	if flags&flagGroups != 0 {
		m, groups = r.groups(n)
	}
	single, left := []byte(nil), m
	if flags&flagSingle != 0 {
		single = r.take((m + 7) / 8)
		var ok bool
		left, ok = clearBits(single, m)
		r.fail = r.fail || !ok
	}
	if r.fail || left < 0 {
		return ErrBlock
	}
	body := dst[head : head+n*l.Size]
	if err := d.columns(l, t, r, modes, body[:left*l.Size], left, patches); err != nil {
		return err
	}
	if single != nil {
		spreadSingle(body[:m*l.Size], body[:left*l.Size], single, l.Size, m)
	}
	if groups != nil {
		spreadGroups(body, body[:m*l.Size], groups, l.Size, n)
	}
	copy(dst[:head], r.take(head))
	tail := dst[head+n*l.Size:]
	copy(tail, r.take(len(tail)))
	if r.fail || len(r.b) != 0 {
		return ErrBlock
	}
	return nil
}

// groups takes the mask of n structs and returns how many structs it leaves.
func (r *reader) groups(n int) (left int, mask []byte) {
	all := (n + group - 1) / group
	mask = r.take((all + 7) / 8)
	kept, ok := clearBits(mask, all)
	if r.fail || !ok || kept < 0 {
		r.fail = true
		return 0, nil
	}
	left = kept * group
	if short := all*group - n; all > 0 && mask[(all-1)>>3]>>((all-1)&7)&1 == 0 {
		left -= short
	}
	return left, mask
}

// columns takes the columns of n structs and joins them in body.
func (d *Decoder) columns(l *Layout, t *Tables, r *reader, modes, body []byte, n, patches int) error {
	c := &d.part
	for i := range l.columns {
		var err error
		if c[i], err = d.column(&l.columns[i], t, r, i, modes[i/2]>>(i&1*4)&15, n); err != nil {
			return err
		}
	}
	if !l.window {
		if !r.fail {
			l.join(body, c, n)
		}
		return nil
	}
	list := r.take(patches * patchLen)
	if r.fail {
		return ErrBlock
	}
	e, s := d.exp[:n], d.sign[:n]
	exponents(e, s, c[0], c[1], t.window)
	for ; len(list) > 0; list = list[patchLen:] {
		i := int(le.Uint16(list))
		if i >= n {
			return ErrBlock
		}
		e[i] = list[2]
	}
	mergeTop(body, e, s, c[2], n, l.Size)
	return nil
}

// column returns a column's symbols: part of the stored block if it is raw, else in memory of d.
func (d *Decoder) column(col *column, t *Tables, r *reader, i int, mode uint8, n int) ([]byte, error) {
	length := col.length(n)
	if mode == modeRaw {
		return r.take(length), nil
	}
	if len(d.cols[i]) < length {
		d.cols[i] = make([]byte, max(length, maxBlock))
	}
	buf := d.cols[i][:length]
	switch {
	case col.store == rest:
		if r.unsigned(buf); r.fail || mode != modeShort {
			return nil, ErrBlock
		}
	case mode == modeConst && col.store == lows:
		fill(buf, r.take(col.per))
	case mode == modeShort && col.store == lows:
		if r.short(buf); r.fail {
			return nil, ErrBlock
		}
	case mode == modeConst:
		fill(buf, r.take(1))
	case mode == modeRans && t.col[i] != nil:
		head := r.take(2)
		if r.fail {
			return nil, ErrBlock
		}
		if err := t.col[i].Decode(buf, r.take(int(le.Uint16(head)))); err != nil {
			return nil, fmt.Errorf("column %d: %w", i, err)
		}
	default:
		return nil, ErrBlock
	}
	return buf, nil
}

// fill repeats unit in buf.
func fill(buf, unit []byte) {
	if len(unit) == 0 {
		return
	}
	for at := copy(buf, unit); at < len(buf); at *= 2 {
		copy(buf[at:], buf[:at])
	}
}
