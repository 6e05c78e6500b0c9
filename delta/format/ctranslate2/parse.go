// Package ctranslate2 cuts the model.bin of CTranslate2 (src/models/model.cc and python/ctranslate2/specs/model_spec.py of
// github.com/OpenNMT/CTranslate2), binary versions 2 to 6, little endian:
//
//	u32 version, text spec name, u32 revision, u32 number of variables
//	variables: text name, u8 rank, u32 dimensions each,
//	           from version 4 on: u8 dtype, u32 bytes; before: u8 bytes of an element, u32 elements
//	           then the elements, unaligned
//	from version 3 on: u32 number of aliases, each: text alias, text name of a variable
//
// A text is u16 length, which counts a NUL at the end, and its bytes. An alias is a tensor of its own in the variable's payload.
package ctranslate2

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

const (
	kind       = format.CTranslate2
	minVersion = 2 // version 1 has no spec name: nothing that tells it from other files
	maxVersion = 6
	maxSpec    = 64 // bytes of a spec name with its NUL
)

// Parser is the format.Parser of CTranslate2 models.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// Parse cuts a model of size bytes. There is no magic: a small version, the name of a class and at least one variable of a
// known dtype make one. Until they are seen, whatever is wrong means format.ErrUnknown.
func Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	head := scan.New(r, 0, min(size, 6+maxSpec))
	version := head.U32()
	if version < minVersion || version > maxVersion || !specName(head) {
		return nil, head.UnknownOr()
	}
	m := model{Reader: scan.New(r, head.Pos(), size), version: version}
	m.Format = kind
	m.walk()
	err := m.Err()
	switch {
	case len(m.Tensors) == 0 && (err == nil || errors.Is(err, format.ErrDamaged)):
		return nil, format.ErrUnknown
	case err != nil:
		return nil, fmt.Errorf("parse ctranslate2: %w", err)
	}
	m.Sort() // aliases to their variables
	return &m.Layout, nil
}

// specName reads the name of the class that describes the model, such as TransformerSpec.
func specName(s *scan.Reader) bool {
	n := int(s.U16())
	if n < 2 || n > maxSpec {
		return false
	}
	b := s.Next(n)
	if b == nil || b[n-1] != 0 {
		return false
	}
	return !slices.ContainsFunc(b[:n-1], func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_'
	})
}

// kinds is indexed by the dtypes of version 4 and later.
var kinds = [...]dtype.Kind{dtype.F32, dtype.I8, dtype.I16, dtype.I32, dtype.F16, dtype.BF16}

// widths has what CTranslate2 takes elements of older versions for.
var widths = map[uint8]dtype.Kind{1: dtype.I8, 2: dtype.I16, 4: dtype.F32}

// model is a model being read.
type model struct {
	*scan.Reader
	format.Builder
	version uint32
}

func (m *model) walk() {
	m.U32() // revision
	n := m.count()
	for i := uint32(0); i < n && m.Err() == nil; i++ {
		if !m.variable() {
			m.Fail(format.Damaged(kind, m.Pos(), "variable %d", i))
		}
	}
	if m.version >= 3 && m.Err() == nil && m.Left() > 0 {
		m.aliases()
	}
}

// count reads a number of variables or aliases.
func (m *model) count() uint32 {
	n := m.U32()
	if n > format.MaxTensors {
		m.Fail(format.Damaged(kind, m.Pos(), "%d variables or aliases", n))
	}
	return n
}

// text reads a text that ends in NUL as a clean name; ok is false if it does not.
func (m *model) text() (s string, ok bool) {
	n := uint64(m.U16())
	b := m.Next(int(n))
	if n == 0 || b == nil || b[n-1] != 0 {
		return "", false
	}
	return format.CleanName(string(b[:n-1])), true
}

// variable reads one variable and skips its elements.
func (m *model) variable() bool {
	name, ok := m.text()
	if !ok {
		return false
	}
	rank := int(m.Byte())
	if rank > format.MaxDims {
		return false
	}
	shape := make([]int64, rank)
	for i := range shape {
		shape[i] = int64(m.U32())
	}
	k, n, ok := m.data()
	if m.Err() != nil || !ok {
		return false
	}
	at := m.Pos()
	if m.Skip(uint64(n)); m.Err() == nil {
		m.AddData(name, k, 0, shape, at, n)
	}
	return true
}

// data reads the kind and the number of bytes of a variable.
func (m *model) data() (k dtype.Kind, n int64, ok bool) {
	t := m.Byte()
	n = int64(m.U32())
	if m.version >= 4 {
		if int(t) >= len(kinds) {
			return dtype.Bytes, n, false
		}
		return kinds[t], n, true
	}
	k, ok = widths[t]
	return k, n * int64(t), ok
}

// aliases reads the second names of variables. One of no variable is left out: nothing but a name is lost.
func (m *model) aliases() {
	byName := make([]int, len(m.Tensors))
	for i := range byName {
		byName[i] = i
	}
	slices.SortStableFunc(byName, func(a, b int) int { return cmp.Compare(m.Tensors[a].Name, m.Tensors[b].Name) })
	n := m.count()
	for i := uint32(0); i < n && m.Err() == nil; i++ {
		alias, ok := m.text()
		name, ok2 := m.text()
		if !ok || !ok2 {
			m.Fail(format.Damaged(kind, m.Pos(), "alias %d", i))
			return
		}
		k, found := slices.BinarySearchFunc(byName, name, func(i int, name string) int { return cmp.Compare(m.Tensors[i].Name, name) })
		if found {
			t := m.Tensors[byName[k]]
			t.Name = alias
			m.AddTensor(t)
		}
	}
}
