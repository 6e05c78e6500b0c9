package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/formattest"
	"coral/internal/errs"
)

func written(t interface{ Fatal(...any) }, items []format.Item, meta map[string]string) []byte {
	w, err := NewWriter(items, meta)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, formattest.Fill(items)); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != w.Size() {
		t.Fatal("size", w.Size(), "of", b.Len())
	}
	return b.Bytes()
}

// TestHeader compares with what safetensors 0.8.0 writes for the same tensors (safetensors.torch.save, metadata {"format": "pt"}).
func TestHeader(t *testing.T) {
	const want = `{"__metadata__":{"format":"pt"},"u64":{"dtype":"U64","shape":[1],"data_offsets":[0,8]},"i":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},` +
		`"f64":{"dtype":"F64","shape":[1],"data_offsets":[16,24]},"c64":{"dtype":"C64","shape":[1],"data_offsets":[24,32]},"s":{"dtype":"F32","shape":[],"data_offsets":[32,36]},` +
		`"z":{"dtype":"F32","shape":[0,4],"data_offsets":[36,36]},"` + "\xc3\xa9" + `\"\\\n\u0001` + "\x7f" + `/":{"dtype":"F32","shape":[2],"data_offsets":[36,44]},` +
		`"u32":{"dtype":"U32","shape":[1],"data_offsets":[44,48]},"i32":{"dtype":"I32","shape":[1],"data_offsets":[48,52]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[52,56]},` +
		`"h":{"dtype":"F16","shape":[1],"data_offsets":[56,58]},"u16":{"dtype":"U16","shape":[1],"data_offsets":[58,60]},"i16":{"dtype":"I16","shape":[1],"data_offsets":[60,62]},` +
		`"e8":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[62,63]},"e4":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[63,64]},"e5":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[64,65]},` +
		`"i8":{"dtype":"I8","shape":[1],"data_offsets":[65,66]},"u8":{"dtype":"U8","shape":[3],"data_offsets":[66,69]},"bool":{"dtype":"BOOL","shape":[1],"data_offsets":[69,70]}}    `
	var items []format.Item
	add := func(name string, k dtype.Kind, shape ...int64) {
		n, _ := format.Elements(shape)
		items = append(items, format.Item{Name: name, DType: k, Shape: shape, Length: n * int64(k.Width())})
	}
	add("é\"\\\n\x01\x7f/", dtype.F32, 2)
	add("b", dtype.BF16, 2)
	add("i", dtype.I64, 1)
	add("u8", dtype.U8, 3)
	for name, k := range map[string]dtype.Kind{"bool": dtype.Bool, "i8": dtype.I8, "e5": dtype.F8E5M2, "e4": dtype.F8E4M3, "e8": dtype.F8E8M0, "i16": dtype.I16, "u16": dtype.U16,
		"h": dtype.F16, "i32": dtype.I32, "u32": dtype.U32, "c64": dtype.C64, "f64": dtype.F64, "u64": dtype.U64} {
		add(name, k, 1)
	}
	add("s", dtype.F32)
	add("z", dtype.F32, 0, 4)
	b := written(t, items, map[string]string{"format": "pt"})
	if n := binary.LittleEndian.Uint64(b); n != uint64(len(want)) || string(b[8:8+n]) != want {
		t.Errorf("header of %d bytes, want %d\n got %s\nwant %s", n, len(want), b[8:8+n], want)
	}
}

