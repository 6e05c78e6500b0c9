package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// fill gives item i bytes that tell it from others.
func fill(items []format.Item) format.Fill {
	return func(i int, w io.Writer) error {
		_, err := w.Write(patternOf(items, i))
		return err
	}
}

func patternOf(items []format.Item, i int) []byte {
	if k := items[i].TiedTo; k > 0 {
		i = k - 1
	}
	b := make([]byte, items[i].Length)
	for k := range b {
		b[k] = byte(i*31 + k)
	}
	return b
}

// every returns an item of each kind, of several shapes.
func every(supported func(dtype.Kind) bool) (items []format.Item) {
	for k := dtype.F64; k <= dtype.C128; k++ {
		for _, shape := range [][]int64{{}, {3}, {2, 1, 3}, {0, 5}, {300, 7}} {
			if n, _ := format.Elements(shape); supported(k) {
				items = append(items, format.Item{Name: fmt.Sprintf("é.%s %v", k, shape), DType: k, Shape: shape, Length: n * int64(k.Width())})
			}
		}
	}
	return items
}

// found compares the tensors that a parser finds with what was written.
func found(t *testing.T, p format.Parser, b []byte, items []format.Item) *format.Layout {
	t.Helper()
	l, err := p.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Error(err)
	}
	byName := map[string]format.Tensor{}
	for _, x := range l.Tensors {
		byName[x.Name] = x
	}
	for i, it := range items {
		x, ok := byName[it.Name]
		if !ok && it.Length == 0 {
			continue // not every parser lists empty ones
		}
		if x.DType != it.DType || fmt.Sprint(x.Shape) != fmt.Sprint(it.Shape) || x.Stride != nil || !bytes.Equal(b[x.Offset:x.Offset+x.Length], patternOf(items, i)) {
			t.Errorf("%+v became %+v", it, x)
		}
	}
	return l
}

func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want …%s…", what, err, want)
	}
}

func TestWrite(t *testing.T) {
	items := every(Supported)
	items = append(items, format.Item{Name: "q", DType: dtype.Q8_0, Shape: []int64{2, 64}, Length: 4 * QuantBytes}, format.Item{Name: "last", DType: dtype.I8, Shape: []int64{1}, Length: 1})
	w, err := NewWriter(items, "test", FileQ8_0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, fill(items)); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != w.Size() || b.Len()%defaultAlignment != 0 {
		t.Errorf("%d bytes, Size says %d", b.Len(), w.Size())
	}
	found(t, Parser{}, b.Bytes(), items)
	_, err = NewWriter([]format.Item{{Name: "u", DType: dtype.U8, Shape: []int64{1}, Length: 1}}, "x", 0)
	refused(t, "U8", err, "U8 are not written")
	_, err = NewWriter([]format.Item{{Name: "q", DType: dtype.Q8_0, Shape: []int64{2, 16}, Length: 34}}, "x", 0)
	refused(t, "half a block", err, "in 34 bytes")
	_, err = NewWriter([]format.Item{{Name: "d", DType: dtype.I8, Shape: []int64{1, 1, 1, 1, 1}, Length: 1}}, "x", 0)
	refused(t, "5 dimensions", err, "at most 4")
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
