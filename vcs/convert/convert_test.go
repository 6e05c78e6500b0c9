package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/safetensors"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/tensor"
)

// file makes a safetensors file of float tensors.
func file(t *testing.T, meta map[string]string, tensors map[string][]float64, k dtype.Kind) []byte {
	t.Helper()
	var items []format.Item
	var data [][]byte
	for _, name := range []string{"a", "b", "ints", "m.weight", "z"} {
		v, ok := tensors[name]
		if !ok {
			continue
		}
		it := format.Item{Name: name, DType: k, Shape: []int64{int64(len(v))}}
		if name == "ints" {
			it.DType = dtype.I64
		}
		if name == "m.weight" {
			it.Shape = []int64{2, int64(len(v)) / 2}
		}
		b := make([]byte, len(v)*it.DType.Width())
		values.Encode(b, v, it.DType)
		it.Length = int64(len(b))
		items, data = append(items, it), append(data, b)
	}
	w, err := safetensors.NewWriter(items, meta)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.Write(&out, func(i int, w io.Writer) error { _, err := w.Write(data[i]); return err }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func input(t *testing.T, name string, b []byte) Input {
	t.Helper()
	f, err := tensor.Parse(t.Context(), tensor.Plain(bytes.NewReader(b)), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewInput(t.Context(), name, f)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// run converts and returns the outputs.
func run(t *testing.T, inputs []Input, o Options) (*Plan, [][]byte) {
	t.Helper()
	p, err := New(inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, o := range p.Outputs {
		var b bytes.Buffer
		total := int64(0)
		if err := p.Write(t.Context(), o, &b, func(n int64, _ string) { total += n }); err != nil {
			t.Fatal(err)
		}
		if total > o.Bytes {
			t.Errorf("progress of %d bytes, %d were announced", total, o.Bytes)
		}
		out = append(out, b.Bytes())
	}
	return p, out
}

// table reads a file's tensors as text: kind, shape, values.
func table(t *testing.T, b []byte) map[string]string {
	t.Helper()
	in := input(t, "out", b)
	out := map[string]string{}
	for i := range in.File.Tensors {
		x := &in.File.Tensors[i]
		v := make([]float64, 64)
		n, err := in.File.Reader(t.Context(), x).Floats(v)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		out[x.Name] = fmt.Sprint(x.DType, x.Shape, v[:n])
	}
	return out
}

var odd = map[string][]float64{
	"a": {1, -2.5, 0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 5e-324, 1e-40, 3.0000001},
	"b": {}, "ints": {1, -7, 1 << 40}, "m.weight": {1, 2, 3, 4, 5, 6}, "z": {9},
}

// TestRoundTrips: by way of any container and back, the bytes of the safetensors file are the same.
func TestRoundTrips(t *testing.T) {
	orig := file(t, map[string]string{"format": "pt"}, odd, dtype.F32)
	for _, to := range []string{format.Safetensors, format.TorchZip, format.NPZ, format.GGUF} {
		_, mid := run(t, []Input{input(t, "orig", orig)}, Options{To: to})
		_, again := run(t, []Input{input(t, "orig", orig)}, Options{To: to})
		if !bytes.Equal(mid[0], again[0]) {
			t.Errorf("%s: two runs differ", to)
		}
		_, back := run(t, []Input{input(t, "mid", mid[0])}, Options{To: format.Safetensors})
		if to == format.TorchZip || to == format.GGUF { // these parsers may not list the empty one
			if got, want := table(t, back[0]), table(t, orig); got["a"] != want["a"] || got["m.weight"] != want["m.weight"] || got["ints"] != want["ints"] {
				t.Errorf("%s: %v, want %v", to, got, want)
			}
			continue
		}
		if !bytes.Equal(back[0], orig) {
			t.Errorf("%s and back: %v, want %v", to, table(t, back[0]), table(t, orig))
		}
	}
}

// TestCasts: floats are cast, rounded once, and counted where they do not fit; the rest is left alone.
func TestCasts(t *testing.T) {
	in := map[string][]float64{"a": {1 + 1.0/2048, 1 + 3.0/2048, 65519.99, 65520, 1e30, math.Inf(1), math.NaN()}, "ints": {300}, "z": {1}}
	o := Options{To: format.Safetensors}
	if err := o.SetDType("float16"); err != nil {
		t.Fatal(err)
	}
	p, out := run(t, []Input{input(t, "in", file(t, nil, in, dtype.F64))}, o)
	got := table(t, out[0])
	if want := "F16 [7] [1 1.001953125 65504 +Inf +Inf +Inf NaN]"; got["a"] != want || got["ints"] != "I64 [1] [300]" || got["z"] != "F16 [1] [1]" {
		t.Errorf("%v, want a: %s", got, want)
	}
	if p.Overflowed != 2 || p.Cast != 2 {
		t.Errorf("%d overflowed, %d cast", p.Overflowed, p.Cast)
	}
}

// TestGGUF: vectors stay F32, rows of whole blocks are quantised, others are F16.
func TestGGUF(t *testing.T) {
	row := make([]float64, 64)
	for i := range row {
		row[i] = float64(i)
	}
	o := Options{To: format.GGUF, Architecture: "bert"}
	if err := o.SetDType("q8_0"); err != nil {
		t.Fatal(err)
	}
	_, out := run(t, []Input{input(t, "in", file(t, nil, map[string][]float64{"a": row, "m.weight": row}, dtype.BF16))}, o)
	f := input(t, "out", out[0]).File
	kinds := map[string]dtype.Kind{}
	for _, x := range f.Tensors {
		kinds[x.Name] = x.DType
	}
	if kinds["a"] != dtype.F32 || kinds["m.weight"] != dtype.Q8_0 {
		t.Errorf("kinds %v", kinds)
	}
	_, out = run(t, []Input{input(t, "in", file(t, nil, map[string][]float64{"m.weight": row[:6]}, dtype.F32))}, o)
	if f := input(t, "out", out[0]).File; f.Tensors[0].DType != dtype.F16 {
		t.Errorf("rows of 3: %v", f.Tensors[0].DType)
	}
	bad := input(t, "in", file(t, nil, map[string][]float64{"m.weight": append(row[1:], math.NaN())}, dtype.F32))
	p, err := New([]Input{bad}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(t.Context(), p.Outputs[0], io.Discard, func(int64, string) {}); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "m.weight") {
		t.Errorf("NaN in Q8_0: %v", err)
	}
}

// TestQuantised: blocks become F32, or what is asked for, elsewhere than in GGUF, where they stay.
func TestQuantised(t *testing.T) {
	row := make([]float64, 64)
	for i := range row {
		row[i] = float64(i*2 - 64)
	}
	row[0] = 127
	o := Options{To: format.GGUF, Architecture: "bert"}
	if err := o.SetDType("q8_0"); err != nil {
		t.Fatal(err)
	}
	_, mid := run(t, []Input{input(t, "in", file(t, nil, map[string][]float64{"m.weight": row}, dtype.F32))}, o)
	_, again := run(t, []Input{input(t, "q", mid[0])}, Options{To: format.GGUF})
	if f := input(t, "out", again[0]).File; f.Tensors[0].DType != dtype.Q8_0 {
		t.Errorf("gguf to gguf: %v", f.Tensors[0].DType)
	}
	if !bytes.Equal(again[0], mid[0]) {
		t.Error("gguf to gguf without a cast is another file: its metadata were not taken over")
	}
	p, back := run(t, []Input{input(t, "q", mid[0])}, Options{To: format.Safetensors})
	if got := table(t, back[0])["m.weight"]; !strings.HasPrefix(got, "F32 [2 32] [127 -62 -60") || p.Cast != 1 {
		t.Errorf("%s, %d cast", got, p.Cast)
	}
	half := Options{To: format.Safetensors}
	if err := half.SetDType("bf16"); err != nil {
		t.Fatal(err)
	}
	_, back = run(t, []Input{input(t, "q", mid[0])}, half)
	if got := table(t, back[0])["m.weight"]; !strings.HasPrefix(got, "BF16 [2 32] [127 -62 -60") {
		t.Error(got)
	}
}

func TestShardsAndGlobs(t *testing.T) {
	in := []Input{input(t, "one", file(t, map[string]string{"format": "np", "x": "1"}, map[string][]float64{"a": {1, 2, 3}, "b": {4}}, dtype.F32)),
		input(t, "two", file(t, map[string]string{"format": "np", "x": "2"}, map[string][]float64{"z": {5, 6}}, dtype.F32))}
	p, out := run(t, in, Options{To: format.Safetensors, MaxShard: 8})
	var names []string
	p.Names(func(name string, o *Output) { names = append(names, fmt.Sprint(name, o.Shard, "/", o.Shards)) })
	if got := strings.Join(names, " "); got != "a1/3 b2/3 z3/3" { // 12 bytes are alone; 4 and 8 do not fit together
		t.Errorf("shards: %s", got)
	}
	if m := input(t, "out", out[0]).Metadata; m["format"] != "np" || m["x"] != "" {
		t.Errorf("metadata %v: what all inputs say is kept", m)
	}
	p, _ = run(t, in, Options{To: format.Safetensors, Include: []string{"[ab]", "z"}, Exclude: []string{"b"}})
	if p.LeftOut != 1 || p.Outputs[0].Tensors != 2 {
		t.Errorf("%d left out, %d there", p.LeftOut, p.Outputs[0].Tensors)
	}
	for want, o := range map[string]Options{
		"are left out":   {To: format.Safetensors, Include: []string{"nothing"}},
		"glob":           {To: format.Safetensors, Exclude: []string{"["}},
		"is not written": {To: format.Opaque},
	} {
		if _, err := New(in, o); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
	if _, err := New([]Input{in[0], in[0]}, Options{To: format.Safetensors}); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "in one and in one") {
		t.Errorf("the same tensors twice: %v", err)
	}
	if _, err := New(nil, Options{To: format.Safetensors}); !errors.Is(err, errs.Invalid) {
		t.Errorf("nothing: %v", err)
	}
}

// TestTied: two names of the same bytes are one storage in a torch file, and two tensors elsewhere.
func TestTied(t *testing.T) {
	f := input(t, "in", file(t, nil, map[string][]float64{"a": {1, 2, 3}}, dtype.F32)).File
	twin := f.Tensors[0]
	twin.Name = "twin"
	f.Tensors = append(f.Tensors, twin)
	_, out := run(t, []Input{{Name: "in", File: f}}, Options{To: format.TorchZip})
	if n := bytes.Count(out[0], []byte("archive/data/0")); n != 2 || bytes.Contains(out[0], []byte("archive/data/1")) { // local header and directory
		t.Errorf("storage 0 is there %d times", n)
	}
	for _, to := range []string{format.TorchZip, format.Safetensors} {
		_, out := run(t, []Input{{Name: "in", File: f}}, Options{To: to})
		if got := table(t, out[0]); got["a"] != got["twin"] || got["a"] == "" {
			t.Errorf("%s: %v", to, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"a.SafeTensors": format.Safetensors, "x/y.pth": format.TorchZip, "m.gguf": format.GGUF, "m.npz": format.NPZ, "m": "", "m.txt": ""} {
		if got := FormatOf(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, s := range []string{"i8", "q4_0", "f33"} {
		if err := new(Options).SetDType(s); !errors.Is(err, errs.Invalid) {
			t.Errorf("dtype %s: %v", s, err)
		}
	}
	if err := (&Options{To: format.NPZ}).SetDType("q8_0"); !errors.Is(err, errs.Invalid) {
		t.Errorf("q8_0 in npz: %v", err)
	}
}

// TestCanceled: a long conversion ends with its context.
func TestCanceled(t *testing.T) {
	in := input(t, "in", file(t, nil, map[string][]float64{"a": make([]float64, 1<<20)}, dtype.F32))
	ctx, cancel := context.WithCancel(t.Context())
	f, err := tensor.Parse(ctx, slow{in.File, cancel}, in.File.Size)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New([]Input{{Name: "in", File: f}}, Options{To: format.Safetensors})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(ctx, p.Outputs[0], io.Discard, func(int64, string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// slow cancels when the tensor is read.
type slow struct {
	f      *tensor.File
	cancel func()
}

func (s slow) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off > 1<<20 {
		s.cancel()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.f.ReadAt(ctx, p, off)
}

func BenchmarkConvert(b *testing.B) {
	raw := make([]byte, 32<<20)
	for i := 0; i < len(raw); i += 4 {
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(i%977)*0.001-0.4))
	}
	items := []format.Item{{Name: "w", DType: dtype.F32, Shape: []int64{1 << 12, 1 << 11}, Length: int64(len(raw))}}
	w, err := safetensors.NewWriter(items, nil)
	if err != nil {
		b.Fatal(err)
	}
	var in bytes.Buffer
	if err := w.Write(&in, func(_ int, w io.Writer) error { _, err := w.Write(raw); return err }); err != nil {
		b.Fatal(err)
	}
	f, err := tensor.Parse(b.Context(), tensor.Plain(bytes.NewReader(in.Bytes())), int64(in.Len()))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ to, cast string }{{format.Safetensors, ""}, {format.TorchZip, ""}, {format.Safetensors, "bf16"}, {format.Safetensors, "f16"}, {format.GGUF, "q8_0"}} {
		b.Run(c.to+"/"+c.cast, func(b *testing.B) {
			o := Options{To: c.to}
			if err := o.SetDType(c.cast); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				p, err := New([]Input{{Name: "in", File: f}}, o)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Write(b.Context(), p.Outputs[0], io.Discard, func(int64, string) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
