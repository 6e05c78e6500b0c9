package gguf

import (
	"encoding/binary"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// writeTypes are the ggml types of the kinds that Writer takes: all that a kind stands for alone.
var writeTypes = func() map[dtype.Kind]uint32 {
	out := map[dtype.Kind]uint32{}
	for typ, t := range ggmlTypes {
		if t.kind != dtype.GGUFOther {
			out[t.kind] = typ
		}
	}
	return out
}()

// Supported reports whether Writer takes elements of kind k.
func Supported(k dtype.Kind) bool { _, ok := writeTypes[k]; return ok }

// Limits of ggml (ggml.h: GGML_MAX_DIMS, GGML_MAX_NAME with the NUL). Files with longer names are read by the gguf package and refused by llama.cpp.
const (
	MaxDims    = 4
	MaxNameLen = 63
)

// QuantBlock is the elements of a Q8_0 block, and QuantBytes its bytes: an F16 scale and 32 signed bytes.
const (
	QuantBlock = 32
	QuantBytes = 34
)

// Values of general.file_type (llama.h, enum llama_ftype).
const (
	FileF32  = 0
	FileF16  = 1
	FileQ8_0 = 7
	FileBF16 = 32
)

// Writer writes a GGUF file of version 3, as the gguf package does.
type Writer struct {
	items     []format.Item
	alignment int64
	header    []byte // with the padding behind it
	size      int64
}

// Model says what the metadata of a file are: those of Source in its order, if there are any, with these values in their place, or added.
type Model struct {
	Source       []Entry // of another file
	Architecture string  // general.architecture; "": that of Source, else "unknown"
	FileType     uint32  // general.file_type
	KeepFileType bool    // if Source has one
}

// maxWriteAlignment is the largest general.alignment that is taken over, if it is a power of two, as ggml wants it; else tensors are aligned by 32 bytes.
const maxWriteAlignment = 1 << 16

// NewWriter lays out a file of these tensors. What GGUF cannot hold is errs.Invalid.
func NewWriter(items []format.Item, model Model) (*Writer, error) {
	if err := format.CheckItems(items); err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	quantised := false
	for i := range items {
		it := &items[i]
		typ, ok := writeTypes[it.DType]
		switch {
		case !ok:
			return nil, fmt.Errorf("gguf: tensor %q: %s are not written: %w", it.Name, it.DType, errs.Invalid)
		case len(it.Shape) > MaxDims:
			return nil, fmt.Errorf("gguf: tensor %q: %d dimensions, at most %d: %w", it.Name, len(it.Shape), MaxDims, errs.Invalid)
		}
		if n, _, ok := bytesOf(typ, it.Shape); !ok || n != it.Length {
			return nil, fmt.Errorf("gguf: tensor %q: %s of shape %v in %d bytes: %w", it.Name, it.DType, it.Shape, it.Length, errs.Invalid)
		}
		quantised = quantised || it.DType.Width() == 0
	}
	w := &Writer{items: items, alignment: defaultAlignment}
	w.head(w.entries(&model, quantised))
	return w, nil
}

// entries returns the metadata of the file, and sets the alignment that they say.
func (w *Writer) entries(m *Model, quantised bool) []Entry {
	out := make([]Entry, 0, len(m.Source)+3)
	index := map[string]int{}
	for _, e := range m.Source {
		if _, ok := index[e.Key]; ok {
			continue // readers take the first, or refuse the file
		}
		if e.Key == alignmentKey {
			n, ok := e.Uint32()
			if !ok || n < 8 || n > maxWriteAlignment || n&(n-1) != 0 {
				continue
			}
			w.alignment = int64(n)
		}
		index[e.Key] = len(out)
		out = append(out, e)
	}
	set := func(e Entry, keep bool) {
		i, ok := index[e.Key]
		switch {
		case !ok:
			out = append(out, e)
		case !keep:
			out[i] = e
		}
	}
	architecture := m.Architecture
	if architecture == "" {
		architecture = "unknown"
	}
	set(TextEntry("general.architecture", architecture), m.Architecture == "")
	set(Uint32Entry("general.file_type", m.FileType), m.KeepFileType)
	if quantised {
		set(Uint32Entry("general.quantization_version", 2), true) // GGML_QNT_VERSION
	}
	return out
}

func (w *Writer) head(entries []Entry) {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint32(b, 3)
	b = le.AppendUint64(b, uint64(len(w.items)))
	b = le.AppendUint64(b, uint64(len(entries)))
	for i := range entries {
		b = append(appendText(b, entries[i].Key), entries[i].Value...)
	}
	at := int64(0)
	for i := range w.items {
		it := &w.items[i]
		b = le.AppendUint32(appendText(b, it.Name), uint32(len(it.Shape)))
		for d := range it.Shape {
			b = le.AppendUint64(b, uint64(it.Shape[len(it.Shape)-1-d]))
		}
		b = le.AppendUint32(b, writeTypes[it.DType])
		b = le.AppendUint64(b, uint64(at))
		at += w.padded(it.Length)
	}
	b = append(b, make([]byte, w.padded(int64(len(b)))-int64(len(b)))...)
	w.header, w.size = b, int64(len(b))+at
}

// padded returns n rounded up to the alignment of tensors.
func (w *Writer) padded(n int64) int64 { return (n + w.alignment - 1) / w.alignment * w.alignment }

// Size returns the length of the file.
func (w *Writer) Size() int64 { return w.size }

// Write writes the file to dst, calling fill for each item in their order.
func (w *Writer) Write(dst io.Writer, fill format.Fill) error {
	if _, err := dst.Write(w.header); err != nil {
		return err
	}
	zero := make([]byte, w.alignment)
	for i := range w.items {
		it := &w.items[i]
		if err := format.Exactly(dst, it.Length, func(w io.Writer) error { return fill(i, w) }); err != nil {
			return fmt.Errorf("tensor %q: %w", it.Name, err)
		}
		if _, err := dst.Write(zero[:w.padded(it.Length)-it.Length]); err != nil {
			return err
		}
	}
	return nil
}
