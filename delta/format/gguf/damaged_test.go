package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// writer makes GGUF files of any kind.
type writer struct{ b []byte }

func (w *writer) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }

func (w *writer) text(s string) {
	w.u64(uint64(len(s)))
	w.b = append(w.b, s...)
}

// head begins a file.
func head(version uint32, tensors, entries uint64) *writer {
	w := &writer{b: []byte("GGUF")}
	w.u32(version)
	w.u64(tensors)
	w.u64(entries)
	return w
}

// tensor describes a tensor.
func (w *writer) tensor(name string, typ uint32, offset uint64, dims ...uint64) {
	w.text(name)
	w.u32(uint32(len(dims)))
	for _, d := range dims {
		w.u64(d)
	}
	w.u32(typ)
	w.u64(offset)
}

// data pads and appends n bytes.
func (w *writer) data(n int) []byte {
	for len(w.b)%defaultAlignment != 0 {
		w.b = append(w.b, 0)
	}
	return append(w.b, make([]byte, n)...)
}

func parse(b []byte) (*format.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		make func() []byte
		want string
	}{
		"version 1":       {func() []byte { return head(1, 0, 0).data(0) }, "version 1"},
		"big endian":      {func() []byte { return head(3<<24, 0, 0).data(0) }, "version 50331648"},
		"many tensors":    {func() []byte { return head(3, math.MaxUint64, 0).data(0) }, "tensors"},
		"many entries":    {func() []byte { return head(3, 0, math.MaxUint64).data(100) }, "before the end"},
		"tensors missing": {func() []byte { return head(3, 1000, 0).data(0) }, "before the end"},
		"long string": {func() []byte {
			w := head(3, 0, 1)
			w.text("k")
			w.u32(valueString)
			w.u64(1 << 60)
			return w.data(9)
		}, "to skip"},
		"long array": {func() []byte {
			w := head(3, 0, 1)
			w.text("k")
			w.u32(valueArray)
			w.u32(10)
			w.u64(1 << 61)
			return w.data(9)
		}, "array of"},
		"long array of strings": {func() []byte {
			w := head(3, 0, 1)
			w.text("k")
			w.u32(valueArray)
			w.u32(valueString)
			w.u64(1 << 61)
			return w.data(900)
		}, "before the end"},
		"array of arrays": {func() []byte {
			w := head(3, 0, 1)
			w.text("k")
			w.u32(valueArray)
			w.u32(valueArray)
			w.u64(1 << 61)
			return w.data(900)
		}, "type 9"},
		"unknown value": {func() []byte {
			w := head(3, 0, 1)
			w.text("k")
			w.u32(13)
			return w.data(9)
		}, "type 13"},
		"no alignment": {func() []byte {
			w := head(3, 0, 1)
			w.text("general.alignment")
			w.u32(valueUint32)
			w.u32(0)
			return w.data(9)
		}, "alignment 0"},
		"huge alignment": {func() []byte {
			w := head(3, 0, 1)
			w.text("general.alignment")
			w.u32(valueUint32)
			w.u32(math.MaxUint32)
			return w.data(9)
		}, "alignment"},
		"long tensor name": {func() []byte {
			w := head(3, 1, 0)
			w.tensor(strings.Repeat("x", 5000), 0, 0, 1)
			return w.data(9)
		}, "dimensions"},
		"many dimensions": {func() []byte {
			w := head(3, 1, 0)
			w.text("x")
			w.u32(1 << 30)
			return w.data(9)
		}, "dimensions"},
		"overflow": {func() []byte {
			w := head(3, 1, 0)
			w.tensor("x", 0, 0, 1<<40, 1<<40)
			return w.data(9)
		}, "shape"},
		"half a block": {func() []byte {
			w := head(3, 1, 0)
			w.tensor("x", 2, 0, 33)
			return w.data(99)
		}, "shape"},
		"offset past the end": {func() []byte {
			w := head(3, 1, 0)
			w.tensor("x", 0, 1<<60, 1)
			return w.data(99)
		}, "at 1152921504606846976"},
		"past the end": {func() []byte {
			w := head(3, 1, 0)
			w.tensor("x", 0, 96, 2)
			return w.data(100)
		}, "goes beyond 100"},
		"overlap": {func() []byte {
			w := head(3, 2, 0)
			w.tensor("x", 0, 0, 9)
			w.tensor("y", 0, 32, 1)
			return w.data(100)
		}, "goes beyond 32"},
	} {
		if _, err := parse(c.make()); !errors.Is(err, format.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

// TestUnknownType: a tensor of a type that is newer than this program ends where the next one begins.
func TestUnknownType(t *testing.T) {
	w := head(3, 3, 0)
	w.tensor("last", 201, 96, 7, 3)
	w.tensor("new", 200, 0, 7, 3)
	w.tensor("empty", 0, 64, 0, 3)
	b := w.data(100)
	l, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Error(err)
	}
	if len(l.Payloads) != 2 || len(l.Tensors) != 3 {
		t.Fatalf("%+v", l)
	}
	for i, want := range []format.Payload{{Length: 64, DType: dtype.GGUFOther, Name: "new"}, {Length: 4, DType: dtype.GGUFOther, Name: "last"}} {
		got := l.Payloads[i]
		if got.Offset = 0; got != want {
			t.Errorf("payload %d is %+v, want %+v", i, got, want)
		}
	}
	if s := l.Tensors[0].Shape; len(s) != 2 || s[0] != 3 || s[1] != 7 {
		t.Errorf("shape %v, want [3 7]", s)
	}
}

// TestTypes: blocks of the table agree with the bytes per block that dtype's codecs expect.
func TestTypes(t *testing.T) {
	for n, typ := range ggmlTypes {
		if typ.elements < 1 || typ.bytes < 1 {
			t.Errorf("type %d: %+v", n, typ)
		}
		if w := int64(typ.kind.Width()); w > 0 && (typ.elements != 1 || typ.bytes != w) {
			t.Errorf("type %d: %+v, but %s is %d bytes wide", n, typ, typ.kind, w)
		}
	}
}
