package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"coral/delta/format"
)

// field appends a field of bytes.
func field(b []byte, number int, contents []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(contents)))
	return append(b, contents...)
}

// number appends a field that is a number.
func number(b []byte, number int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number)<<3), v)
}

// file returns a model with the given graph.
func file(graph []byte) []byte { return field(number(nil, modelIRVersion, 8), modelGraph, graph) }

// floats returns a graph with an initializer of the given dimensions and n bytes.
func floats(n int, dims ...uint64) []byte {
	var t []byte
	for _, d := range dims {
		t = number(t, tensorDims, d)
	}
	t = number(t, tensorDataType, 1)
	return field(nil, graphInitializer, field(field(t, tensorName, []byte("w")), tensorRawData, make([]byte, n)))
}

func parseBytes(b []byte) (*format.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestHostile(t *testing.T) {
	nested := func(depth int) []byte {
		g := floats(4, 1)
		for range depth {
			g = field(nil, graphNode, field(field(nil, nodeOpType, []byte("If")), nodeAttribute, field(nil, attrGraph, g)))
		}
		return file(g)
	}
	for name, c := range map[string]struct {
		b       []byte
		err     error
		tensors int
		bytes   int64
	}{
		"good":              {file(floats(8, 2)), nil, 1, 8},
		"deep":              {nested(maxDepth), nil, 1, 4},
		"too deep":          {nested(maxDepth + 1), format.ErrDamaged, 0, 0},
		"far too deep":      {nested(5000), format.ErrDamaged, 0, 0},
		"overflow":          {file(floats(8, 1<<40, 1<<40)), nil, 0, 8},
		"negative":          {file(floats(8, math.MaxUint64)), nil, 0, 8},
		"64 dimensions":     {file(floats(4, bytesOf(64)...)), nil, 1, 4},
		"65 dimensions":     {file(floats(4, bytesOf(65)...)), nil, 1, 4},
		"trailing zeros":    {append(file(floats(8, 2)), 0, 0), format.ErrDamaged, 0, 0},
		"unknown field":     {field(file(floats(8, 2)), 99, nil), format.ErrDamaged, 0, 0},
		"cut off":           {file(floats(8, 2))[:20], format.ErrUnknown, 0, 0},
		"cut after a node":  {file(append(field(nil, graphNode, field(nil, nodeOpType, []byte("Add"))), 0x2a, 99)), format.ErrDamaged, 0, 0},
		"no graph":          {number(nil, 1, 8), format.ErrUnknown, 0, 0},
		"an empty graph":    {file(nil), format.ErrUnknown, 0, 0},
		"another message":   {field(number(nil, 1, 8), 9, []byte("x")), format.ErrUnknown, 0, 0},
		"version 0":         {append([]byte{8, 0}, file(floats(8, 2))...), format.ErrUnknown, 0, 0},
		"a long name":       {file(field(nil, graphInitializer, field(field(number(number(nil, 1, 1), 2, 1), 8, make([]byte, 9999)), 9, make([]byte, 4)))), nil, 1, 4},
		"two graphs":        {field(file(floats(8, 2)), modelGraph, floats(4, 1)), nil, 2, 12},
		"raw data twice":    {file(field(nil, graphInitializer, field(field(number(number(nil, 1, 1), 2, 1), 9, make([]byte, 4)), 9, make([]byte, 4)))), nil, 1, 4},
		"floats of doubles": {file(field(nil, graphInitializer, field(number(number(nil, 1, 1), 2, 11), 4, make([]byte, 8)))), nil, 1, 8},
	} {
		l, err := parseBytes(c.b)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		n := int64(0)
		for _, p := range l.Payloads {
			n += p.Length
		}
		if err := l.Check(int64(len(c.b))); err != nil || len(l.Tensors) != c.tensors || n != c.bytes {
			t.Errorf("%s: %d tensors, %d bytes, %v; want %d, %d", name, len(l.Tensors), n, err, c.tensors, c.bytes)
		}
	}
}

func bytesOf(n int) []uint64 {
	dims := make([]uint64, n)
	for i := range dims {
		dims[i] = 1
	}
	return dims
}

// TestNamesBounded: names that grow with every graph around them stay within the limit of one name, and their sum within that of a file.
func TestNamesBounded(t *testing.T) {
	g := floats(4, 1)
	long := []byte(strings.Repeat("n", 3000))
	for range 20 {
		g = field(nil, graphNode, field(field(field(nil, nodeName, long), nodeOpType, []byte("If")), nodeAttribute, field(nil, attrGraph, g)))
	}
	b := file(g)
	l, err := parseBytes(b)
	if err != nil || len(l.Tensors) != 1 || len(l.Tensors[0].Name) > format.MaxNameBytes {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Error(err)
	}
}

// counting counts the bytes that are read of a file that is zero behind its header.
type counting struct {
	head []byte
	size int64
	read int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(c.head)) {
		copy(p, c.head[off:])
	}
	c.read += int64(len(p))
	return len(p), nil
}

// TestPayloadsAreNotRead: of a model of 100 GB as good as nothing is read.
func TestPayloadsAreNotRead(t *testing.T) {
	const elements = 25 << 30
	tensor := field(number(number(nil, tensorDims, elements), tensorDataType, 1), tensorName, []byte("w"))
	tensor = binary.AppendUvarint(append(tensor, tensorRawData<<3|2), 4*elements)
	head := binary.AppendUvarint([]byte{graphInitializer<<3 | 2}, uint64(len(tensor))+4*elements)
	head = append(head, tensor...)
	graph := binary.AppendUvarint(append(number(nil, modelIRVersion, 8), modelGraph<<3|2), uint64(len(head))+4*elements)
	c := &counting{head: append(graph, head...)}
	c.size = int64(len(c.head)) + 4*elements
	l, err := Parse(c, c.size)
	if err != nil || len(l.Tensors) != 1 || l.Tensors[0].Length != 4*elements {
		t.Fatalf("%+v, %v", l, err)
	}
	if c.read > 1<<20 {
		t.Errorf("%d bytes read", c.read)
	}
}

// repeated is a file that is a head and then the same bytes again and again.
type repeated struct {
	head, body []byte
}

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(r.head)) {
		n = copy(p, r.head[off:])
	}
	for i := n; i < len(p); i++ {
		p[i] = r.body[(off+int64(i)-int64(len(r.head)))%int64(len(r.body))]
	}
	return len(p), nil
}

// TestFieldsBounded: a file of 1 TiB that is nothing but small fields is given up, not walked to its end.
func TestFieldsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	head := append(number(nil, modelIRVersion, 8), field(nil, modelGraph, floats(8, 2))...)
	if _, err := Parse(repeated{head, []byte{5 << 3, 1}}, 1<<40); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("%v", err)
	}
}
