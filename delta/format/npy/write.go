package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/zipout"
	"coral/internal/errs"
)

// descr names the element kinds as numpy.lib.format does.
var descr = map[dtype.Kind]string{
	dtype.F64: "<f8", dtype.F32: "<f4", dtype.F16: "<f2", dtype.I64: "<i8", dtype.I32: "<i4", dtype.I16: "<i2", dtype.I8: "|i1",
	dtype.U64: "<u8", dtype.U32: "<u4", dtype.U16: "<u2", dtype.U8: "|u1", dtype.Bool: "|b1", dtype.C64: "<c8", dtype.C128: "<c16",
}

// Supported reports whether NumPy has a dtype for kind k. It has none for BF16 and the floats of 8 bits.
func Supported(k dtype.Kind) bool { return descr[k] != "" }

// maxNumpyDims is NumPy's limit since 2.0; before it was 32.
const maxNumpyDims = 64

// ZipWriter writes an .npz file of stored arrays, as numpy.savez does.
type ZipWriter struct {
	items   []format.Item
	headers [][]byte
}

// NewZipWriter lays out a file of these tensors. What NumPy cannot hold is errs.Invalid.
func NewZipWriter(items []format.Item) (*ZipWriter, error) {
	if err := format.CheckItems(items); err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	w := &ZipWriter{items: items, headers: make([][]byte, len(items))}
	for i := range items {
		it := &items[i]
		switch {
		case !Supported(it.DType):
			return nil, fmt.Errorf("npz: tensor %q: there are no %s in NumPy: %w", it.Name, it.DType, errs.Invalid)
		case len(it.Shape) > maxNumpyDims:
			return nil, fmt.Errorf("npz: tensor %q: %d dimensions, at most %d in NumPy: %w", it.Name, len(it.Shape), maxNumpyDims, errs.Invalid)
		}
		w.headers[i] = arrayHeader(it.DType, it.Shape)
	}
	return w, nil
}

// arrayHeader returns the header of format version 1.0: its dict, padded with spaces and ended by a newline so that the data begins at a multiple of 64.
func arrayHeader(k dtype.Kind, shape []int64) []byte {
	var s strings.Builder
	s.WriteString("{'descr': '" + descr[k] + "', 'fortran_order': False, 'shape': (")
	for i, n := range shape {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(strconv.FormatInt(n, 10))
	}
	if len(shape) == 1 {
		s.WriteByte(',')
	}
	s.WriteString("), }")
	fixed := len(magic) + 4
	if r := (fixed + s.Len() + 1) % 64; r > 0 {
		s.WriteString(strings.Repeat(" ", 64-r))
	}
	s.WriteByte('\n')
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(min(s.Len(), math.MaxUint16))) // 64 dimensions of 20 digits are 1,400 bytes
	return append(b, s.String()...)
}

// Write writes the file to dst, calling fill for each item in their order.
func (w *ZipWriter) Write(dst io.Writer, fill format.Fill) error {
	z := zipout.New(dst, 1)
	for i := range w.items {
		it := &w.items[i]
		err := z.Entry(it.Name+".npy", int64(len(w.headers[i]))+it.Length, func(dst io.Writer) error {
			if _, err := dst.Write(w.headers[i]); err != nil {
				return err
			}
			return fill(i, dst)
		})
		if err != nil {
			return err
		}
	}
	return z.Close()
}