// TestRoundTrip: what is written is what Parse finds, with its bytes.
func TestRoundTrip(t *testing.T) {
	kinds := []dtype.Kind{dtype.F64, dtype.F32, dtype.F16, dtype.BF16, dtype.I64, dtype.U8, dtype.Bool, dtype.F8E4M3, dtype.C64}
	rapid.Check(t, func(t *rapid.T) {
		items := make([]format.Item, rapid.IntRange(0, 6).Draw(t, "n"))
		for i := range items {
			k := rapid.SampledFrom(kinds).Draw(t, "kind")
			shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 4).Draw(t, "shape")
			n, _ := format.Elements(shape)
			items[i] = format.Item{Name: fmt.Sprintf("%d%s", i, rapid.String().Draw(t, "name")), DType: k, Shape: shape, Length: n * int64(k.Width())}
		}
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "meta")
		b := written(t, items, meta)
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Tensors) != len(items) {
			t.Fatalf("%d tensors of %d", len(l.Tensors), len(items))
		}
		for i := range items {
			var want bytes.Buffer
			if err := formattest.Fill(items)(i, &want); err != nil {
				t.Fatal(err)
			}
			found := false
			for _, x := range l.Tensors {
				if x.Name == items[i].Name {
					found = x.DType == items[i].DType && fmt.Sprint(x.Shape) == fmt.Sprint(items[i].Shape) && bytes.Equal(b[x.Offset:x.Offset+x.Length], want.Bytes())
				}
			}
			if !found {
				t.Fatalf("%+v is not in %+v", items[i], l.Tensors)
			}
		}
		got, err := Metadata(bytes.NewReader(b), int64(len(b)))
		if err != nil || !maps.Equal(got, meta) {
			t.Fatalf("metadata %q, %v; want %q", got, err, meta)
		}
	})
}

func TestRefused(t *testing.T) {
	one := format.Item{Name: "a", DType: dtype.F32, Shape: []int64{2}, Length: 8}
	with := func(change func(*format.Item)) []format.Item {
		it := one
		change(&it)
		return []format.Item{it}
	}
	for name, c := range map[string]struct {
		items []format.Item
		want  string
	}{
		"twice":       {[]format.Item{one, one}, "two of this name"},
		"no name":     {with(func(it *format.Item) { it.Name = "" }), "empty"},
		"not UTF-8":   {with(func(it *format.Item) { it.Name = "\xff" }), "UTF-8"},
		"length":      {with(func(it *format.Item) { it.Length = 7 }), "in 7 bytes"},
		"shape":       {with(func(it *format.Item) { it.Shape = []int64{-2} }), "[-2]"},
		"kind":        {with(func(it *format.Item) { it.DType, it.Length = dtype.C128, 32 }), "no C128 in safetensors"},
		"bytes":       {with(func(it *format.Item) { it.DType, it.Length = dtype.Bytes, 2 }), "no BYTES in safetensors"},
		"reserved":    {with(func(it *format.Item) { it.Name = "__metadata__" }), "cannot be called"},
		"packed":      {with(func(it *format.Item) { it.DType, it.Length = dtype.F4, 2 }), "in 2 bytes"},
		"tied to 5":   {with(func(it *format.Item) { it.TiedTo = 5 }), "tied to"},
		"tied to a u": {[]format.Item{{Name: "b", DType: dtype.U64, Shape: []int64{1}, Length: 8}, {Name: "a", DType: dtype.F32, Shape: []int64{2}, Length: 8, TiedTo: 1}}, "tied to"},
	} {
		if _, err := NewWriter(c.items, nil); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

// TestFill: a tensor with more or fewer bytes than announced is no file.
func TestFill(t *testing.T) {
	items := []format.Item{{Name: "a", DType: dtype.U8, Shape: []int64{4}, Length: 4}}
	w, err := NewWriter(items, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 5} {
		err := w.Write(io.Discard, func(_ int, w io.Writer) error { _, err := w.Write(make([]byte, n)); return err })
		if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%d bytes of 4: %v", n, err)
		}
	}
	failed := errors.New("source gone")
	if err := w.Write(io.Discard, func(int, io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want the error of the source", err)
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{`{}`, `{"__metadata__":{"a":"b"}}`, `{"w":{"dtype":"U8","shape":[],"data_offsets":[0,0]},"__metadata__":{}}`, `{"__metadata__":{"a":1}}`, `{"__metadata__":3}`, `{"__metadata__"`} {
		f.Add(append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...))
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Metadata(bytes.NewReader(b), int64(len(b)))
		if err != nil && (m != nil || !errors.Is(err, format.ErrDamaged) && !errors.Is(err, format.ErrUnknown)) {
			t.Errorf("%v, %v", m, err)
		}
	})
}
