package onnx

import (
	"io"
	"math"
	"path"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// place is what a TensorProto's external_data says: a list of keys and values, all of them text.
type place struct {
	location  string // path of the data file, relative to the model's directory
	offset, n int64
	hasLength bool
	bad       bool
}

// data is a file of external data that is to be cut.
type data struct {
	name   string
	size   int64
	ranges []format.Range
	names  int
	dims   int
}

// ParseData cuts a file of external data of size bytes by the model r that it belongs to, in whose directory it is called name. A model that has a
// tensor beyond the end of the file is another file's: ErrDamaged.
func ParseData(r io.ReaderAt, modelSize int64, name string, size int64) (*format.Layout, error) {
	d := &data{name: name, size: size}
	if _, err := parse(r, modelSize, d); err != nil {
		return nil, err
	}
	b := format.Builder{Layout: format.Layout{Format: format.ONNXData}}
	for i := range d.ranges {
		x := &d.ranges[i]
		if x.Offset > size || x.Length > size-x.Offset {
			return nil, format.Damaged(format.ONNXData, x.Offset, "tensor %q of %d bytes in a file of %d", x.Name, x.Length, size)
		}
	}
	b.AddRanges(d.ranges)
	return &b.Layout, nil
}

// ModelName returns the name of the model that a file of external data of the given name belongs to, as the common exporters call them: "model.onnx" for
// "model.onnx.data", "model.onnx_data", "model.onnx_data_1". ok is false for any other name.
func ModelName(name string) (model string, ok bool) {
	i := strings.LastIndex(name, ".onnx")
	if i < 1 {
		return "", false
	}
	i += len(".onnx")
	rest := name[i:]
	if !strings.HasPrefix(rest, ".data") && !strings.HasPrefix(rest, "_data") {
		return "", false
	}
	return name[:i], true
}

// external reads a StringStringEntryProto (key = 1, value = 2) of external_data.
func (m *model) external(p *place, end int64) {
	var key, value string
	for f := range m.Messages(end) {
		switch f.Number {
		case 1:
			key = m.Text(f)
		case 2:
			value = m.Text(f)
		}
	}
	number := func() int64 {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/2 {
			p.bad = true
		}
		return n
	}
	switch key {
	case "location":
		p.location = path.Clean(value)
	case "offset":
		p.offset = number()
	case "length":
		p.n, p.hasLength = number(), true
	}
}

// add notes where a tensor is if it is in this file. One without a length is as long as its shape tells.
func (d *data) add(t *tensor, e element, name string) {
	p := &t.external
	if p.location != d.name || p.bad || d.names > format.MaxNames-format.MaxNameBytes || d.dims > format.MaxAllDims-format.MaxDims || len(d.ranges) >= format.MaxTensors {
		return
	}
	if !p.hasLength {
		n, ok := format.Elements(t.shape)
		if w := int64(e.kind.Width()); ok && !t.wide && e.kind != dtype.Bytes && n <= d.size {
			p.n = n * w
		}
	}
	if p.n == 0 {
		return
	}
	r := format.Range{Name: format.CleanName(name), DType: e.kind, Packed: e.packed, Shape: t.shape, Offset: p.offset, Length: p.n}
	if t.wide {
		r.DType, r.Packed, r.Shape = dtype.Bytes, 0, nil
	}
	d.names += len(r.Name)
	d.dims += len(r.Shape)
	d.ranges = append(d.ranges, r)
}
