package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/formattest"
)

// metadataOf returns the entries of a file.
func metadataOf(t *testing.T, b []byte) []Entry {
	t.Helper()
	out, err := Metadata(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMetadata: what the gguf package wrote, tokenizer and all, goes into another file byte for byte.
func TestMetadata(t *testing.T) {
	for _, file := range []string{"vocab.gguf", "tiny.gguf", "aligned.gguf", "version2.gguf"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		source := metadataOf(t, b)
		items := []format.Item{
			{Name: "f", DType: dtype.F32, Shape: []int64{3}, Length: 12},
			{Name: "q", DType: dtype.Q4_K, Shape: []int64{2, 256}, Length: 288},
			{Name: "m", DType: dtype.MXFP4, Shape: []int64{32}, Length: 17},
		}
		w, err := NewWriter(items, Model{Source: source, FileType: 15})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := w.Write(&out, formattest.Fill(items)); err != nil {
			t.Fatal(err)
		}
		l := formattest.Written(t, Parser{}, out.Bytes(), items)
		got := metadataOf(t, out.Bytes())
		if len(got) < len(source) || len(source) > 0 && !reflect.DeepEqual(got[:len(source)], source) {
			t.Errorf("%s: the entries are %d of %d, or others", file, len(got), len(source))
		}
		for _, e := range source {
			if n, ok := e.Uint32(); ok && e.Key == alignmentKey {
				for _, x := range l.Tensors {
					if x.Offset%int64(n) != 0 {
						t.Errorf("%s: tensor %s at %d, alignment %d", file, x.Name, x.Offset, n)
					}
				}
			}
		}
	}
}

func TestModel(t *testing.T) {
	item := []format.Item{{Name: "a", DType: dtype.Q8_0, Shape: []int64{32}, Length: 34}}
	source := []Entry{TextEntry("general.architecture", "llama"), Uint32Entry("general.file_type", 15), Uint32Entry("x", 7), TextEntry("x", "again"), Uint32Entry(alignmentKey, 48)}
	for name, c := range map[string]struct {
		m    Model
		want []Entry
	}{
		"alone":    {Model{FileType: FileF16}, []Entry{TextEntry("general.architecture", "unknown"), Uint32Entry("general.file_type", FileF16), Uint32Entry("general.quantization_version", 2)}},
		"kept":     {Model{Source: source, KeepFileType: true}, []Entry{source[0], source[1], source[2], Uint32Entry("general.quantization_version", 2)}},
		"replaced": {Model{Source: source, Architecture: "bert", FileType: FileQ8_0}, []Entry{TextEntry("general.architecture", "bert"), Uint32Entry("general.file_type", FileQ8_0), source[2], Uint32Entry("general.quantization_version", 2)}},
	} {
		w, err := NewWriter(item, c.m)
		if err != nil {
			t.Fatal(err)
		}
		if got := metadataOf(t, append(w.header, make([]byte, 64)...)); !reflect.DeepEqual(got, c.want) || w.alignment != defaultAlignment {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestMetadataDamaged(t *testing.T) {
	le := binary.LittleEndian
	head := func(entries uint64) []byte {
		return le.AppendUint64(le.AppendUint64(le.AppendUint32(le.AppendUint32(nil, magic), 3), 0), entries)
	}
	text := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	for name, b := range map[string][]byte{
		"many":           head(1 << 40),
		"missing":        head(1),
		"long key":       text(head(1), strings.Repeat("k", maxKey+1)),
		"unknown type":   le.AppendUint32(text(head(1), "k"), 99),
		"long array":     le.AppendUint64(le.AppendUint32(le.AppendUint32(text(head(1), "k"), valueArray), 4), 1<<60),
		"nested array":   le.AppendUint64(le.AppendUint32(le.AppendUint32(text(head(1), "k"), valueArray), valueArray), 1),
		"cut off string": le.AppendUint64(le.AppendUint32(text(head(1), "k"), valueString), 5),
	} {
		if got, err := Metadata(bytes.NewReader(b), int64(len(b))); !errors.Is(err, format.ErrDamaged) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := Metadata(strings.NewReader("GGML...."), 8); !errors.Is(err, format.ErrUnknown) {
		t.Errorf("another file: %v", err)
	}
}

// FuzzMetadata: entries that are read are read again from a file that has them.
func FuzzMetadata(f *testing.F) {
	for _, file := range []string{"tiny.gguf", "vocab.gguf"} {
		if b, err := os.ReadFile("testdata/" + file); err == nil && len(b) < 8192 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		source, err := Metadata(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		w, err := NewWriter(nil, Model{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		got := metadataOf(t, w.header)
		again, err := NewWriter(nil, Model{Source: got})
		if err != nil || !bytes.Equal(again.header, w.header) {
			t.Errorf("not the same a second time: %v", err)
		}
	})
}
