// Package msgpack cuts what flax.serialization.to_bytes writes: MessagePack maps of maps by name, whose leaves are arrays.
//
// An array is an extension of type 1 (0-d ones of NumPy: 3) that holds MessagePack again: a tuple of the shape, the dtype's name, and the
// elements as bytes. Each is a tensor, named by the keys that lead to it with dots between, and its elements are a
// payload. An array of more than 1 GiB is a map {"__msgpack_chunked_array__": true, "shape": …, "chunks": {"0": array, …}}: its parts are payloads path[0],
// path[1], …, and no tensor.
//
// There is no magic. A file is flax's if it is one MessagePack map with texts as keys from its first byte to its last, and an array comes within the first
// maxBefore bytes that are not skipped; only what is wrong behind the first array is format.ErrDamaged.
package msgpack

import (
	"errors"
	"io"
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

const kind = format.FlaxMsgpack

// Bounds.
const (
	maxBefore = 1 << 20 // bytes read before the first array
	maxDepth  = 256     // maps in maps
)

// Extensions of flax.
const (
	extArray  = 1
	extScalar = 3
)

// The keys of an array in parts.
const (
	keyChunked = "__msgpack_chunked_array__"
	keyChunks  = "chunks"
)

// Parser is the format.Parser of flax's files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// frame is a map or array that is being read.
type frame struct {
	path    string
	left    uint64 // entries
	next    int    // number of the next entry, of an array
	isMap   bool
	chunked bool // an array in parts
	parts   bool // the parts of one
}

// reader reads one file.
type reader struct {
	s      *scan.Reader
	layout *format.Layout
	frames []frame
	read   int64 // bytes that were looked at
	names  int
	dims   int
}

// Parse cuts a file of size bytes. It returns format.ErrUnknown for whatever has no array of flax.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	m := reader{s: scan.New(r, 0, min(size, 16)), layout: &format.Layout{Format: kind}}
	if !m.begins() {
		return nil, m.s.UnknownOr()
	}
	m.s.Reset(0, size)
	err := m.all()
	if err == nil && m.s.Left() > 0 {
		err = format.Damaged(kind, m.s.Pos(), "%d bytes behind the end", m.s.Left())
	}
	found := len(m.layout.Payloads)+len(m.layout.Tensors) > 0
	switch {
	case err != nil && (!errors.Is(err, format.ErrDamaged) || found):
		return nil, err
	case !found:
		return nil, format.ErrUnknown
	}
	m.layout.Sort()
	return m.layout, nil
}

// begins reports whether the file may be a map whose first key is a text that is not empty.
func (m *reader) begins() bool {
	v := m.value()
	if v.sort != mapValue || v.n == 0 {
		return false
	}
	k := m.value()
	return m.s.Err() == nil && k.sort == textValue && k.n > 0
}

// all reads the file.
func (m *reader) all() error {
	if err := m.visit("", false); err != nil {
		return err
	}
	for len(m.frames) > 0 {
		f := &m.frames[len(m.frames)-1]
		if f.left == 0 {
			m.frames = m.frames[:len(m.frames)-1]
			continue
		}
		f.left--
		if m.read > format.MaxHeader || m.read > maxBefore && len(m.layout.Payloads)+len(m.layout.Tensors) == 0 {
			return format.Damaged(kind, m.s.Pos(), "more than %d bytes besides arrays", m.read-1)
		}
		label := ""
		if f.isMap {
			k := m.value()
			if m.s.Err() == nil && k.sort != textValue {
				return format.Damaged(kind, m.s.Pos(), "key that is no text")
			}
			m.count(int64(min(k.n, format.MaxNameBytes)))
			label, _ = m.s.String(k.n, format.MaxNameBytes)
		} else {
			label = strconv.Itoa(f.next)
			f.next++
		}
		path, parts := label, false
		switch {
		case f.parts:
			path = f.path + "[" + label + "]"
		case f.chunked && label == keyChunks:
			path, parts = f.path, true
		case f.path != "":
			path = f.path + "." + label
		}
		f.chunked = f.chunked || f.isMap && label == keyChunked
		if len(path) > format.MaxNameBytes {
			path = ""
		}
		if err := m.visit(path, parts); err != nil {
			return err
		}
	}
	return nil
}

