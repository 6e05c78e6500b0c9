package gguf

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/formattest"
	"coral/internal/errs"
)

func TestWrite(t *testing.T) {
	items := formattest.Every(Supported)
	items = append(items, format.Item{Name: "q", DType: dtype.Q8_0, Shape: []int64{2, 64}, Length: 4 * QuantBytes}, format.Item{Name: "last", DType: dtype.I8, Shape: []int64{1}, Length: 1})
	w, err := NewWriter(items, Model{Architecture: "test", FileType: FileQ8_0})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, formattest.Fill(items)); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != w.Size() || b.Len()%defaultAlignment != 0 {
		t.Errorf("%d bytes, Size says %d", b.Len(), w.Size())
	}
	formattest.Written(t, Parser{}, b.Bytes(), items)
	_, err = NewWriter([]format.Item{{Name: "u", DType: dtype.U8, Shape: []int64{1}, Length: 1}}, Model{})
	formattest.Refused(t, "U8", err, "U8 are not written")
	_, err = NewWriter([]format.Item{{Name: "q", DType: dtype.Q8_0, Shape: []int64{2, 16}, Length: 34}}, Model{})
	formattest.Refused(t, "half a block", err, "in 34 bytes")
	_, err = NewWriter([]format.Item{{Name: "d", DType: dtype.I8, Shape: []int64{1, 1, 1, 1, 1}, Length: 1}}, Model{})
	formattest.Refused(t, "5 dimensions", err, "at most 4")
}

// TestQ8_0 compares with gguf.quants.quantize of the gguf package 0.19 for the same blocks.
func TestQ8_0(t *testing.T) {
	block := func(v ...float64) []float64 { return append(v, make([]float64, QuantBlock-len(v))...) }
	for name, c := range map[string]struct {
		in    []float64
		scale uint16
		q     []int8
	}{
		"zeros":   {block(), 0, []int8{0, 0}},
		"ones":    {block(1, -1, 0.5, -0.5), 0x2008, []int8{127, -127, 64, -64}}, // 63.5 goes away from zero
		"halves":  {block(127, 0.5, 1.5, -2.5, 2.499999), 0x3c00, []int8{127, 1, 2, -3, 2}},
		"tiny":    {block(1e-40, -1e-40), 0, []int8{0, 0}}, // 1/d is infinite
		"large":   {block(8e6, -4e6), 0x7bb1, []int8{127, -64}},
		"minus 0": {block(negativeZero()), 0, []int8{0}},
	} {
		dst := make([]byte, QuantBytes)
		if err := EncodeQ8_0(dst, c.in); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := uint16(dst[0]) | uint16(dst[1])<<8; got != c.scale {
			t.Errorf("%s: scale %#04x, want %#04x", name, got, c.scale)
		}
		for i, q := range c.q {
			if int8(dst[2+i]) != q {
				t.Errorf("%s: value %d is %d, want %d", name, i, int8(dst[2+i]), q)
			}
		}
	}
	for _, v := range []float64{nan(), inf(), -inf(), 1e39, 9e6} {
		if err := EncodeQ8_0(make([]byte, QuantBytes), block(0, v)); !errors.Is(err, errs.Invalid) {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func nan() float64          { return math.NaN() }
func inf() float64          { return math.Inf(1) }
func negativeZero() float64 { return math.Copysign(0, -1) }
