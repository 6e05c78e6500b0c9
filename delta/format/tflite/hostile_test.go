package tflite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"coral/delta/format"
)

// builder makes flatbuffers front to back, with all distances given by the test.
type builder struct{ b []byte }

func (w *builder) u16(v uint16) { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *builder) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *builder) at() int      { return len(w.b) }

// table appends a vtable and a table with one u32 a field, 0 for a missing one, and returns the table's place.
func (w *builder) table(fields ...uint32) int {
	vt := w.at()
	w.u16(uint16(4 + 2*len(fields)))
	w.u16(uint16(4 + 4*len(fields)))
	for i, f := range fields {
		if f == 0 {
			w.u16(0)
		} else {
			w.u16(uint16(4 + 4*i))
		}
	}
	at := w.at()
	w.u32(uint32(at - vt))
	for _, f := range fields {
		w.u32(f)
	}
	return at
}

// point makes field i of the table at t lead to the place to.
func (w *builder) point(t, i, to int) {
	at := t + 4 + 4*i
	binary.LittleEndian.PutUint32(w.b[at:], uint32(to-at))
}

// file returns a model whose first subgraph has n tensors, all of them the same table with the same data of 8 bytes, and a vector of graphs subgraphs.
func file(n, graphs int) []byte {
	w := &builder{}
	w.u32(0)
	w.u32(magic)
	root := w.table(0, 0, 1, 0, 1)
	binary.LittleEndian.PutUint32(w.b, uint32(root))
	w.point(root, 2, w.at())
	w.u32(uint32(graphs))
	vector := w.at()
	for range graphs {
		w.u32(0)
	}
	graph := w.table(1)
	for i := range graphs {
		binary.LittleEndian.PutUint32(w.b[vector+4*i:], uint32(graph-vector-4*i))
	}
	w.point(graph, 0, w.at())
	w.u32(uint32(n))
	tensors := w.at()
	for range n {
		w.u32(0)
	}
	tensor := w.table(1, 0, 1, 1)
	for i := range n {
		binary.LittleEndian.PutUint32(w.b[tensors+4*i:], uint32(tensor-tensors-4*i))
	}
	binary.LittleEndian.PutUint32(w.b[tensor+4+4*2:], 1) // buffer 1
	w.point(tensor, 0, w.at())
	w.u32(1)
	w.u32(2)
	w.point(tensor, 3, w.at())
	w.u32(1)
	w.b = append(w.b, 'w', 0, 0, 0)
	w.point(root, 4, w.at())
	w.u32(2)
	buffers := w.at()
	w.u32(0)
	w.u32(0)
	buffer := w.table(1)
	for i := range 2 {
		binary.LittleEndian.PutUint32(w.b[buffers+4*i:], uint32(buffer-buffers-4*i))
	}
	w.point(buffer, 0, w.at())
	w.u32(8)
	w.b = append(w.b, make([]byte, 8)...)
	return w.b
}

func parse(b []byte) (*format.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestSameTable(t *testing.T) {
	for _, c := range []struct {
		n, graphs int
		err       error
	}{{1, 1, nil}, {1000, 1, nil}, {100, 100, nil}, {4000, 4000, format.ErrDamaged}, {0, 1000, nil}} {
		b := file(c.n, c.graphs)
		l, err := parse(b)
		if !errors.Is(err, c.err) {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil {
			continue
		}
		if err := l.Check(int64(len(b))); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if want := min(c.n, 1); len(l.Tensors) != want || len(l.Payloads) != want {
			t.Errorf("%+v: %d tensors, %d payloads", c, len(l.Tensors), len(l.Payloads))
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("TFL3"), []byte("\x00\x00\x00\x00TFL2abcd"), make([]byte, 100)} {
		if _, err := parse(b); !errors.Is(err, format.ErrUnknown) {
			t.Errorf("%q: %v", b, err)
		}
	}
	for _, b := range [][]byte{[]byte("\x00\x00\x00\x00TFL3"), []byte("\xff\xff\xff\xffTFL3abcd"), []byte("\x08\x00\x00\x00TFL3\x00\x00\x00\x80")} {
		if _, err := parse(b); !errors.Is(err, format.ErrDamaged) {
			t.Errorf("%q: %v", b, err)
		}
	}
}
