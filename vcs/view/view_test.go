package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/format"
	"coral/delta/format/dequant"
	"coral/delta/format/dtype"
	"coral/delta/format/safetensors"
	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

var bg = context.Background()

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// whole reads all of a view.
func whole(t tb, f *File) []byte {
	t.Helper()
	b := make([]byte, f.Size())
	if n, err := f.ReadAt(bg, b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read of %d bytes: %d, %v", len(b), n, err)
	}
	return b
}

// elements returns the bytes of a tensor, gathered one element after the other, or dequantised: what the view must hold.
func elements(t tb, x *object.Tensor, file []byte) []byte {
	t.Helper()
	if n, _, ok := dequant.Block(x.DType); ok {
		count, _ := format.Elements(x.Shape)
		out := make([]byte, 4*count)
		if err := dequant.Decode(out, file[x.Offset:x.Offset+x.Length], x.DType); err != nil || count%int64(n) != 0 {
			t.Fatal(err)
		}
		return out
	}
	if x.Stride == nil {
		return file[x.Offset : x.Offset+x.Length]
	}
	var out []byte
	w := int64(x.DType.Width())
	n, _ := format.Elements(x.Shape)
	for e := range n {
		at, rest := x.Offset, e
		for i := len(x.Shape) - 1; i >= 0; i-- {
			at += rest % x.Shape[i] * x.Stride[i] * w
			rest /= x.Shape[i]
		}
		out = append(out, file[at:at+w]...)
	}
	return out
}

