package torchzip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	items = append(items, items[3])
	tied := &items[len(items)-1]
	tied.Name, tied.TiedTo = "tied", 4
	w, err := NewWriter(items)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, fill(items)); err != nil {
		t.Fatal(err)
	}
	l := found(t, Parser{}, b.Bytes(), items)
	for _, p := range l.Payloads {
		if p.Offset%alignment != 0 {
			t.Errorf("storage %s at %d", p.Name, p.Offset)
		}
	}
	if n := strings.Count(b.String(), "PK\x03\x04"); n != len(items)-1+5 { // a storage for each but the tied one
		t.Errorf("%d entries", n)
	}
	_, err = NewWriter([]format.Item{{Name: "q", DType: dtype.Q8_0, Shape: []int64{32}, Length: 34}})
	refused(t, "Q8_0", err, "no Q8_0 in torch")
}
