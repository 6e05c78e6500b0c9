package npy

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

// maxHeader is the longest header that is read. NumPy itself refuses more than 10,000 bytes by default.
const maxHeader = scan.MaxNext

// magic begins every array.
const magic = "\x93NUMPY"

// header is what the header of an array says.
type header struct {
	kind    dtype.Kind
	width   int  // bytes an element
	fields  bool // structured: width is not worked out, the data ends where the file or entry does
	objects bool
	fortran bool
	shape   []int64
}

// array reads the header at s and returns the array, whose data must end at end at the latest. It moves s behind the header.
func array(s *scan.Reader, end int64) (format.Tensor, error) {
	text, err := headerText(s)
	if err != nil {
		return format.Tensor{}, err
	}
	h, ok := parseHeader(text)
	if !ok {
		return format.Tensor{}, format.Damaged(kind, s.Pos(), "header is no description of an array")
	}
	if h.objects {
		return format.Tensor{}, format.Damaged(kind, s.Pos(), "array holds pickled objects")
	}
	t := format.Tensor{DType: h.kind, Shape: h.shape, Offset: s.Pos()}
	n, ok := format.Elements(h.shape)
	left := end - t.Offset
	switch {
	case !ok:
		return t, format.Damaged(kind, s.Pos(), "shape %v", h.shape)
	case h.fields && n > 0:
		t.Length = left
	case h.width > 0 && n > left/int64(h.width):
		return t, format.Damaged(kind, s.Pos(), "array of shape %v and %d bytes an element in %d bytes", h.shape, h.width, left)
	default:
		t.Length = n * int64(h.width)
	}
	if h.fortran && n > 0 {
		t.Stride = fortranStride(h.shape)
		if format.Contiguous(t.Shape, t.Stride) {
			t.Stride = nil
		}
	}
	return t, nil
}

// headerText reads the magic, version and length, and returns the text of the header.
func headerText(s *scan.Reader) (string, error) {
	b := s.Next(len(magic) + 2)
	if b == nil || string(b[:len(magic)]) != magic {
		return "", s.UnknownOr()
	}
	n := 0
	switch major := b[len(magic)]; major {
	case 1:
		n = int(s.U16())
	case 2, 3:
		n = int(min(s.U32(), math.MaxInt32))
	default:
		return "", format.Damaged(kind, s.Pos(), "version %d", major)
	}
	if n > maxHeader {
		return "", format.Damaged(kind, s.Pos(), "header of %d bytes", n)
	}
	text := string(s.Next(n))
	return text, s.Err()
}

// fortranStride returns the strides of an array whose first dimension varies fastest; its elements were counted without overflow.
func fortranStride(shape []int64) []int64 {
	stride := make([]int64, len(shape))
	step := int64(1)
	for i, d := range shape {
		stride[i] = step
		step *= d
	}
	return stride
}

// parseHeader parses the literal of a dict with exactly the keys descr, fortran_order and shape.
func parseHeader(text string) (h header, ok bool) {
	l := literal{text: text}
	var descr, fortran, shape bool
	ok = l.take('{')
	for ok && l.peek() != '}' {
		key, good := l.string()
		if !good || !l.take(':') {
			return h, false
		}
		switch key {
		case "descr":
			descr = l.descr(&h)
		case "fortran_order":
			h.fortran, fortran = l.boolean()
		case "shape":
			h.shape, shape = l.shape()
		default:
			return h, false
		}
		if l.peek() != '}' {
			ok = l.take(',')
		}
	}
	ok = ok && l.take('}') && l.peek() == 0
	return h, ok && descr && fortran && shape
}

