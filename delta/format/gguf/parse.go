// Package gguf cuts GGUF files of versions 2 and 3, little endian:
//
//	magic "GGUF", u32 version, u64 number of tensors, u64 number of metadata entries
//	metadata: name, u32 type, value            (a string is u64 length, bytes)
//	tensors:  name, u32 dimensions, u64 each (innermost first), u32 type, u64 offset from the data's begin
//	padding to general.alignment (32 by default), then the data, each tensor padded likewise
package gguf

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

const (
	kind             = format.GGUF
	magic            = 0x46554747 // "GGUF"
	defaultAlignment = 32
	maxAlignment     = 1 << 24
	alignmentKey     = "general.alignment"
)

// Parser is the format.Parser of GGUF files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// Parse cuts a file of size bytes. It returns format.ErrUnknown if the magic is missing.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	f := file{Reader: scan.New(r, 0, min(size, format.MaxHeader)), size: size, alignment: defaultAlignment}
	tensors, entries, err := f.begin()
	if err != nil {
		return nil, err
	}
	for i := uint64(0); i < entries && f.Err() == nil; i++ {
		f.metadata()
	}
	for i := uint64(0); i < tensors && f.Err() == nil; i++ {
		f.tensor()
	}
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("parse gguf: %w", err)
	}
	return f.layout()
}

// file is a GGUF file whose header is being read. Damage becomes the reader's error.
type file struct {
	*scan.Reader
	size      int64
	alignment int64
	tensors   []format.Tensor // offsets count from the begin of the data; Length is -1 if only the next offset tells
	names     int
	dims      int
}

// begin reads what stands before the metadata.
func (f *file) begin() (tensors, entries uint64, err error) {
	if f.U32() != magic {
		return 0, 0, f.UnknownOr()
	}
	if v := f.U32(); v != 2 && v != 3 {
		return 0, 0, format.Damaged(kind, 4, "version %d", v)
	}
	if tensors, entries = f.U64(), f.U64(); tensors > format.MaxTensors {
		return 0, 0, format.Damaged(kind, 8, "%d tensors", tensors)
	}
	return tensors, entries, nil
}

// metadata reads one entry. All but the alignment is skipped.
func (f *file) metadata() {
	name, _ := f.String(f.U64(), format.MaxNameBytes)
	if name == alignmentKey {
		if typ := f.U32(); typ != valueUint32 {
			f.rest(typ)
			return
		}
		at := f.Pos()
		f.alignment = int64(f.U32())
		if f.alignment < 1 || f.alignment > maxAlignment {
			f.Fail(format.Damaged(kind, at, "alignment %d", f.alignment))
		}
		return
	}
	f.typed()
}

// typed skips a type and a value of it.
func (f *file) typed() { f.rest(f.U32()) }

// rest skips a value of a type that was read.
func (f *file) rest(typ uint32) {
	if typ != valueArray {
		f.value(typ)
		return
	}
	typ = f.U32()
	n := f.U64()
	if size, ok := valueSizes[typ]; ok {
		if n > uint64(f.size)/size {
			f.Fail(format.Damaged(kind, f.Pos(), "array of %d elements", n))
			return
		}
		f.Skip(n * size)
		return
	}
	for i := uint64(0); i < n && f.Err() == nil; i++ {
		f.value(typ) // an array inside an array is refused there
	}
}

// value skips a value that is no array.
func (f *file) value(typ uint32) {
	if typ == valueString {
		f.Skip(f.U64())
		return
	}
	size, ok := valueSizes[typ]
	if !ok {
		f.Fail(format.Damaged(kind, f.Pos(), "metadata of type %d", typ))
		return
	}
	f.Skip(size)
}

// tensor reads the description of one tensor.
func (f *file) tensor() {
	at := f.Pos()
	name, ok := f.String(f.U64(), format.MaxNameBytes)
	dims := f.U32()
	if f.Err() != nil {
		return
	}
	if !ok || dims > format.MaxDims {
		f.Fail(format.Damaged(kind, at, "tensor of %d dimensions", dims))
		return
	}
	shape := make([]int64, dims)
	for i := range shape {
		shape[len(shape)-1-i] = int64(min(f.U64(), math.MaxInt64)) // an absurd one fails in bytesOf
	}
	typ := f.U32()
	offset := f.U64()
	length, k, ok := bytesOf(typ, shape)
	f.names += len(name)
	f.dims += len(shape)
	if f.Err() != nil {
		return
	}
	if !ok || offset > uint64(f.size) || length > f.size || f.names > format.MaxNames || f.dims > format.MaxAllDims {
		f.Fail(format.Damaged(kind, at, "tensor of type %d and shape %v at %d", typ, shape, offset))
		return
	}
	f.tensors = append(f.tensors, format.Tensor{
		Name: format.CleanName(name), DType: k, Shape: shape, Offset: int64(offset), Length: length,
	})
}

// bytesOf returns the size of a tensor, -1 if the type is not known.
func bytesOf(typ uint32, shape []int64) (int64, dtype.Kind, bool) {
	n, ok := format.Elements(shape)
	if !ok {
		return 0, 0, false
	}
	t, known := ggmlTypes[typ]
	if !known {
		return -1, dtype.GGUFOther, true
	}
	if len(shape) > 0 && shape[len(shape)-1]%t.elements != 0 || len(shape) == 0 && t.elements != 1 {
		return 0, 0, false // rows are whole blocks
	}
	if n /= t.elements; n > math.MaxInt64/t.bytes {
		return 0, 0, false
	}
	return n * t.bytes, t.kind, true
}

// layout checks that no tensor overlaps another and returns them with offsets from the begin of the file.
func (f *file) layout() (*format.Layout, error) {
	base := (f.Pos() + f.alignment - 1) / f.alignment * f.alignment
	slices.SortStableFunc(f.tensors, func(a, b format.Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length)) // empty ones before the one that begins there
	})
	l := &format.Layout{Format: kind, Tensors: f.tensors}
	for i := range f.tensors {
		t := &f.tensors[i]
		limit := f.size - base
		if i+1 < len(f.tensors) {
			limit = min(limit, f.tensors[i+1].Offset)
		}
		if t.Length < 0 {
			t.Length = max(0, limit-t.Offset)
		}
		if t.Offset > limit || t.Length > limit-t.Offset {
			return nil, format.Damaged(kind, base, "tensor %q of %d bytes at %d goes beyond %d", t.Name, t.Length, t.Offset, limit)
		}
		t.Offset += base
		if t.Length > 0 {
			l.Payloads = append(l.Payloads, format.Payload{Offset: t.Offset, Length: t.Length, DType: t.DType, Name: t.Name})
		}
	}
	return l, nil
}
