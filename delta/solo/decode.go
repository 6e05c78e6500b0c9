package solo

import (
	"encoding/binary"
	"fmt"

	"coral/delta/plane"
	"coral/delta/same"
)

var le = binary.LittleEndian

// Decoder decodes blocks. It is used by one goroutine at a time.
type Decoder struct {
	exp, sign, low, tmp [maxBlock]byte
}

// reader takes the parts of a stored block from its front.
type reader struct {
	b    []byte
	n    int // elements
	t    *Tables
	fail error
}

func (r *reader) take(n int) []byte {
	if r.fail != nil || n > len(r.b) {
		r.fail = ErrBlock
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// Decode decodes a block into dst.
func (d *Decoder) Decode(s Shape, t *Tables, dst, stored []byte) error {
	if len(dst) > maxBlock || s.Width < 1 {
		return ErrBlock
	}
	n := len(dst) / s.Width
	tail := len(dst) - n*s.Width
	r := &reader{b: stored, n: n, t: t}
	packed := r.take((s.Planes() + 1) / 2)
	if r.fail != nil {
		return r.fail
	}
	var modes [MaxPlanes]uint8
	for p := range s.Planes() {
		modes[p] = packed[p/2] >> (p & 1 * 4) & 15
	}
	var e, sg []byte
	body := dst[:n*s.Width]
	low := body
	if s.Top {
		e = r.plane(s.Width-1, modes[s.Width-1], d.exp[:n])
		sg = r.plane(s.Width-2, modes[s.Width-2], d.sign[:n])
		low = r.low(s.Low(), &modes, d.low[:n*s.Low()], d.tmp[:n])
	} else if run := r.low(s.Low(), &modes, low, d.tmp[:n]); r.fail == nil && len(run) > 0 && &run[0] != &low[0] {
		copy(low, run)
	}
	copy(dst[n*s.Width:], r.take(tail))
	if r.fail != nil {
		return r.fail
	}
	if len(r.b) != 0 {
		return ErrBlock
	}
	switch {
	case !s.Top:
	case s.Width == 2:
		plane.Merge16(body, e, sg)
	case s.Width == 4:
		plane.Merge32(body, e, sg, low)
	default:
		plane.Merge64(body, e, sg, low)
	}
	return nil
}

// plane returns a plane's bytes: part of the stored block if it is raw, else in buf.
func (r *reader) plane(p int, mode uint8, buf []byte) []byte {
	switch mode {
	case modeRaw:
		return r.take(r.n)
	case modeConst:
		if b := r.take(1); r.fail == nil {
			same.Fill(buf, b)
		}
	case modeHuff:
		r.huff(p, buf)
	default:
		r.fail = ErrBlock
	}
	return buf
}

func (r *reader) huff(p int, buf []byte) {
	head := r.take(2)
	if r.fail != nil {
		return
	}
	src := r.take(int(le.Uint16(head)))
	if r.fail != nil || !r.t.Has(p) || len(buf) < minHuff {
		r.fail = ErrBlock
		return
	}
	// The capacity is the length to decode.
	out, err := r.t.dec[p].Decompress4X(buf[:0:len(buf)], src)
	if err != nil {
		r.fail = fmt.Errorf("plane %d: %w", p, err)
	} else if len(out) != len(buf) || &out[0] != &buf[0] {
		r.fail = ErrBlock
	}
}

// low returns the low part in element order: part of the stored block if it is one run, else in buf.
func (r *reader) low(k int, modes *[MaxPlanes]uint8, buf, tmp []byte) []byte {
	if k == 0 {
		return nil
	}
	if modes[0] == modeRun {
		for _, m := range modes[:k] {
			if m != modeRun {
				r.fail = ErrBlock
			}
		}
		return r.take(k * r.n)
	}
	if k == 1 {
		if p := r.plane(0, modes[0], buf); r.fail == nil {
			return p
		}
		return nil
	}
	constant := true
	for _, m := range modes[:k] {
		constant = constant && m == modeConst
	}
	if constant {
		r.constants(k, buf)
		return buf
	}
	for p := k - 1; p >= 0; p-- {
		if b := r.plane(p, modes[p], tmp); r.fail == nil {
			plane.Put(buf, b, p, k)
		}
	}
	return buf
}

// constants fills the low part with an element of k constant planes.
func (r *reader) constants(k int, buf []byte) {
	b := r.take(k)
	if r.fail != nil || len(buf) == 0 {
		return
	}
	for p := range k {
		buf[p] = b[k-1-p]
	}
	same.Fill(buf[k:], buf[:k])
	if len(buf) >= 2*k {
		same.Fill(buf, buf[:k])
	}
}