// descr parses a dtype: a string such as '<f4', or the fields of a structured one.
func (l *literal) descr(h *header) bool {
	if l.peek() != '\'' && l.peek() != '"' {
		return l.structured(h)
	}
	s, ok := l.string()
	if !ok || len(s) < 2 {
		return false
	}
	order, letter := s[0], s[1]
	digits := s[2:]
	if i := strings.IndexByte(digits, '['); i >= 0 {
		digits = digits[:i] // the unit of a datetime
	}
	if letter == 'O' {
		h.objects = true
		return true
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 || !strings.ContainsRune("<>|=", rune(order)) {
		return false
	}
	h.width = int(n)
	if letter == 'U' {
		h.width = int(min(4*n, math.MaxInt32)) // characters of four bytes
	}
	if order != '>' || n == 1 {
		h.kind = kinds[string(letter)+digits]
	}
	if k, ok := mlKinds[s]; ok {
		h.kind = k
	}
	return true
}

// mlKinds are the dtypes of the ml_dtypes package (JAX, Keras; MLX writes the same) that NumPy's file format can tell apart: its own
// void is '|V2', without byte order. The kinds of one byte are all '<V1', float8_e5m2 excepted.
var mlKinds = map[string]dtype.Kind{"<V2": dtype.BF16, "<f1": dtype.F8E5M2}

// kinds are the dtypes of descr without byte order. Any other is Bytes.
var kinds = map[string]dtype.Kind{
	"b1": dtype.Bool, "i1": dtype.I8, "u1": dtype.U8, "i2": dtype.I16, "u2": dtype.U16, "i4": dtype.I32, "u4": dtype.U32,
	"i8": dtype.I64, "u8": dtype.U64, "f2": dtype.F16, "f4": dtype.F32, "f8": dtype.F64, "c8": dtype.C64, "c16": dtype.C128,
	"M8": dtype.I64, "m8": dtype.I64,
}

// structured skips the list of fields and notes whether one holds objects.
func (l *literal) structured(h *header) bool {
	if l.peek() != '[' {
		return false
	}
	h.fields = true
	for depth := 0; ; {
		switch c := l.peek(); c {
		case '[', '(':
			l.at++
			depth++
		case ']', ')':
			l.at++
			if depth--; depth == 0 {
				return true
			}
		case '\'', '"':
			s, ok := l.string()
			if !ok {
				return false
			}
			h.objects = h.objects || s == "|O" || s == "O"
		case 0:
			return false
		default:
			l.at++
		}
	}
}

// literal is a reader of the few Python literals of a header.
type literal struct {
	text string
	at   int
}

// peek moves behind white space and returns the byte there; 0 at the end.
func (l *literal) peek() byte {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
	if l.at == len(l.text) {
		return 0
	}
	return l.text[l.at]
}

func (l *literal) take(c byte) bool {
	if l.peek() != c {
		return false
	}
	l.at++
	return true
}

// string reads a quoted string; escapes are kept as they are.
func (l *literal) string() (string, bool) {
	quote := l.peek()
	if quote != '\'' && quote != '"' {
		return "", false
	}
	from := l.at + 1
	for i := from; i < len(l.text); i++ {
		switch l.text[i] {
		case '\\':
			i++
		case quote:
			l.at = i + 1
			return l.text[from:i], true
		}
	}
	return "", false
}

func (l *literal) boolean() (value, ok bool) {
	l.peek()
	rest := l.text[l.at:]
	switch {
	case strings.HasPrefix(rest, "True"):
		l.at += 4
		return true, true
	case strings.HasPrefix(rest, "False"):
		l.at += 5
		return false, true
	}
	return false, false
}

// shape reads a tuple of numbers. Python 2 wrote long ones with an L.
func (l *literal) shape() ([]int64, bool) {
	out := []int64{}
	if !l.take('(') {
		return nil, false
	}
	for l.peek() != ')' {
		n, err := l.number()
		if err != nil || len(out) >= format.MaxDims {
			return nil, false
		}
		out = append(out, n)
		if l.peek() == 'L' {
			l.at++
		}
		if l.peek() != ')' && !l.take(',') {
			return nil, false
		}
	}
	return out, l.take(')')
}

var errNoNumber = errors.New("no number")

func (l *literal) number() (int64, error) {
	l.peek()
	from := l.at
	for l.at < len(l.text) && l.text[l.at] >= '0' && l.text[l.at] <= '9' {
		l.at++
	}
	if from == l.at {
		return 0, errNoNumber
	}
	return strconv.ParseInt(l.text[from:l.at], 10, 64)
}
