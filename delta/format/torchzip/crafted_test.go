package torchzip

import (
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// entry is an entry of a crafted archive.
type entry struct {
	name, data string
	method     uint16
}

func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensorOf is the pickle of a dict with one tensor of six floats.
func tensorOf(name, key string) string {
	str := func(s string) string { return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s }
	return "}" + str(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + str("storage") + "ctorch\nFloatStorage\n" + str(key) + str("cpu") +
		"K\x06tQK\x00K\x06\x85K\x01\x85\x89NtRs."
}

func TestCrafted(t *testing.T) {
	six := strings.Repeat("\x01", 24)
	type payload struct {
		name string
		kind dtype.Kind
	}
	for name, c := range map[string]struct {
		entries  []entry
		payloads []payload
		tensors  int
	}{
		"plain":         {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six}}, []payload{{"w", dtype.F32}}, 1},
		"storage first": {[]entry{{name: "x/data/0", data: six}, {name: "x/data.pkl", data: tensorOf("w", "0")}}, []payload{{"w", dtype.F32}}, 1},
		"not referred to": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six}, {name: "x/data/1", data: "abc"}},
			[]payload{{"w", dtype.F32}, {"data/1", dtype.Bytes}}, 1},
		"missing storage": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}}, nil, 0},
		"empty storage":   {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0"}}, nil, 0},
		"short storage":   {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six[:20]}}, []payload{{"w", dtype.F32}}, 0},
		"odd storage":     {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six[:23]}}, []payload{{"w", dtype.Bytes}}, 0},
		"damaged pickle":  {[]entry{{name: "x/data.pkl", data: "\xff" + tensorOf("w", "0")}, {name: "x/data/0", data: six}}, []payload{{"data/0", dtype.Bytes}}, 0},
		"deflated pickle": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0"), method: zip.Deflate}, {name: "x/data/0", data: six}}, []payload{{"data/0", dtype.Bytes}}, 0},
		"deflated data":   {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six, method: zip.Deflate}}, nil, 0},
		"big endian": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/byteorder", data: "big"}, {name: "x/data/0", data: six}},
			[]payload{{"w", dtype.Bytes}}, 1},
		"little endian": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/byteorder", data: "little"}, {name: "x/data/0", data: six}},
			[]payload{{"w", dtype.F32}}, 1},
		"constants": {[]entry{{name: "x/constants.pkl", data: tensorOf("c", "0")}, {name: "x/constants/0", data: six}, {name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "x/data/0", data: six}},
			[]payload{{"constants.c", dtype.F32}, {"w", dtype.F32}}, 2},
		"mobile": {[]entry{{name: "x/bytecode.pkl", data: tensorOf("b", "0")}, {name: "x/constants/0", data: six}, {name: "x/data.pkl", data: "}."}},
			[]payload{{"bytecode.b", dtype.F32}}, 1},
		"other folders": {[]entry{{name: "x/data.pkl", data: tensorOf("w", "0")}, {name: "y/data/0", data: six}, {name: "x/data/a/0", data: six}, {name: "x/data/", data: ""}}, nil, 0},
	} {
		b := archiveOf(t, c.entries...)
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := l.Check(int64(len(b))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []payload
		for _, p := range l.Payloads {
			got = append(got, payload{p.Name, p.DType})
		}
		if len(got) != len(c.payloads) || len(l.Tensors) != c.tensors {
			t.Errorf("%s: payloads %v and %d tensors, want %v and %d", name, got, len(l.Tensors), c.payloads, c.tensors)
			continue
		}
		for i := range got {
			if got[i] != c.payloads[i] {
				t.Errorf("%s: payload %v, want %v", name, got[i], c.payloads[i])
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for name, b := range map[string][]byte{
		"other zip":   archiveOf(t, entry{name: "word/document.xml", data: "<w/>"}),
		"deep pickle": archiveOf(t, entry{name: "a/b/data.pkl", data: "}."}),
		"empty zip":   archiveOf(t),
		"text":        []byte(strings.Repeat("PK is not a zip file. ", 10)),
	} {
		if _, err := Parse(bytes.NewReader(b), int64(len(b))); !errors.Is(err, format.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
	}
}

// TestSameEntryTwice: two directory entries for one place, the oldest trick of ZIP bombs.
func TestSameEntryTwice(t *testing.T) {
	b := archiveOf(t, entry{name: "x/data.pkl", data: tensorOf("w", "0")}, entry{name: "x/data/0", data: "a"}, entry{name: "x/data/1", data: "b"})
	// Make the entry of data/1 one of data/0.
	i := bytes.LastIndex(b, []byte("x/data/1"))
	j := bytes.LastIndex(b[:i], []byte("x/data/0"))
	copy(b[i-46:], b[j-46:j+8])
	if _, err := Parse(bytes.NewReader(b), int64(len(b))); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
}
