package gguf

import (
	"encoding/binary"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// writeTypes are the ggml types of the kinds that Writer takes.
var writeTypes = map[dtype.Kind]uint32{
	dtype.F32: 0, dtype.F16: 1, dtype.Q8_0: 8, dtype.I8: 24, dtype.I16: 25, dtype.I32: 26, dtype.I64: 27, dtype.F64: 28, dtype.BF16: 30,
}

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

// Writer writes a GGUF file of version 3, as the gguf package does, with the metadata general.architecture and general.file_type, and
// general.quantization_version where there are quantised tensors.
type Writer struct {
	items  []format.Item
	header []byte // with the padding behind it
	size   int64
}

// NewWriter lays out a file of these tensors. What GGUF cannot hold is errs.Invalid.
func NewWriter(items []format.Item, architecture string, fileType uint32) (*Writer, error) {
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
		quantised = quantised || it.DType == dtype.Q8_0
	}
	w := &Writer{items: items}
	w.head(architecture, fileType, quantised)
	return w, nil
}

func (w *Writer) head(architecture string, fileType uint32, quantised bool) {
	le := binary.LittleEndian
	str := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	number := func(b []byte, name string, n uint32) []byte {
		return le.AppendUint32(le.AppendUint32(str(b, name), valueUint32), n)
	}
	entries := uint64(2)
	if quantised {
		entries++
	}
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint32(b, 3)
	b = le.AppendUint64(b, uint64(len(w.items)))
	b = le.AppendUint64(b, entries)
	b = str(le.AppendUint32(str(b, "general.architecture"), valueString), architecture)
	b = number(b, "general.file_type", fileType)
	if quantised {
		b = number(b, "general.quantization_version", 2) // GGML_QNT_VERSION
	}
	at := int64(0)
	for i := range w.items {
		it := &w.items[i]
		b = le.AppendUint32(str(b, it.Name), uint32(len(it.Shape)))
		for d := range it.Shape {
			b = le.AppendUint64(b, uint64(it.Shape[len(it.Shape)-1-d]))
		}
		b = le.AppendUint32(b, writeTypes[it.DType])
		b = le.AppendUint64(b, uint64(at))
		at += padded(it.Length)
	}
	for len(b)%defaultAlignment != 0 {
		b = append(b, 0)
	}
	w.header, w.size = b, int64(len(b))+at
}

// padded returns n rounded up to the alignment of tensors.
func padded(n int64) int64 { return (n + defaultAlignment - 1) / defaultAlignment * defaultAlignment }

// Size returns the length of the file.
func (w *Writer) Size() int64 { return w.size }

// Write writes the file to dst, calling fill for each item in their order.
func (w *Writer) Write(dst io.Writer, fill format.Fill) error {
	if _, err := dst.Write(w.header); err != nil {
		return err
	}
	var zero [defaultAlignment]byte
	for i := range w.items {
		it := &w.items[i]
		if err := format.Exactly(dst, it.Length, func(w io.Writer) error { return fill(i, w) }); err != nil {
			return fmt.Errorf("tensor %q: %w", it.Name, err)
		}
		if _, err := dst.Write(zero[:padded(it.Length)-it.Length]); err != nil {
			return err
		}
	}
	return nil
}
