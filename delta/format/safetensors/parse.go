// Package safetensors cuts .safetensors files: u64 header length, JSON header, data.
//
//	{"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//
// Offsets count from the end of the header. As in the reference reader, the tensors must cover the data without holes
// and overlaps. Unlike it, a dtype with no name here does not make the file damaged: its tensor is Bytes.
package safetensors

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

const kind = format.Safetensors

// Parser is the format.Parser of safetensors files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// element is a dtype and the bits of one element of it.
type element struct {
	kind dtype.Kind
	bits int
}

var elements = map[string]element{
	"F64": {dtype.F64, 64}, "F32": {dtype.F32, 32}, "F16": {dtype.F16, 16}, "BF16": {dtype.BF16, 16},
	"F8_E4M3": {dtype.F8E4M3, 8}, "F8_E5M2": {dtype.F8E5M2, 8}, "F8_E8M0": {dtype.F8E8M0, 8},
	"F8_E4M3FNUZ": {dtype.U8, 8}, "F8_E5M2FNUZ": {dtype.U8, 8}, // no kind of their own
	"F6_E2M3": {dtype.F6E2M3, 6}, "F6_E3M2": {dtype.F6E3M2, 6}, "F4": {dtype.F4, 4},
	"I64": {dtype.I64, 64}, "I32": {dtype.I32, 32}, "I16": {dtype.I16, 16}, "I8": {dtype.I8, 8},
	"U64": {dtype.U64, 64}, "U32": {dtype.U32, 32}, "U16": {dtype.U16, 16}, "U8": {dtype.U8, 8},
	"BOOL": {dtype.Bool, 8}, "C64": {dtype.C64, 64},
}

// prefix is the size of the header length, and minHeader that of the shortest header, {}.
const (
	prefix    = 8
	minHeader = 2
)

// Parse cuts a file of size bytes. It returns format.ErrUnknown unless a plausible length and a brace begin it.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	s := scan.New(r, 0, min(size, prefix+minHeader))
	n := s.U64()
	head := s.Next(minHeader)
	if head == nil || n < minHeader || n > format.MaxHeader || head[0] != '{' || !strings.ContainsRune("\"} \t\r\n", rune(head[1])) {
		return nil, s.UnknownOr()
	}
	if n > uint64(size-prefix) {
		return nil, format.Damaged(kind, 0, "header of %d bytes in a file of %d", n, size)
	}
	h := header{data: size - prefix - int64(n)}
	s.Reset(prefix, prefix+int64(n))
	if err := h.read(&jsonReader{s}); err != nil {
		return nil, err
	}
	return h.layout(prefix + int64(n))
}

// header collects the tensors; their offsets count from the begin of the data until layout.
type header struct {
	data    int64 // bytes behind the header
	tensors []format.Tensor
	names   int
	dims    int
}

// read reads the whole header and the spaces behind it.
func (h *header) read(j *jsonReader) error {
	err := j.object(func(key string) error {
		if key == "__metadata__" {
			return j.skip()
		}
		return h.tensor(j, key)
	})
	if err != nil {
		return err
	}
	return j.end()
}

// tensor reads the object that describes one tensor.
func (h *header) tensor(j *jsonReader, name string) error {
	at := j.Pos()
	var (
		t              = format.Tensor{Name: name, Shape: []int64{}}
		el             element
		offsets        []int64
		named, hasType bool
		hasShape       bool
	)
	err := j.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = j.string()
			el, named = elements[s]
			hasType = true
		case "shape":
			t.Shape, err = j.numbers(format.MaxDims)
			hasShape = true
		case "data_offsets":
			offsets, err = j.numbers(2)
		default:
			err = j.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if !hasType || !hasShape || len(offsets) != 2 || offsets[0] > offsets[1] || offsets[1] > h.data {
		return format.Damaged(kind, at, "tensor %q: dtype, shape or offsets %v in %d bytes of data", name, offsets, h.data)
	}
	t.DType, t.Offset, t.Length = el.kind, offsets[0], offsets[1]-offsets[0]
	if named && !fits(t.Shape, el.bits, t.Length) {
		return format.Damaged(kind, at, "tensor %q of shape %v in %d bytes", name, t.Shape, t.Length)
	}
	h.names += len(name)
	h.dims += len(t.Shape)
	if len(h.tensors) >= format.MaxTensors || h.names > format.MaxNames || h.dims > format.MaxAllDims {
		return format.Damaged(kind, at, "more tensors, names or dimensions than are read")
	}
	h.tensors = append(h.tensors, t)
	return nil
}

// fits reports whether a tensor of this shape takes n bytes.
func fits(shape []int64, bits int, n int64) bool {
	count, ok := format.Elements(shape)
	if !ok || count > 1<<59 { // 64 bits an element and no overflow
		return false
	}
	hi := count / 8 * int64(bits) // in two steps: count × bits may overflow
	lo := count % 8 * int64(bits)
	return lo%8 == 0 && hi+lo/8 == n
}

// layout checks that the tensors cover the data and returns them, with offsets from the begin of the file.
func (h *header) layout(base int64) (*format.Layout, error) {
	if name, ok := h.duplicate(); ok {
		return nil, format.Damaged(kind, prefix, "tensor %q twice", name)
	}
	slices.SortStableFunc(h.tensors, func(a, b format.Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length)) // empty ones before the one that begins there
	})
	l := &format.Layout{Format: kind, Tensors: h.tensors}
	end := int64(0)
	for i := range h.tensors {
		t := &h.tensors[i]
		if t.Offset != end {
			return nil, format.Damaged(kind, base+t.Offset, "tensor %q does not begin where the one before it ends, at %d", t.Name, base+end)
		}
		end += t.Length
		t.Offset += base
		if t.Length > 0 {
			l.Payloads = append(l.Payloads, format.Payload{Offset: t.Offset, Length: t.Length, DType: t.DType, Name: t.Name})
		}
	}
	if end != h.data {
		return nil, format.Damaged(kind, base+end, "%d bytes behind the last tensor", h.data-end)
	}
	return l, nil
}

// duplicate returns a name that two tensors have.
func (h *header) duplicate() (string, bool) {
	order := make([]int32, len(h.tensors)) // at most MaxTensors
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(h.tensors[a].Name, h.tensors[b].Name) })
	for i := 1; i < len(order); i++ {
		if name := h.tensors[order[i]].Name; name == h.tensors[order[i-1]].Name {
			return name, true
		}
	}
	return "", false
}
