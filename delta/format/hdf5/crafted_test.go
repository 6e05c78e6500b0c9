package hdf5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"coral/delta/format"
	"coral/delta/format/formattest"
)

// builder makes files of version 2 superblocks and object headers, unchecked: checksums are not looked at.
type builder struct{ b []byte }

func newBuilder() *builder {
	b := &builder{b: append([]byte(sigSuper), 2, 8, 8, 0)}
	b.u64(0, 1<<64-1, 0, 48, 0) // base, extension, end, root; a gap
	b.b = b.b[:48]
	return b
}

func (b *builder) u64(vs ...uint64) {
	for _, v := range vs {
		b.b = binary.LittleEndian.AppendUint64(b.b, v)
	}
}

// header appends an object header of the given messages, and returns its address.
func (b *builder) header(messages ...[]byte) uint64 {
	at := uint64(len(b.b))
	var body []byte
	for _, m := range messages {
		body = append(body, m[0], byte(len(m)-1), byte((len(m)-1)>>8), 0)
		body = append(body, m[1:]...)
	}
	b.b = append(b.b, "OHDR\x02\x02"...)
	b.b = binary.LittleEndian.AppendUint32(b.b, uint32(len(body)))
	b.b = append(append(b.b, body...), 0, 0, 0, 0)
	return at
}

func linkTo(name string, addr uint64) []byte {
	m := append([]byte{msgLink, 1, 0, byte(len(name))}, name...)
	return binary.LittleEndian.AppendUint64(m, addr)
}

func continueAt(addr, n uint64) []byte {
	m := binary.LittleEndian.AppendUint64([]byte{msgContinue}, addr)
	return binary.LittleEndian.AppendUint64(m, n)
}

func bytesAt(addr, n uint64) [][]byte {
	le := binary.LittleEndian
	return [][]byte{
		le.AppendUint64([]byte{msgDataspace, 2, 1, 0, 1}, n),
		{msgDatatype, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0},
		le.AppendUint64(le.AppendUint64([]byte{msgLayout, 3, layoutContiguous}, addr), n),
	}
}

func parse(b []byte) (*format.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestCrafted(t *testing.T) {
	b := newBuilder()
	b.header(linkTo("a", 200))
	b.b = append(b.b, make([]byte, 200-len(b.b))...)
	b.header(bytesAt(0, 8)...)
	l, err := parse(b.b)
	if err != nil || len(l.Payloads) != 1 || l.Payloads[0] != (format.Payload{Offset: 0, Length: 8, DType: 15, Name: "a"}) {
		t.Fatalf("%+v, %v", l, err)
	}

	// Two datasets of the same bytes.
	b = newBuilder()
	b.header(linkTo("a", 200), linkTo("b", 400))
	b.b = append(b.b, make([]byte, 200-len(b.b))...)
	b.header(bytesAt(0, 8)...)
	b.b = append(b.b, make([]byte, 400-len(b.b))...)
	b.header(bytesAt(4, 8)...)
	if _, err := parse(b.b); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("overlapping datasets: %v", err)
	}

	// A dataset that goes past the end.
	b = newBuilder()
	b.header(linkTo("a", 200))
	b.b = append(b.b, make([]byte, 200-len(b.b))...)
	b.header(bytesAt(100, 1<<40)...)
	if _, err := parse(b.b); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("dataset past the end: %v", err)
	}
}

// TestCircles: files whose structures lead back to themselves end.
func TestCircles(t *testing.T) {
	for name, fill := range map[string]func(b *builder){
		"group in itself": func(b *builder) { b.header(linkTo("a", 48), linkTo("b", 48)) },
		"header that goes on in itself": func(b *builder) {
			b.header(continueAt(48+10+20, 44))
			b.b = append(b.b[:len(b.b)-4], "OCHK"...) // at 48+10+20
			for range 2 {
				m := continueAt(48+10+20, 44)
				b.b = append(append(b.b, m[0], byte(len(m)-1), 0, 0), m[1:]...)
			}
			b.b = append(b.b, 0, 0, 0, 0)
		},
		"tree in itself": func(b *builder) {
			m := binary.LittleEndian.AppendUint64([]byte{msgSymbols}, 100)
			b.header(binary.LittleEndian.AppendUint64(m, 300))
			b.b = append(b.b, make([]byte, 100-len(b.b))...)
			b.b = append(b.b, "TREE\x00\x01\x02\x00"...)
			b.u64(1<<64-1, 1<<64-1, 0, 100, 0, 100, 0)
			b.b = append(b.b, make([]byte, 300-len(b.b))...)
			b.b = append(b.b, "HEAP\x00\x00\x00\x00"...)
			b.u64(8, 0, 0)
		},
	} {
		b := newBuilder()
		fill(b)
		formattest.Try(t, Parser{}, b.b)
		if l, err := parse(b.b); err == nil && len(l.Payloads) > 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// TestWideTree: a tree of chunks of which every child of a level is one node: read as often as it is met it would have 200^6 leaves.
func TestWideTree(t *testing.T) {
	le := binary.LittleEndian
	b := newBuilder()
	layout := le.AppendUint64([]byte{msgLayout, 3, layoutChunked, 2}, 1000)
	layout = le.AppendUint32(le.AppendUint32(layout, 1), 1)
	ms := bytesAt(0, 1000)
	b.header(linkTo("a", 200))
	b.b = append(b.b, make([]byte, 200-len(b.b))...)
	b.header(ms[0], ms[1], layout)
	const entries, node = 200, 24 + 200*(24+8) + 24
	b.b = append(b.b, make([]byte, 1000-len(b.b))...)
	for level := 6; level >= 0; level-- {
		b.b = append(b.b, "TREE\x01"...)
		b.b = append(b.b, byte(level), entries, 0)
		b.u64(1<<64-1, 1<<64-1)
		next := uint64(len(b.b)) - 24 + node
		for range entries {
			b.u64(1, 0, 0, next)
		}
		b.u64(0, 0, 0)
	}
	l, err := parse(b.b)
	if err == nil && len(l.Payloads) > 0 || err != nil && !errors.Is(err, format.ErrDamaged) {
		t.Errorf("%+v, %v", l, err)
	}
}