// check compares a view, as our own parser reads it, with the tensors of the original.
func check(t tb, m *object.Manifest, file []byte) {
	t.Helper()
	p, err := New(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := whole(t, p.Open(tensor.Plain(bytes.NewReader(file))))
	l, err := safetensors.Parse(bytes.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatalf("the view is no safetensors file: %v", err)
	}
	table := Tensors(m, nil)
	if len(table) != len(l.Tensors) {
		t.Fatalf("%d tensors, the file has %d", len(table), len(l.Tensors))
	}
	for i, x := range l.Tensors { // by offset, as the table; empty ones may stand elsewhere
		if y := table[i]; x.Length > 0 && y.Length > 0 && (x.Name != y.Name || x.Offset != y.Offset || x.Length != y.Length || x.DType != y.DType) {
			t.Errorf("tensor %d is %v, the table says %v", i, x, y)
		}
	}
	byName := map[string]format.Tensor{}
	for _, x := range l.Tensors {
		byName[x.Name] = x
		if w := int64(x.DType.Width()); x.Offset%w != 0 {
			t.Errorf("%s of %s is at %d", x.Name, x.DType, x.Offset)
		}
	}
	names := newNamer(0)
	for i := range m.Tensors {
		x := &m.Tensors[i]
		name := names.unique(x.Name)
		v, ok := byName[name]
		if _, want := convert(x, m.Size); ok != want {
			t.Fatalf("%s is in the view: %v, want %v", name, ok, want)
		}
		if !ok {
			continue
		}
		if !slices.Equal(v.Shape, x.Shape) && len(v.Shape)+len(x.Shape) > 0 {
			t.Errorf("%s has shape %v, want %v", name, v.Shape, x.Shape)
		}
		if !bytes.Equal(got[v.Offset:v.Offset+v.Length], elements(t, x, file)) {
			t.Errorf("%s (%s %v %v): other bytes", name, x.DType, x.Shape, x.Stride)
		}
	}
}

// random returns reproducible bytes.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

var someKinds = []dtype.Kind{dtype.U8, dtype.Bool, dtype.F16, dtype.BF16, dtype.F32, dtype.I64, dtype.C64, dtype.C128, dtype.Bytes, dtype.Q4_0, dtype.Q6_K, dtype.GGUFOther}

// drawTensor draws a tensor of a file of size bytes: any strides, overlaps, sizes.
func drawTensor(t *rapid.T, size int64) object.Tensor {
	x := object.Tensor{Name: rapid.SampledFrom([]string{"a", "b", "__metadata__", "w<&>\n\"\\é", "a#2", "\xff"}).Draw(t, "name"), DType: rapid.SampledFrom(someKinds).Draw(t, "dtype")}
	elems, blockBytes, quantised := dequant.Block(x.DType)
	switch {
	case quantised:
		x.Shape = []int64{rapid.Int64Range(0, 3).Draw(t, "rows"), int64(elems) * rapid.Int64Range(0, 3).Draw(t, "cols")}
		n, _ := format.Elements(x.Shape)
		x.Length = n / int64(elems) * int64(blockBytes)
	case x.DType.Width() == 0 || x.DType == dtype.Bytes:
		x.Length = rapid.Int64Range(0, 64).Draw(t, "length")
		x.Shape = []int64{x.Length}
	default:
		dims := rapid.IntRange(0, 4).Draw(t, "dims")
		for range dims {
			x.Shape = append(x.Shape, rapid.Int64Range(0, 6).Draw(t, "d"))
		}
		if dims > 0 && rapid.Bool().Draw(t, "strided") {
			for range dims {
				x.Stride = append(x.Stride, rapid.Int64Range(0, 30).Draw(t, "s"))
			}
		}
		x.Length, _ = format.Extent(x.Shape, x.Stride, x.DType.Width())
	}
	x.Offset = rapid.Int64Range(0, max(0, size-x.Length)).Draw(t, "offset")
	return x
}

// TestAnyTable: a view of any table holds the elements of its tensors, and any part of it that is read is that part of the whole.
func TestAnyTable(t *testing.T) {
	file := random(20_000)
	rapid.Check(t, func(t *rapid.T) {
		m := &object.Manifest{Format: format.TorchZip, Size: int64(len(file))}
		for range rapid.IntRange(1, 6).Draw(t, "tensors") {
			m.Tensors = append(m.Tensors, drawTensor(t, m.Size))
		}
		p, err := New(m, nil)
		if errors.Is(err, errs.NotFound) {
			return
		}
		check(t, m, file)
		f := p.Open(tensor.Plain(bytes.NewReader(file)))
		all := whole(t, f)
		off := rapid.Int64Range(0, p.Size()).Draw(t, "off")
		b := make([]byte, rapid.IntRange(1, 3000).Draw(t, "n"))
		n, err := f.ReadAt(bg, b, off)
		end := min(off+int64(len(b)), p.Size())
		if short := end-off < int64(len(b)); err != nil && (err != io.EOF || !short) || err == nil && short {
			t.Fatalf("read at %d: %d, %v", off, n, err)
		}
		if !bytes.Equal(b[:n], all[off:end]) {
			t.Fatalf("%d bytes at %d differ", n, off)
		}
	})
}

// TestForgedTables: tables that contradict themselves make no panic and no read outside the file.
func TestForgedTables(t *testing.T) {
	file := random(1000)
	for _, x := range []object.Tensor{
		{DType: dtype.F32, Shape: []int64{1000}, Length: 1000},
		{DType: dtype.F32, Shape: []int64{math.MaxInt64, math.MaxInt64}, Length: 1000},
		{DType: dtype.F32, Shape: []int64{1 << 61}, Stride: []int64{0}, Length: 4},
		{DType: dtype.F32, Shape: []int64{2}, Stride: []int64{1, 1}, Length: 8},
		{DType: dtype.F32, Shape: []int64{2}, Stride: []int64{-1}, Length: 8},
		{DType: dtype.F32, Shape: []int64{-2}, Length: 8},
		{DType: dtype.F32, Shape: []int64{2}, Stride: []int64{math.MaxInt64}, Length: 8},
		{DType: dtype.U8, Shape: []int64{8}, Offset: 999, Length: 8},
		{DType: dtype.U8, Shape: []int64{8}, Offset: -1, Length: 8},
		{DType: dtype.Q4_0, Shape: []int64{33}, Length: 18},
		{DType: dtype.Q4_0, Shape: []int64{32}, Stride: []int64{1}, Length: 18},
		{DType: 200, Shape: []int64{1}, Length: 1},
	} {
		x.Name = "x"
		m := &object.Manifest{Format: format.NPY, Size: int64(len(file)), Tensors: []object.Tensor{x}}
		if _, err := New(m, nil); !errors.Is(err, errs.NotFound) {
			t.Errorf("%v: %v", x, err)
		}
	}
	// An expanded tensor may be far larger than its file.
	x := object.Tensor{Name: "x", DType: dtype.F64, Shape: []int64{1 << 30, 1 << 20}, Stride: []int64{0, 0}, Length: 8}
	p, err := New(&object.Manifest{Format: format.TorchZip, Size: 1000, Tensors: []object.Tensor{x}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := p.Open(tensor.Plain(bytes.NewReader(file))).ReadAt(bg, b, p.Size()-4096)
	if n != 4096 || err != nil || !bytes.Equal(b, bytes.Repeat(file[:8], 512)) {
		t.Errorf("expanded: %d, %v", n, err)
	}
	x.Shape, x.Stride = []int64{1 << 59}, []int64{0}
	if _, err := New(&object.Manifest{Format: format.TorchZip, Size: 1000, Tensors: []object.Tensor{x}}, nil); !errors.Is(err, errs.NotFound) {
		t.Errorf("a view of 4 EiB: %v", err)
	}
}

// TestFixtures: the views of the files that programs wrote hold what the parsers see in them.
func TestFixtures(t *testing.T) {
	names, err := filepath.Glob("../../delta/format/*/testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	views := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tensor.Parse(bg, tensor.Plain(bytes.NewReader(b)), int64(len(b)))
		if err != nil && !errors.Is(err, format.ErrUnknown) && !errors.Is(err, format.ErrDamaged) {
			t.Fatal(err)
		}
		m := &object.Manifest{Format: f.Format, Size: f.Size, Tensors: f.Tensors}
		if RoleOf(filepath.Base(name), m) == Converted {
			t.Run(filepath.Base(name), func(t *testing.T) { check(t, m, b) })
			views++
		}
	}
	if views < 20 {
		t.Errorf("only %d fixtures have views", views)
	}
}

func TestMetadata(t *testing.T) {
	f32 := func(name string, off int64) object.Tensor {
		return object.Tensor{Name: name, DType: dtype.F32, Shape: []int64{2}, Offset: off, Length: 8}
	}
	m := &object.Manifest{Format: format.GGUF, Size: 100, Tensors: []object.Tensor{
		f32("a", 0), f32("tied", 0), f32("a", 8), {Name: "row", DType: dtype.F32, Shape: []int64{1}, Offset: 0, Length: 4},
		{Name: "q", DType: dtype.Q4_0, Shape: []int64{32}, Offset: 20, Length: 18}, {Name: "odd", DType: dtype.GGUFOther, Shape: []int64{256}, Offset: 40, Length: 50},
	}}
	p, err := New(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(p.header[8:], &got); err != nil {
		t.Fatal(err)
	}
	var meta map[string]string
	if err := json.Unmarshal(got["__metadata__"], &meta); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"format": "pt", "coral.format": "gguf", "coral.tied": `{"tied":"a"}`, "coral.dequantized": `{"q":"Q4_0"}`, "coral.omitted": `{"odd":"GGUF_OTHER"}`}
	if fmt.Sprint(meta) != fmt.Sprint(want) {
		t.Errorf("metadata %v, want %v", meta, want)
	}
	if _, ok := got["a#2"]; !ok || len(got) != 6 {
		t.Errorf("tensors %v", got)
	}
	if n := binary.LittleEndian.Uint64(p.header); n%8 != 0 || int(n)+8 != len(p.header) {
		t.Errorf("header of %d bytes says %d", len(p.header), n)
	}
}

// counted counts what is read of a file and in how many reads.
type counted struct {
	tensor.Source
	bytes, reads int
}

func (c *counted) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	c.bytes += len(p)
	c.reads++
	return c.Source.ReadAt(ctx, p, off)
}

// TestTransposed: what a read of a transposed matrix costs is about one pass over the source at worst, not a read for each element.
func TestTransposed(t *testing.T) {
	const rows, cols = 3000, 1000
	file := random(4 * rows * cols)
	x := object.Tensor{Name: "x", DType: dtype.F32, Shape: []int64{cols, rows}, Stride: []int64{1, cols}, Length: int64(len(file))}
	m := &object.Manifest{Format: format.NPY, Size: int64(len(file)), Tensors: []object.Tensor{x}}
	check(t, m, file)
	p, err := New(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := &counted{Source: tensor.Plain(bytes.NewReader(file))}
	if _, err := p.Open(src).ReadAt(bg, make([]byte, 1<<20), 5_000_000); err != nil {
		t.Fatal(err)
	}
	if src.bytes > len(file)*3/2 || src.reads > len(file)/windowBytes*2 {
		t.Errorf("%d bytes in %d reads for 1 MiB of a matrix of %d", src.bytes, src.reads, len(file))
	}
}

// TestLazy: a read takes no more of the source than it needs, and none for the header.
func TestLazy(t *testing.T) {
	file := random(1 << 20)
	m := &object.Manifest{Format: format.GGUF, Size: 1 << 20, Tensors: []object.Tensor{
		{Name: "w", DType: dtype.F32, Shape: []int64{1000}, Length: 4000},
		{Name: "q", DType: dtype.Q8_0, Shape: []int64{32 * 10_000}, Offset: 4000, Length: 340_000},
	}}
	p, err := New(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := &counted{Source: tensor.Plain(bytes.NewReader(file))}
	f := p.Open(src)
	read := func(off int64, n int) {
		t.Helper()
		if _, err := f.ReadAt(bg, make([]byte, n), off); err != nil {
			t.Fatal(err)
		}
	}
	read(0, len(p.header))
	if src.reads != 0 {
		t.Errorf("%d reads for the header", src.reads)
	}
	read(int64(len(p.header))+100, 16)
	if src.bytes != 16 {
		t.Errorf("%d bytes for 16", src.bytes)
	}
	read(int64(len(p.header))+4000+128*500+4, 8)
	if src.bytes != 16+34 {
		t.Errorf("%d bytes for a quantised element", src.bytes-16)
	}
	want := errors.New("disk")
	f = p.Open(failing{want})
	if n, err := f.ReadAt(bg, make([]byte, len(p.header)+5), 0); n != len(p.header) || !errors.Is(err, want) {
		t.Errorf("failing source: %d, %v", n, err)
	}
	f = p.Open(tensor.Plain(bytes.NewReader(file[:2000]))) // shorter than its manifest says
	if _, err := f.ReadAt(bg, make([]byte, 4000), int64(len(p.header))); !errors.Is(err, errs.Corrupt) {
		t.Errorf("short source: %v", err)
	}
	if _, err := f.ReadAt(bg, make([]byte, 1), -1); !errors.Is(err, errs.Invalid) {
		t.Errorf("read before the begin: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt(context.Context, []byte, int64) (int, error) { return 0, f.err }

// FuzzView: whatever bytes a file has, its view, if it has one, is a file that our parser reads.
func FuzzView(f *testing.F) {
	for _, name := range []string{"torchzip/testdata/views.pt", "torchzip/testdata/tied.pt", "npy/testdata/fortran.npy", "gguf/testdata/tiny.gguf"} {
		if b, err := os.ReadFile("../../delta/format/" + name); err == nil && len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := tensor.Parse(bg, tensor.Plain(bytes.NewReader(b)), int64(len(b)))
		if err != nil {
			return
		}
		m := &object.Manifest{Format: x.Format, Size: x.Size, Tensors: x.Tensors}
		d, err := ReadDetails(bg, tensor.Plain(bytes.NewReader(b)), m)
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(m, d)
		if err != nil || p.Size() > 1<<24 {
			return
		}
		head := p.header
		if _, err := safetensors.Metadata(bytes.NewReader(head), p.Size()); err != nil {
			t.Fatal(err)
		}
		check(t, m, b)
	})
}

func BenchmarkGather(b *testing.B) {
	file := random(4 << 22)
	for name, x := range map[string]object.Tensor{
		"direct":     {DType: dtype.F32, Shape: []int64{2048, 2048}},
		"transposed": {DType: dtype.F32, Shape: []int64{2048, 2048}, Stride: []int64{1, 2048}},
		"sliced":     {DType: dtype.F32, Shape: []int64{2048, 1024}, Stride: []int64{2048, 2}},
	} {
		b.Run(name, func(b *testing.B) {
			x.Name = "x"
			x.Length, _ = format.Extent(x.Shape, x.Stride, 4)
			p, err := New(&object.Manifest{Format: format.NPY, Size: int64(len(file)), Tensors: []object.Tensor{x}}, nil)
			if err != nil {
				b.Fatal(err)
			}
			f := p.Open(tensor.Plain(bytes.NewReader(file)))
			buf := make([]byte, 1<<20)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.ReadAt(bg, buf, 2<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	m := &object.Manifest{Format: format.TorchZip, Size: 1 << 30}
	for i := range 300 {
		m.Tensors = append(m.Tensors, object.Tensor{Name: fmt.Sprintf("encoder.layer.%d.attention.self.query.weight", i), DType: dtype.F32, Shape: []int64{384, 384}, Offset: int64(i) * 4 * 384 * 384, Length: 4 * 384 * 384})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(m, nil); err != nil {
			b.Fatal(err)
		}
	}
}
