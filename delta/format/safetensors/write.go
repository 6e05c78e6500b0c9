package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// rank is the order of dtypes in a file, as in the Rust library 0.8 (tensor.rs, enum Dtype, descending): the widest first, so that all are aligned.
var rank = map[dtype.Kind]int{
	dtype.U64: 0, dtype.I64: 1, dtype.F64: 2, dtype.C64: 3, dtype.F32: 4, dtype.U32: 5, dtype.I32: 6, dtype.BF16: 7, dtype.F16: 8, dtype.U16: 9, dtype.I16: 10,
	dtype.F8E8M0: 11, dtype.F8E4M3: 12, dtype.F8E5M2: 13, dtype.I8: 14, dtype.U8: 15, dtype.F6E3M2: 16, dtype.F6E2M3: 17, dtype.F4: 18, dtype.Bool: 19,
}

// Supported reports whether the format has a name for elements of kind k.
func Supported(k dtype.Kind) bool { _, ok := rank[k]; return ok }

// Writer writes one file, byte for byte as the safetensors library writes it.
type Writer struct {
	items  []format.Item
	order  []int
	header []byte // with the length before and the padding behind it
	size   int64
}

// NewWriter lays out a file of these tensors. meta is its __metadata__, in the order of keys; none if it is empty. What
// safetensors cannot hold is errs.Invalid.
func NewWriter(items []format.Item, meta map[string]string) (*Writer, error) {
	if err := format.CheckItems(items); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	w := &Writer{items: items, order: make([]int, len(items))}
	for i := range items {
		it := &items[i]
		w.order[i] = i
		switch {
		case !Supported(it.DType):
			return nil, fmt.Errorf("safetensors: tensor %q: there are no %s in safetensors: %w", it.Name, it.DType, errs.Invalid)
		case it.Name == metadataKey:
			return nil, fmt.Errorf("safetensors: a tensor cannot be called %s: %w", it.Name, errs.Invalid)
		case !fits(it.Shape, bitsOf(it.DType), it.Length):
			return nil, fmt.Errorf("safetensors: tensor %q: %s of shape %v in %d bytes: %w", it.Name, it.DType, it.Shape, it.Length, errs.Invalid)
		}
	}
	slices.SortFunc(w.order, func(a, b int) int {
		if d := rank[items[a].DType] - rank[items[b].DType]; d != 0 {
			return d
		}
		return strings.Compare(items[a].Name, items[b].Name)
	})
	w.head(meta)
	if len(w.header)-prefix > format.MaxHeader {
		return nil, fmt.Errorf("safetensors: header of %d bytes, at most %d: %w", len(w.header)-prefix, format.MaxHeader, errs.Invalid)
	}
	return w, nil
}

// metadataKey is the one name that is not a tensor's.
const metadataKey = "__metadata__"

// head makes the header and finds the size.
func (w *Writer) head(meta map[string]string) {
	b := append(make([]byte, prefix, 256+128*len(w.items)), '{')
	if len(meta) > 0 {
		b = append(b, `"`+metadataKey+`":{`...)
		for i, k := range slices.Sorted(maps.Keys(meta)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(append(appendString(b, k), ':'), meta[k])
		}
		b = append(b, '}')
	}
	at := int64(0)
	for _, i := range w.order {
		it := &w.items[i]
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(appendString(b, it.Name), `:{"dtype":"`...)
		b = append(append(b, it.DType.String()...), `","shape":[`...)
		for d, n := range it.Shape {
			if d > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, n, 10)
		}
		b = strconv.AppendInt(append(b, `],"data_offsets":[`...), at, 10)
		at += it.Length
		b = append(strconv.AppendInt(append(b, ','), at, 10), "]}"...)
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-prefix))
	w.header, w.size = b, int64(len(b))+at
}

// Size returns the length of the file.
func (w *Writer) Size() int64 { return w.size }

// Write writes the file to dst, calling fill for each item in the order of the data.
func (w *Writer) Write(dst io.Writer, fill format.Fill) error {
	if _, err := dst.Write(w.header); err != nil {
		return err
	}
	for _, i := range w.order {
		it := &w.items[i]
		if err := format.Exactly(dst, it.Length, func(w io.Writer) error { return fill(i, w) }); err != nil {
			return fmt.Errorf("tensor %q: %w", it.Name, err)
		}
	}
	return nil
}

// bitsOf returns the bits of an element of a kind that is Supported.
func bitsOf(k dtype.Kind) int { return elements[k.String()].bits }

// appendString appends s, which is UTF-8 or made so, as serde_json writes it.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range []byte(strings.ToValidUTF8(s, "\uFFFD")) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		default:
			if i := strings.IndexByte("\b\t\n\f\r", c); i >= 0 {
				b = append(b, '\\', "btnfr"[i])
				continue
			}
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}