// visit reads the value at path. That of a map or array is only begun.
func (m *reader) visit(path string, parts bool) error {
	v := m.value()
	switch v.sort {
	case mapValue, arrayValue:
		if len(m.frames) >= maxDepth {
			return format.Damaged(kind, m.s.Pos(), "more than %d maps in maps", maxDepth)
		}
		m.frames = append(m.frames, frame{path: path, left: v.n, isMap: v.sort == mapValue, parts: parts})
	case textValue, bytesValue:
		m.s.Skip(v.n)
	case extValue:
		end := m.s.Pos() + int64(min(v.n, uint64(max(m.s.Left(), 0))))
		if v.n > uint64(max(m.s.Left(), 0)) {
			m.s.Skip(v.n) // says what is wrong
			break
		}
		if v.ext == extArray || v.ext == extScalar {
			m.array(path, end)
		}
		if left := end - m.s.Pos(); m.s.Err() == nil && left >= 0 {
			m.s.Skip(uint64(left))
		} else if left < 0 {
			return format.Damaged(kind, end, "array goes past its end")
		}
	case noValue:
		if m.s.Err() == nil {
			return format.Damaged(kind, m.s.Pos(), "no value")
		}
	}
	return m.s.Err()
}

// array reads (shape, dtype, elements) in an extension that ends at end. What is something else is passed over by the caller.
func (m *reader) array(path string, end int64) {
	if v := m.value(); v.sort != arrayValue || v.n != 3 {
		return
	}
	rank := m.value()
	if rank.sort != arrayValue || rank.n > format.MaxDims {
		return
	}
	shape := make([]int64, rank.n)
	for i := range shape {
		v := m.value()
		if v.sort != numberValue || v.n > 1<<62 {
			return
		}
		shape[i] = int64(v.n)
	}
	name := m.value()
	if name.sort != textValue && name.sort != bytesValue || name.n > 64 {
		return
	}
	m.count(int64(name.n))
	dt, _ := m.s.String(name.n, 64)
	data := m.value()
	if data.sort != bytesValue && data.sort != textValue || m.s.Err() != nil || m.s.Pos() > end || data.n != uint64(end-m.s.Pos()) {
		return
	}
	m.add(path, kinds[dt], shape, m.s.Pos(), int64(data.n))
}

// add adds an array. A part of one, and one whose shape does not tell its length, is a payload alone.
func (m *reader) add(path string, k dtype.Kind, shape []int64, off, length int64) {
	name := format.CleanName(path)
	m.names += 2 * len(name)
	m.dims += len(shape)
	if len(m.layout.Tensors) >= format.MaxTensors || len(m.layout.Payloads) >= format.MaxTensors || m.names > format.MaxNames || m.dims > format.MaxAllDims {
		return
	}
	if n, ok := format.Extent(shape, nil, max(k.Width(), 1)); (!ok || n != length) && k != dtype.Bytes {
		k = dtype.Bytes
	}
	if length > 0 {
		m.layout.Payloads = append(m.layout.Payloads, format.Payload{Offset: off, Length: length, DType: k, Name: name})
	}
	if part := len(m.frames) > 0 && m.frames[len(m.frames)-1].parts; !part {
		m.layout.Tensors = append(m.layout.Tensors, format.Tensor{Name: name, DType: k, Shape: shape, Offset: off, Length: length})
	}
}

// kinds are those of NumPy's and ml_dtypes' names; what has no kind of its own is Bytes.
var kinds = map[string]dtype.Kind{
	"float64": dtype.F64, "float32": dtype.F32, "float16": dtype.F16, "bfloat16": dtype.BF16,
	"float8_e4m3fn": dtype.F8E4M3, "float8_e5m2": dtype.F8E5M2, "float8_e8m0fnu": dtype.F8E8M0,
	"int64": dtype.I64, "int32": dtype.I32, "int16": dtype.I16, "int8": dtype.I8,
	"uint64": dtype.U64, "uint32": dtype.U32, "uint16": dtype.U16, "uint8": dtype.U8,
	"bool": dtype.Bool, "complex64": dtype.C64, "complex128": dtype.C128,
}
