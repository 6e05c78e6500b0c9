package onnx

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"coral/delta/format"
	"coral/delta/format/protowire"
	"coral/delta/format/scan"
)

const (
	kind = format.ONNX
	// maxDepth bounds graphs in graphs. Models have two or three.
	maxDepth = 32
)

// Parser is the format.Parser of ONNX models.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// Fields of ModelProto and their wire types; any other one means that the file is something else.
var modelFields = map[int]int{
	1:  protowire.Varint, // ir_version
	2:  protowire.Len,    // producer_name
	3:  protowire.Len,    // producer_version
	4:  protowire.Len,    // domain
	5:  protowire.Varint, // model_version
	6:  protowire.Len,    // doc_string
	7:  protowire.Len,    // graph
	8:  protowire.Len,    // opset_import
	14: protowire.Len,    // metadata_props
	20: protowire.Len,    // training_info
	25: protowire.Len,    // functions
	26: protowire.Len,    // configuration
}

const (
	modelIRVersion = 1
	modelGraph     = 7
	modelTraining  = 20
	modelFunctions = 25
)

// maxIRVersion is far beyond the versions there are (13 in 2026), and one byte long: 0x08 and such a byte begin every model.
const maxIRVersion = 127

// Parse cuts a model of size bytes. Protobuf has no magic: a file is a model if it begins with its IR version, has no top-level field but a
// model's, and has a graph with something in it. Until that is seen, whatever is wrong means format.ErrUnknown.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	m, err := parse(r, size, nil)
	if err != nil {
		return nil, err
	}
	return &m.Layout, nil
}

// parse walks a model of size bytes for its own tensors or, if d is given, for those of a data file.
func parse(r io.ReaderAt, size int64, d *data) (*model, error) {
	head := scan.New(r, 0, min(size, 2))
	if tag, version := head.Byte(), head.Byte(); tag != modelIRVersion<<3|protowire.Varint || version == 0 || version > maxIRVersion {
		return nil, head.UnknownOr()
	}
	m := model{Reader: protowire.New(kind, r, 0, size), end: size, data: d}
	m.Format = kind
	m.walk()
	err := m.Err()
	switch {
	case !m.sure && (err == nil || errors.Is(err, format.ErrDamaged)):
		return nil, format.ErrUnknown
	case err != nil:
		return nil, fmt.Errorf("parse onnx: %w", err)
	}
	return &m, nil
}

// model is a model being walked.
type model struct {
	*protowire.Reader
	format.Builder
	end  int64
	sure bool  // a graph with a node, tensor or value in it was seen
	data *data // nil: the model's own tensors are wanted, and not those of a data file
}

func (m *model) walk() {
	training := 0
	for {
		f, ok := m.Next(m.end)
		if !ok {
			return
		}
		if wire, known := modelFields[f.Number]; !known || wire != f.Wire {
			m.Fail(format.Damaged(kind, m.Pos(), "field %d of wire type %d", f.Number, f.Wire))
			return
		}
		switch f.Number {
		case modelGraph:
			m.graph(f.End, "", 0)
		case modelTraining:
			m.training(f.End, training)
			training++
		case modelFunctions:
			m.function(f.End)
		}
		if f.Wire == protowire.Len {
			m.SkipTo(f.End)
		}
	}
}

// training walks a TrainingInfoProto: initialization = 1 and algorithm = 2 are graphs.
func (m *model) training(end int64, i int) {
	for f := range m.Messages(end) {
		switch prefix := "training." + strconv.Itoa(i); f.Number {
		case 1:
			m.graph(f.End, prefix+".initialization.", 1)
		case 2:
			m.graph(f.End, prefix+".algorithm.", 1)
		}
	}
}

// function walks a FunctionProto: name = 1, node = 7, attribute_proto = 11.
func (m *model) function(end int64) {
	n := node{label: "function"}
	nodes := 0
	for f := range m.Messages(end) {
		switch f.Number {
		case 1:
			n.label = m.Text(f)
		case 7:
			m.node(f.End, n.label+".", nodes, 1)
			nodes++
		case 11:
			m.attribute(f.End, "", &n, 1)
		}
	}
}
