package tensor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/vcs/object"
)

var bg = context.Background()

// counted is a Source that counts what is read.
type counted struct {
	r    *bytes.Reader
	read int64
}

func (c *counted) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

// TestStrided: any view is what picking its elements one by one gives, however it is read.
func TestStrided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := rapid.IntRange(0, 4).Draw(t, "dims")
		x := object.Tensor{Name: "x", DType: rapid.SampledFrom([]dtype.Kind{dtype.U8, dtype.F16, dtype.F32, dtype.F64}).Draw(t, "dtype"), Shape: make([]int64, dims), Stride: make([]int64, dims)}
		for i := range dims {
			x.Shape[i] = rapid.Int64Range(0, 9).Draw(t, "d")
			x.Stride[i] = rapid.Int64Range(0, 40).Draw(t, "s")
		}
		w := int64(x.DType.Width())
		x.Offset = rapid.Int64Range(0, 5000).Draw(t, "offset")
		x.Length, _ = format.Extent(x.Shape, x.Stride, int(w))
		b := make([]byte, x.Offset+x.Length+7)
		for i := range b {
			b[i] = byte(i * 7 / 3)
		}
		var want []byte
		n, _ := format.Elements(x.Shape)
		for e := range n {
			at, rest := x.Offset, e
			for i := dims - 1; i >= 0; i-- {
				at += rest % x.Shape[i] * x.Stride[i] * w
				rest /= x.Shape[i]
			}
			want = append(want, b[at:at+w]...)
		}
		f := &File{Tensors: []object.Tensor{x}, src: Plain(bytes.NewReader(b))}
		if Bytes(&x) != int64(len(want)) {
			t.Fatalf("%d bytes, want %d", Bytes(&x), len(want))
		}
		got, err := io.ReadAll(io.LimitReader(f.Reader(bg, &x), 1<<20))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v: %x, want %x", err, got, want)
		}
	})
}

// TestTransposed: a large transposed matrix is read about once, in bounded memory.
func TestTransposed(t *testing.T) {
	const rows, cols = 1024, 2048
	b := make([]byte, rows*cols*4)
	for i := range b {
		b[i] = byte(i>>2 ^ i>>11)
	}
	src := &counted{r: bytes.NewReader(b)}
	x := object.Tensor{Name: "x", DType: dtype.F32, Shape: []int64{cols, rows}, Stride: []int64{1, cols}, Length: int64(len(b))}
	f := &File{Tensors: []object.Tensor{x}, src: src}
	got, err := io.ReadAll(f.Reader(bg, &x))
	if err != nil || len(got) != len(b) {
		t.Fatal(len(got), err)
	}
	for i := 0; i < len(got); i += 4 * 997 {
		c, r := i/4/rows, i/4%rows
		if !bytes.Equal(got[i:i+4], b[4*(r*cols+c):][:4]) {
			t.Fatalf("element %d", i/4)
		}
	}
	if src.read > 3*int64(len(b)) {
		t.Errorf("%d bytes were read for %d", src.read, len(b))
	}
}

func TestFloats(t *testing.T) {
	var b []byte
	for i := range 200_000 {
		b = append(b, byte(i), byte(i>>8))
	}
	x := object.Tensor{Name: "x", DType: dtype.U16, Shape: []int64{200_000}, Length: int64(len(b))}
	f := &File{Tensors: []object.Tensor{x}, src: Plain(bytes.NewReader(b))}
	r := f.Reader(bg, &x)
	buf := make([]float64, 777)
	var got []float64
	for {
		n, err := r.Floats(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range got {
		if v != float64(i&0xffff) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
	if len(got) != 200_000 {
		t.Errorf("%d elements", len(got))
	}
	q := object.Tensor{Name: "q", DType: dtype.GGUFOther, Shape: []int64{32}, Length: 18}
	if _, err := f.Reader(bg, &q).Floats(buf); !errors.Is(err, errs.Unsupported) {
		t.Errorf("quantised: %v", err)
	}
	short := object.Tensor{Name: "s", DType: dtype.U16, Shape: []int64{4}, Offset: int64(len(b)) - 4, Length: 8}
	if _, err := f.Reader(bg, &short).Floats(buf); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("file that ends early: %v", err)
	}
}

// TestFiles: the tensors of real files have the bytes that the parser's ranges say, and a cancelled context ends it.
func TestFiles(t *testing.T) {
	names, err := filepath.Glob("../../delta/format/*/testdata/*.*")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d fixtures, %v", len(names), err)
	}
	tensors := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(bg, Plain(bytes.NewReader(b)), int64(len(b)))
		if err != nil && !errors.Is(err, format.ErrUnknown) && !errors.Is(err, format.ErrDamaged) {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range f.Tensors {
			x := &f.Tensors[i]
			got, err := io.ReadAll(f.Reader(bg, x))
			if err != nil || int64(len(got)) != Bytes(x) {
				t.Errorf("%s: %s: %d bytes of %d, %v", name, x.Name, len(got), Bytes(x), err)
			}
			if x.Stride == nil && !slices.Equal(got, b[x.Offset:x.Offset+x.Length]) {
				t.Errorf("%s: %s: other bytes", name, x.Name)
			}
			if y, ok := f.Find(x.Name); !ok || y.Name != x.Name {
				t.Errorf("%s: %s is not found", name, x.Name)
			}
			tensors++
		}
	}
	if tensors < 50 {
		t.Errorf("only %d tensors", tensors)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := Parse(ctx, Plain(bytes.NewReader(make([]byte, 100))), 100); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
