package onnx

import (
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/protowire"
)

// Fields of TensorProto.
const (
	tensorDims       = 1
	tensorDataType   = 2
	tensorFloatData  = 4
	tensorName       = 8
	tensorRawData    = 9
	tensorDoubleData = 10
	tensorExternal   = 13
)

// element is what a TensorProto.DataType is here.
type element struct {
	kind   dtype.Kind
	packed int // bits, if less than a byte
	field  int // what may hold such elements beside raw_data, as little-endian numbers
}

// elements has the types of fixed width. What has no kind is U8 if a byte wide, as in torch files, and Bytes if less.
var elements = map[uint64]element{
	1: {kind: dtype.F32, field: tensorFloatData}, 2: {kind: dtype.U8}, 3: {kind: dtype.I8}, 4: {kind: dtype.U16}, 5: {kind: dtype.I16},
	6: {kind: dtype.I32}, 7: {kind: dtype.I64}, 9: {kind: dtype.Bool}, 10: {kind: dtype.F16}, 11: {kind: dtype.F64, field: tensorDoubleData},
	12: {kind: dtype.U32}, 13: {kind: dtype.U64}, 14: {kind: dtype.C64, field: tensorFloatData}, 15: {kind: dtype.C128, field: tensorDoubleData},
	16: {kind: dtype.BF16}, 17: {kind: dtype.F8E4M3}, 18: {kind: dtype.U8}, 19: {kind: dtype.F8E5M2}, 20: {kind: dtype.U8},
	21: {kind: dtype.Bytes, packed: 4}, 22: {kind: dtype.Bytes, packed: 4}, 23: {kind: dtype.F4, packed: 4}, 24: {kind: dtype.F8E8M0},
	25: {kind: dtype.Bytes, packed: 2}, 26: {kind: dtype.Bytes, packed: 2},
}

// tensor is what a TensorProto says. at is -1 if it has no data here that could be cut.
type tensor struct {
	name  string
	typ   uint64
	shape []int64
	wide  bool // more dimensions than a layout may have
	field int  // that holds the data
	at, n int64
	end   int64 // of the message

	external place // only looked for by ParseData
}

// tensor walks a TensorProto. It reads none of its data.
func (m *model) tensor(end int64) tensor {
	t := tensor{at: -1, end: end}
	for {
		f, ok := m.Next(end)
		if !ok {
			return t
		}
		switch {
		case f.Number == tensorDims:
			m.dims(&t, f)
		case f.Number == tensorDataType && f.Wire == protowire.Varint:
			t.typ = f.Value
			m.sure = true
		case f.Wire != protowire.Len:
		case f.Number == tensorName:
			t.name = m.Text(f)
		case f.Number == tensorExternal && m.data != nil:
			m.external(&t.external, f.End)
		case f.Number == tensorRawData || f.Number == tensorFloatData || f.Number == tensorDoubleData:
			t.field, t.at, t.n = f.Number, f.At, f.Len()
		}
		if f.Wire == protowire.Len {
			m.SkipTo(f.End)
		}
	}
}

// dims adds one dimension, or several if they are packed.
func (m *model) dims(t *tensor, f protowire.Field) {
	if f.Wire != protowire.Varint && f.Wire != protowire.Len {
		return
	}
	m.Varints(f, func(d uint64) bool {
		if t.wide = len(t.shape) >= format.MaxDims; !t.wide {
			t.shape = append(t.shape, int64(d)) // a negative one fits no data
		}
		return !t.wide
	})
}

// add adds t to the layout. One without data here is left out, unless it is empty.
func (m *model) add(t *tensor, name string) {
	if m.Err() != nil {
		return
	}
	e, known := elements[t.typ]
	if m.data != nil {
		m.data.add(t, e, name)
		return
	}
	if t.at < 0 {
		if n, ok := format.Elements(t.shape); known && ok && n == 0 && !t.wide {
			m.AddTensor(format.Tensor{Name: format.CleanName(name), DType: e.kind, Shape: t.shape, Offset: t.end})
		}
		return
	}
	if t.wide || !known || t.field != tensorRawData && t.field != e.field {
		m.AddData(name, dtype.Bytes, 0, []int64{t.n}, t.at, t.n)
		return
	}
	m.AddData(name, e.kind, e.packed, t.shape, t.at, t.n)
}

// sparse walks a SparseTensorProto: values = 1 and indices = 2 are tensors, the name is that of the values unless it is given.
func (m *model) sparse(end int64, prefix, name string) {
	for f := range m.Messages(end) {
		switch f.Number {
		case 1:
			t := m.tensor(f.End)
			if name == "" {
				name = prefix + t.name
			}
			m.add(&t, name)
		case 2:
			t := m.tensor(f.End)
			m.add(&t, name+".indices")
		}
	}
}
