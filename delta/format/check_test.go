package format

import (
	"errors"
	"math"
	"strings"
	"testing"

	"coral/delta/format/dtype"
)

func TestCheck(t *testing.T) {
	good := func() *Layout {
		return &Layout{
			Format: Safetensors,
			Payloads: []Payload{
				{Offset: 10, Length: 24, DType: dtype.F32, Name: "a"},
				{Offset: 40, Length: 60, DType: dtype.Bytes, Name: "b"},
			},
			Tensors: []Tensor{
				{Name: "a", DType: dtype.F32, Shape: []int64{2, 3}, Offset: 10, Length: 24},
				{Name: "view", DType: dtype.F32, Shape: []int64{2}, Stride: []int64{3}, Offset: 14, Length: 16},
				{Name: "empty", DType: dtype.F32, Shape: []int64{0}, Offset: 34},
				{Name: "b", DType: dtype.Q4_0, Shape: []int64{32}, Offset: 40, Length: 18},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(l *Layout)
		want   string // part of the error; empty for none
	}{
		"good":              {func(l *Layout) {}, ""},
		"empty":             {func(l *Layout) { *l = Layout{} }, ""},
		"overlap":           {func(l *Layout) { l.Payloads[1].Offset = 33 }, "begins before 34"},
		"unsorted":          {func(l *Layout) { l.Payloads[0], l.Payloads[1] = l.Payloads[1], l.Payloads[0] }, "begins before"},
		"negative offset":   {func(l *Layout) { l.Payloads[0].Offset = -1 }, "begins before 0"},
		"empty payload":     {func(l *Layout) { l.Payloads[1].Length = 0 }, "payload 1 of 0 bytes"},
		"past the end":      {func(l *Layout) { l.Payloads[1].Length = 61 }, "in a file of 100"},
		"overflow":          {func(l *Layout) { l.Payloads[1].Length = math.MaxInt64 }, "in a file of 100"},
		"name too long":     {func(l *Layout) { l.Payloads[0].Name = strings.Repeat("x", MaxNameBytes+1) }, "too long"},
		"name not UTF-8":    {func(l *Layout) { l.Tensors[0].Name = "\xff" }, "not UTF-8"},
		"tensor order":      {func(l *Layout) { l.Tensors[3].Offset = 33 }, "file order"},
		"tensor outside":    {func(l *Layout) { l.Tensors[3].Length = 61 }, "in a file of 100"},
		"tensor in no part": {func(l *Layout) { l.Tensors[3].Offset, l.Tensors[3].Length = 35, 5 }, "in no payload"},
		"tensor across":     {func(l *Layout) { l.Tensors[0].DType, l.Tensors[0].Length = dtype.Bytes, 31 }, "in no payload"},
		"shape and length":  {func(l *Layout) { l.Tensors[0].Shape = []int64{2, 2} }, "in 24 bytes"},
		"shape overflow":    {func(l *Layout) { l.Tensors[0].Shape = []int64{math.MaxInt64, math.MaxInt64} }, "in 24 bytes"},
		"negative shape":    {func(l *Layout) { l.Tensors[0].Shape = []int64{-2, -3} }, "dimension -2"},
		"stride count":      {func(l *Layout) { l.Tensors[1].Stride = []int64{3, 1} }, "2 strides"},
		"negative stride":   {func(l *Layout) { l.Tensors[1].Stride = []int64{-3} }, "in 16 bytes"},
		"too many dims":     {func(l *Layout) { l.Tensors[0].Shape = make([]int64, MaxDims+1) }, "65 dimensions"},
		"too many payloads": {func(l *Layout) { l.Payloads = make([]Payload, MaxTensors+1) }, "more than"},
	} {
		l := good()
		c.change(l)
		err := l.Check(100)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

func TestExtent(t *testing.T) {
	const big = 1 << 62
	for _, c := range []struct {
		shape, stride []int64
		width         int
		want          int64
		ok            bool
	}{
		{nil, nil, 4, 4, true},
		{[]int64{2, 3}, nil, 4, 24, true},
		{[]int64{2, 3}, []int64{1, 2}, 4, 24, true},
		{[]int64{2, 3}, []int64{10, 1}, 2, 26, true},
		{[]int64{4, 3}, []int64{0, 0}, 8, 8, true},
		{[]int64{0, big, big}, nil, 8, 0, true},
		{[]int64{big, 0}, []int64{big, big}, 8, 0, true},
		{[]int64{big, big}, nil, 1, 0, false},
		{[]int64{big}, nil, 4, 0, false},
		{[]int64{3}, []int64{big}, 1, 0, false},
		{[]int64{2, 2}, []int64{big, big}, 1, 0, false},
		{[]int64{-1}, nil, 1, 0, false},
		{[]int64{0, -1}, nil, 1, 0, false},
		{[]int64{2}, []int64{-1}, 1, 0, false},
	} {
		if got, ok := Extent(c.shape, c.stride, c.width); ok != c.ok || ok && got != c.want {
			t.Errorf("Extent(%v, %v, %d) = %d, %v; want %d, %v", c.shape, c.stride, c.width, got, ok, c.want, c.ok)
		}
	}
}

func TestContiguous(t *testing.T) {
	for _, c := range []struct {
		shape, stride []int64
		want          bool
	}{
		{nil, nil, true},
		{[]int64{2, 3}, []int64{3, 1}, true},
		{[]int64{2, 3}, []int64{1, 2}, false},
		{[]int64{2, 1, 3}, []int64{3, 99, 1}, true},
		{[]int64{0, 3}, []int64{7, 7}, true},
		{[]int64{1 << 62, 1 << 62}, []int64{1 << 62, 1}, false},
	} {
		if got := Contiguous(c.shape, c.stride); got != c.want {
			t.Errorf("Contiguous(%v, %v) = %v", c.shape, c.stride, got)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"layer.0":                               "layer.0",
		"a\xffb":                                "a\uFFFDb",
		strings.Repeat("x", MaxNameBytes):       strings.Repeat("x", MaxNameBytes),
		strings.Repeat("ä", MaxNameBytes):       strings.Repeat("ä", MaxNameBytes/2),
		"x" + strings.Repeat("ä", MaxNameBytes): "x" + strings.Repeat("ä", MaxNameBytes/2-1),
	} {
		if got := CleanName(in); got != want {
			t.Errorf("CleanName of %d bytes has %d, want %d", len(in), len(got), len(want))
		}
	}
}
