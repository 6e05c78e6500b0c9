package protowire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"coral/delta/format"
)

func reader(b []byte) *Reader { return New("test", bytes.NewReader(b), 0, int64(len(b))) }

func TestNext(t *testing.T) {
	b := []byte{0x08, 0xac, 0x02, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 3, 'a', 'b', 'c', 0x25, 7, 0, 0, 0, 0x82, 0x01, 0}
	r := reader(b)
	var got []Field
	for {
		f, ok := r.Next(int64(len(b)))
		if !ok {
			break
		}
		if f.Wire == Len {
			r.SkipTo(f.End)
		}
		got = append(got, f)
	}
	want := []Field{
		{Number: 1, Wire: Varint, Value: 300}, {Number: 2, Wire: Fixed64, Value: 1}, {Number: 3, Wire: Len, At: 14, End: 17},
		{Number: 4, Wire: Fixed32, Value: 7}, {Number: 16, Wire: Len, At: 25, End: 25},
	}
	if r.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, r.Err(), want)
	}
}

func TestDamaged(t *testing.T) {
	for name, b := range map[string][]byte{
		"field 0":          {0x00, 0},
		"group":            {0x0b},
		"end of group":     {0x0c},
		"wire type 7":      {0x0f},
		"huge number":      {0xf8, 0xff, 0xff, 0xff, 0x7f, 1},
		"endless varint":   bytes.Repeat([]byte{0xff}, 20),
		"cut varint":       {0x08, 0x80},
		"cut fixed32":      {0x0d, 1, 2},
		"cut fixed64":      {0x09, 1, 2},
		"long contents":    {0x0a, 2, 0},
		"length of 2^64-1": append([]byte{0x0a}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"no length":        {0x0a},
		"half of a tag":    {0x8a},
	} {
		r := reader(b)
		for {
			f, ok := r.Next(int64(len(b)))
			if !ok {
				break
			}
			if f.Wire == Len {
				r.SkipTo(f.End)
			}
		}
		if !errors.Is(r.Err(), format.ErrDamaged) {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
}

// TestBeyond: a field that ends inside the file but behind its message is damage.
func TestBeyond(t *testing.T) {
	for _, b := range [][]byte{{0x08, 0x80, 0x01}, {0x0d, 1, 2, 3, 4}, {0x0a, 3, 1, 2, 3}} {
		r := reader(append(slices.Clone(b), make([]byte, 9)...))
		if _, ok := r.Next(2); ok || !errors.Is(r.Err(), format.ErrDamaged) {
			t.Errorf("% x: %v", b, r.Err())
		}
	}
}

func TestVarints(t *testing.T) {
	packed := append(binary.AppendUvarint([]byte{0x0a, 12}, 1<<63), 5, 1)
	for name, c := range map[string]struct {
		b    []byte
		want []uint64
		bad  bool
	}{
		"packed":   {packed, []uint64{1 << 63, 5, 1}, false},
		"whole":    {append([]byte{0x0a, 3}, 7, 8, 9), []uint64{7, 8, 9}, false},
		"none":     {[]byte{0x0a, 0}, nil, false},
		"unpacked": {[]byte{0x08, 7}, []uint64{7}, false},
		"ends in":  {append([]byte{0x0a, 1}, 0x80, 1), nil, true},
	} {
		r := reader(c.b)
		f, ok := r.Next(int64(len(c.b)))
		var got []uint64
		if ok {
			r.Varints(f, func(v uint64) bool { got = append(got, v); return true })
		}
		if bad := r.Err() != nil; bad != c.bad || !c.bad && !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, r.Err(), c.want)
		}
	}
	r := reader([]byte{0x0a, 3, 7, 8, 9})
	f, _ := r.Next(5)
	n := 0
	r.Varints(f, func(uint64) bool { n++; return false })
	if n != 1 || r.Pos() != 5 || r.Err() != nil {
		t.Errorf("stopped after %d numbers at %d: %v", n, r.Pos(), r.Err())
	}
}

func TestText(t *testing.T) {
	b := append([]byte{0x0a, 0xff, 0x7f}, bytes.Repeat([]byte("x"), 1<<14-1)...)
	r := reader(b)
	f, _ := r.Next(int64(len(b)))
	if s := r.Text(f); len(s) != format.MaxNameBytes || r.Pos() != int64(len(b)) {
		t.Errorf("%d bytes, at %d: %v", len(s), r.Pos(), r.Err())
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{0x08, 0xac, 0x02, 0x1a, 3, 'a', 'b', 'c'})
	f.Add([]byte{0x0a, 3, 1, 2, 3, 0x25, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader(b)
		for last := int64(0); ; last = r.Pos() {
			f, ok := r.Next(int64(len(b)))
			if !ok {
				break
			}
			if r.Pos() <= last {
				t.Fatalf("no progress at %d", last)
			}
			if f.Wire == Len {
				r.Varints(f, func(uint64) bool { return true })
			}
		}
		if r.Err() == nil && r.Pos() != int64(len(b)) {
			t.Errorf("ended at %d of %d", r.Pos(), len(b))
		}
	})
}
