package ordint

import (
	"encoding/binary"
	"errors"

	"coral/delta/huff"
)

var le = binary.LittleEndian

// ErrBlock is returned for a block that cannot be of this codec.
var ErrBlock = errors.New("ordered-integer block is malformed")

// A block's lanes are copied to a buffer of fixed size, followed by zeros, so that the loops need no
// check for its end: a group of 16 elements a lane reads at most 16 × 40 bits and a word beyond.
const (
	bufMask   = 1<<17 - 1
	padLen    = 128
	maxStored = bufMask - padLen
)

// Decoder decodes blocks. It is used by one goroutine at a time.
type Decoder struct {
	buf [bufMask + 9]byte
	end int // of what was copied to buf
	run lanes
	vec scratch32
}

// scratch32 is what fast_amd64.s has found of a group when it knows all codes and no differences yet: for each element the 8 bytes from
// where its code begins, and from byte entriesAt on its 16-bit entry of Table.code.
type scratch32 [(entriesAt + 2*groupLen) / 8]uint64

const entriesAt = 8 * groupLen

// lanes is where each lane is: the next bit of the buffer.
type lanes [laneCount]uint

// Decode decodes a block into dst with the base of the same range: len(base) = len(dst).
func (d *Decoder) Decode(t *Table, dst, stored, base []byte) error {
	w := t.kind.Width()
	n := len(dst) / w
	tail := len(dst) - n*w
	if len(base) != len(dst) || len(stored) < headLen+tail || len(stored) > maxStored || stored[0]&^flagMask != 0 {
		return ErrBlock
	}
	copy(dst[n*w:], stored[len(stored)-tail:])
	body := stored[headLen : len(stored)-tail]
	var mask []byte
	if stored[0]&flagMask != 0 {
		m := (groups(n) + 7) / 8
		if len(body) < m {
			return ErrBlock
		}
		mask, body = body[:m], body[m:]
	}
	var ends [laneCount]uint
	end := uint(0)
	for l := range laneCount - 1 {
		d.run[l] = 8 * end
		end += uint(le.Uint16(stored[1+2*l:]))
		ends[l] = 8 * end
	}
	if end > uint(len(body)) {
		return ErrBlock
	}
	d.run[laneCount-1], ends[laneCount-1] = 8*end, 8*uint(len(body))
	d.load(body)
	if !d.groups(t, dst[:n*w], base[:n*w], mask) {
		return ErrBlock
	}
	for l, end := range ends {
		// Every lane ends in its last byte: nothing was read past it, nothing but zero bits is left over.
		if at := d.run[l]; at > end || at+8 <= end || at < end && d.buf[at>>3&bufMask]>>(at&7) != 0 {
			return ErrBlock
		}
	}
	return nil
}

// load copies the lanes to the buffer, with zeros behind.
func (d *Decoder) load(body []byte) {
	copy(d.buf[:], body)
	clear(d.buf[len(body):max(len(body)+padLen, min(d.end, len(d.buf)))])
	d.end = len(body)
}

// groups decodes all groups; false means that a lane was too short.
func (d *Decoder) groups(t *Table, dst, base, mask []byte) bool {
	if t.kind.wide() {
		return d.wideGroups(t, dst, base, mask)
	}
	w := t.kind.Width()
	limit := 8 * uint(d.end)
	for g := range groups(len(dst) / w) {
		from, to := g*groupLen*w, min((g+1)*groupLen*w, len(dst))
		switch {
		case mask != nil && mask[g>>3]>>(g&7)&1 != 0:
			copy(dst[from:to], base[from:to])
		case max(d.run[0], d.run[1], d.run[2], d.run[3]) > limit:
			return false
		case to-from < groupLen*w:
			d.run.plain(t, dst[from:to], base[from:to], &d.buf)
		case w == 2:
			d.fast16(t, (*[2 * groupLen]byte)(dst[from:]), (*[2 * groupLen]byte)(base[from:]))
		default:
			d.fast32(t, (*[4 * groupLen]byte)(dst[from:]), (*[4 * groupLen]byte)(base[from:]))
		}
	}
	return true
}

// peek returns at least 57 bits from bit p on, the next one lowest.
func peek(buf *[bufMask + 9]byte, p uint) uint64 {
	i := p >> 3 & bufMask
	return le.Uint64(buf[i:i+8]) >> (p & 7)
}

// plain decodes up to a group, one element at a time. It is the version that tests compare the
// fast loops with.
func (r *lanes) plain(t *Table, dst, base []byte, buf *[bufMask + 9]byte) {
	w := t.kind.Width()
	magnitude := uint32(0x7fffffff) &^ (1<<t.zero - 1)
	for i := 0; i*w < len(dst); i++ {
		l := i % laneCount
		bits := peek(buf, r[l])
		top := uint8(le.Uint16(base[i*w+w-2:]) >> 7)
		e := t.code[int(t.ctx[top])+int(bits&(huff.TableSize-1))]
		n := uint(e & 15)
		if w == 2 && !t.total && n != escape {
			r[l] += n
			le.PutUint16(dst[2*i:], undiff16(uint16(int16(e)>>4), le.Uint16(base[2*i:])))
			continue
		}
		a := &actions32[e>>8]
		if w == 2 && !t.total {
			n = uint(e >> 4 & 15)
		} else {
			n = uint(e&0xff) - uint(a.extra)
		}
		diff := a.low + uint32(bits>>n)&a.mask
		r[l] += n + uint(a.extra)
		if w == 2 {
			le.PutUint16(dst[2*i:], undiff16(uint16(diff), le.Uint16(base[2*i:])))
		} else {
			le.PutUint32(dst[4*i:], undiff32(diff<<t.zero, le.Uint32(base[4*i:]), magnitude))
		}
	}
}
