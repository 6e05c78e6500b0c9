package onnx

import (
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/protowire"
)

// Fields of GraphProto.
const (
	graphNode              = 1
	graphInitializer       = 5
	graphInput             = 11
	graphOutput            = 12
	graphSparseInitializer = 15
)

// graph walks a GraphProto that ends at end. Names inside follow prefix.
func (m *model) graph(end int64, prefix string, depth int) {
	if depth > maxDepth {
		m.Fail(format.Damaged(kind, m.Pos(), "graphs nested more than %d deep", maxDepth))
		return
	}
	nodes := 0
	for f := range m.Messages(end) {
		switch f.Number {
		case graphNode:
			m.node(f.End, prefix, nodes, depth)
			nodes++
		case graphInitializer:
			t := m.tensor(f.End)
			m.add(&t, prefix+t.name)
		case graphSparseInitializer:
			m.sparse(f.End, prefix, "")
		case graphInput, graphOutput:
			m.value(f.End)
		}
	}
}

// value walks a ValueInfoProto (name = 1, type = 2, doc_string = 3, metadata_props = 4) for what it says of the file: that it is a model.
func (m *model) value(end int64) {
	if m.sure {
		return
	}
	for {
		f, ok := m.Next(end)
		if !ok {
			return
		}
		if f.Wire != protowire.Len || f.Number > 4 {
			m.Fail(format.Damaged(kind, m.Pos(), "value with a field %d", f.Number))
			return
		}
		m.SkipTo(f.End)
		m.sure = m.sure || m.Err() == nil && f.Number <= 2
	}
}

// node is what names the tensors in the attributes of a NodeProto.
type node struct {
	label    string // its name, or else its first output
	output   string
	constant bool
}

// Fields of NodeProto. Programs write them in the order of these numbers, so that all that names come before the attributes. Where one does not, names
// are poorer, but as poor in the next checkpoint.
const (
	nodeOutput    = 2
	nodeName      = 3
	nodeOpType    = 4
	nodeAttribute = 5
)

// node walks the i-th NodeProto of its graph.
func (m *model) node(end int64, prefix string, i, depth int) {
	var n node
	for f := range m.Messages(end) {
		switch f.Number {
		case nodeOutput:
			if n.output == "" {
				n.output = m.Text(f)
			}
		case nodeName:
			n.label = m.Text(f)
		case nodeOpType:
			m.sure = true
			op := m.Text(f)
			n.constant = op == "Constant"
		case nodeAttribute:
			if n.label == "" {
				n.label = n.output
			}
			if n.label == "" {
				n.label = "node" + strconv.Itoa(i)
			}
			m.attribute(f.End, prefix, &n, depth)
		}
	}
}

// Fields of AttributeProto. The plural ones are repeated.
const (
	attrName          = 1
	attrTensor        = 5
	attrGraph         = 6
	attrFloats        = 7
	attrTensors       = 10
	attrGraphs        = 11
	attrSparseTensor  = 22
	attrSparseTensors = 23
)

// attribute walks an AttributeProto.
func (m *model) attribute(end int64, prefix string, n *node, depth int) {
	attr, several := "", 0
	// name returns what the next part of the attribute is called.
	name := func(number int) string {
		s := prefix + n.label + "." + attr
		if n.constant && n.output != "" {
			s = prefix + n.output
		}
		if number == attrTensors || number == attrGraphs || number == attrSparseTensors {
			s += "." + strconv.Itoa(several)
			several++
		}
		return format.CleanName(s)
	}
	for f := range m.Messages(end) {
		switch f.Number {
		case attrName:
			attr = m.Text(f)
		case attrTensor, attrTensors:
			t := m.tensor(f.End)
			m.add(&t, name(f.Number))
		case attrGraph, attrGraphs:
			m.graph(f.End, name(f.Number)+".", depth+1)
		case attrFloats: // packed; most programs write them one by one
			m.AddData(name(f.Number), dtype.F32, 0, []int64{f.Len() / 4}, f.At, f.Len())
		case attrSparseTensor, attrSparseTensors:
			m.sparse(f.End, "", name(f.Number))
		}
	}
}
