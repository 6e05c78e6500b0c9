// Package tflite cuts TensorFlow Lite (LiteRT) models, version 3 of their schema:
//
//	u32 offset of the root table, "TFL3", then a flatbuffer
//	Model:    subgraphs = 2, buffers = 4
//	SubGraph: tensors = 0
//	Tensor:   shape = 0, type = 1, buffer = 2, name = 3, sparsity = 6
//	Buffer:   data = 0, or offset = 1 and size = 2 of data behind the flatbuffer, which ends at 2 GiB
//
// A buffer with data that is a tensor's is a payload, named by the first tensor that has it. Other buffers (metadata) stay literal.
package tflite

import (
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

const (
	kind  = format.TFLite
	magic = 0x334c4654 // "TFL3"
)

// Parser is the format.Parser of TensorFlow Lite models.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// Parse cuts a model of size bytes. It returns format.ErrUnknown if the magic is missing.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	head := scan.New(r, 0, min(size, 8))
	if head.U32(); head.U32() != magic {
		return nil, head.UnknownOr()
	}
	m := model{flatbuffer: flatbuffer{scan.NewPages(r, size)}}
	m.Format = kind
	m.walk()
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("parse tflite: %w", err)
	}
	m.AddRanges(m.found)
	return &m.Layout, nil
}

// Fields of the tables.
const (
	modelSubgraphs  = 2
	modelBuffers    = 4
	subgraphTensors = 0
	tensorShape     = 0
	tensorType      = 1
	tensorBuffer    = 2
	tensorName      = 3
	tensorSparsity  = 6
	bufferData      = 0
	bufferOffset    = 1
	bufferSize      = 2
)

// element is what a TensorType is here.
type element struct {
	kind   dtype.Kind
	packed int // bits, if less than a byte
}

// elements is indexed by TensorType. Strings, resources and variants have no elements.
var elements = [...]element{
	0: {kind: dtype.F32}, 1: {kind: dtype.F16}, 2: {kind: dtype.I32}, 3: {kind: dtype.U8}, 4: {kind: dtype.I64}, 5: {}, 6: {kind: dtype.Bool},
	7: {kind: dtype.I16}, 8: {kind: dtype.C64}, 9: {kind: dtype.I8}, 10: {kind: dtype.F64}, 11: {kind: dtype.C128}, 12: {kind: dtype.U64},
	13: {}, 14: {}, 15: {kind: dtype.U32}, 16: {kind: dtype.U16}, 17: {packed: 4}, 18: {kind: dtype.BF16}, 19: {packed: 2}, 20: {packed: 4},
	21: {kind: dtype.F8E4M3}, 22: {kind: dtype.F8E5M2},
}

// model is a model being read.
type model struct {
	flatbuffer
	format.Builder
	found []format.Range
	names int
	dims  int
}

// walk finds the tensors of all subgraphs. A file may lead it to the same table again and again; the number of tensors looked at is bounded all the same.
func (m *model) walk() {
	root := table(m.U32(0))
	if m.Err() == nil && root == 0 {
		m.Fail(format.Damaged(kind, 0, "no root table"))
	}
	at, graphs := m.vector(root, modelSubgraphs, 4)
	buffers, n := m.vector(root, modelBuffers, 4)
	left := int64(format.MaxTensors)
	for i := int64(0); i < graphs && m.Err() == nil; i++ {
		first, tensors := m.vector(table(m.follow(at+4*i)), subgraphTensors, 4)
		if left -= 1 + tensors; left < 0 {
			m.Fail(format.Damaged(kind, first, "more than %d tensors", format.MaxTensors))
		}
		for k := int64(0); k < tensors && m.Err() == nil; k++ {
			m.tensor(table(m.follow(first+4*k)), buffers, n)
		}
	}
}

// tensor remembers t if it has data. buffers is the place of the vector of n buffers.
func (m *model) tensor(t table, buffers, n int64) {
	i := int64(m.u32(t, tensorBuffer))
	if m.Err() != nil || i == 0 { // by convention the empty one
		return
	}
	if i >= n {
		m.Fail(format.Damaged(kind, int64(t), "tensor in buffer %d of %d", i, n))
		return
	}
	at, size := m.buffer(table(m.follow(buffers + 4*i)))
	if m.Err() != nil || size == 0 || m.names > format.MaxNames-format.MaxNameBytes || m.dims > format.MaxAllDims-format.MaxDims {
		return
	}
	e := elementOf(m.u8(t, tensorType))
	dims, rank := m.vector(t, tensorShape, 4)
	if rank > format.MaxDims {
		rank, e = 0, element{}
	}
	f := format.Range{Name: m.text(t, tensorName), DType: e.kind, Packed: e.packed, Sparse: m.slot(t, tensorSparsity) > 0, Offset: at, Length: size}
	f.Shape = make([]int64, rank)
	for k := range f.Shape {
		f.Shape[k] = int64(int32(m.U32(dims + 4*int64(k)))) // a negative one fits no data
	}
	m.names += len(f.Name)
	m.dims += len(f.Shape)
	m.found = append(m.found, f)
}

// buffer returns where the data of a Buffer is.
func (m *model) buffer(t table) (at, n int64) {
	if at, n = m.vector(t, bufferData, 1); n > 0 {
		return at, n
	}
	off, size := m.u64(t, bufferOffset), m.u64(t, bufferSize)
	if off <= 1 || size == 0 { // 1 stands for an offset that is not known yet
		return 0, 0
	}
	if off > uint64(m.Size()) || size > uint64(m.Size())-off {
		m.Fail(format.Damaged(kind, int64(t), "buffer of %d bytes at %d", size, off))
		return 0, 0
	}
	return int64(off), int64(size)
}

// elementOf returns what a TensorType is here.
func elementOf(typ uint8) element {
	if int(typ) < len(elements) {
		return elements[typ]
	}
	return element{}
}
