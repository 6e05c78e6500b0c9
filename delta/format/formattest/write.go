package formattest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// Fill gives item i bytes that tell it from others.
func Fill(items []format.Item) format.Fill {
	return func(i int, w io.Writer) error {
		_, err := w.Write(pattern(items, i))
		return err
	}
}

func pattern(items []format.Item, i int) []byte {
	if k := items[i].TiedTo; k > 0 {
		i = k - 1
	}
	b := make([]byte, items[i].Length)
	for k := range b {
		b[k] = byte(i*31 + k)
	}
	return b
}

// Every returns an item of each kind, of several shapes.
func Every(supported func(dtype.Kind) bool) (items []format.Item) {
	for k := dtype.F64; k <= dtype.C128; k++ {
		for _, shape := range [][]int64{{}, {3}, {2, 1, 3}, {0, 5}, {300, 7}} {
			if n, _ := format.Elements(shape); supported(k) {
				items = append(items, format.Item{Name: fmt.Sprintf("é.%s %v", k, shape), DType: k, Shape: shape, Length: n * int64(k.Width())})
			}
		}
	}
	return items
}

// Written compares the tensors that a parser finds in a file with what was written, by Fill.
func Written(t T, p format.Parser, b []byte, items []format.Item) *format.Layout {
	t.Helper()
	l, err := p.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Errorf("%v", err)
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
		if x.DType != it.DType || fmt.Sprint(x.Shape) != fmt.Sprint(it.Shape) || x.Stride != nil || !bytes.Equal(b[x.Offset:x.Offset+x.Length], pattern(items, i)) {
			t.Errorf("%+v became %+v", it, x)
		}
	}
	return l
}

// Refused fails unless err is errs.Invalid and says what is wanted.
func Refused(t T, what string, err error, want string) {
	t.Helper()
	if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want …%s…", what, err, want)
	}
}
