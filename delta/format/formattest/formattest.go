// Package formattest is the suite that every parser of delta/format runs: the fixtures of its testdata, written by the
// programs that write such files in the wild, against what those programs see in them; and damaged twins of each. It is imported by tests only.
package formattest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coral/delta/format"
)

// T is what the suite needs of testing.T.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Row is a fixture as the program that wrote it sees it; testdata/make.py writes expect.json.
type Row struct {
	File     string
	Format   string
	Tensors  []Tensor
	Payloads []Payload
}

// Tensor is an expected tensor; SHA256 is that of its elements, gathered by the strides.
type Tensor struct {
	Name   string
	DType  string
	Shape  []int64
	SHA256 string
}

// Payload is an expected payload.
type Payload struct {
	Name   string
	DType  string
	Bytes  int64
	SHA256 string
}

// Rows reads testdata/expect.json.
func Rows(t T) []Row {
	t.Helper()
	return RowsOf(t, "expect.json")
}

// RowsOf reads a file like expect.json: that of files which are cut by another file beside them.
func RowsOf(t T, file string) []Row {
	t.Helper()
	var rows []Row
	if err := json.Unmarshal(File(t, file), &rows); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return rows
}

// File reads a fixture.
func File(t T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

// Match compares what p finds in a fixture with what its writer sees.
func Match(t T, p format.Parser, row Row) {
	t.Helper()
	data := File(t, row.File)
	l, err := p.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if err := l.Check(int64(len(data))); err != nil {
		t.Errorf("Check: %v", err)
	}
	if l.Format != row.Format {
		t.Errorf("format %s, want %s", l.Format, row.Format)
	}
	compare(t, "tensors", tensors(data, l), row.Tensors, func(x Tensor) string { return x.Name + x.SHA256 })
	compare(t, "payloads", payloads(data, l), row.Payloads, func(x Payload) string { return x.Name + x.SHA256 })
}

// compare compares two lists as sets and reports what only one of them has.
func compare[X any](t T, what string, got, want []X, key func(X) string) {
	t.Helper()
	text := func(xs []X) []string {
		slices.SortFunc(xs, func(a, b X) int { return strings.Compare(key(a), key(b)) })
		out := make([]string, len(xs))
		for i, x := range xs {
			b, _ := json.Marshal(x)
			out[i] = string(b)
		}
		return out
	}
	g, w := text(got), text(want)
	for _, s := range g {
		if !slices.Contains(w, s) {
			t.Errorf("%s: %s is not wanted", what, s)
		}
	}
	for _, s := range w {
		if !slices.Contains(g, s) {
			t.Errorf("%s: %s is missing", what, s)
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d %s, want %d", len(g), what, len(w))
	}
}

func tensors(data []byte, l *format.Layout) []Tensor {
	var out []Tensor
	for i := range l.Tensors {
		x := &l.Tensors[i]
		shape := x.Shape
		if shape == nil {
			shape = []int64{}
		}
		out = append(out, Tensor{x.Name, x.DType.String(), shape, hash(gather(data, x))})
	}
	return out
}

func payloads(data []byte, l *format.Layout) []Payload {
	var out []Payload
	for _, p := range l.Payloads {
		out = append(out, Payload{p.Name, p.DType.String(), p.Length, hash(data[p.Offset : p.Offset+p.Length])})
	}
	return out
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// gather returns the elements of x in the order of its dimensions.
func gather(data []byte, x *format.Tensor) []byte {
	if x.Stride == nil || x.Length == 0 {
		return data[x.Offset : x.Offset+x.Length]
	}
	w := int64(x.DType.Width())
	n, _ := format.Elements(x.Shape)
	out := make([]byte, 0, n*w)
	for i := range n {
		at, rest := int64(0), i
		for d := len(x.Shape) - 1; d >= 0; d-- {
			at += rest % x.Shape[d] * x.Stride[d]
			rest /= x.Shape[d]
		}
		out = append(out, data[x.Offset+at*w:][:w]...)
	}
	return out
}

// Damage parses damaged twins of a fixture: cut off at every length of the first 4096 bytes and near the end, single bits
// flipped, and numbers overwritten by large ones. None may panic, and whatever parses must pass Check.
func Damage(t T, p format.Parser, file string) {
	t.Helper()
	data := File(t, file)
	for n := range data {
		if n < 4096 || n > len(data)-256 || n%61 == 0 {
			Try(t, p, data[:n])
		}
	}
	rng := rand.New(rand.NewPCG(uint64(len(data)), 1))
	twin := make([]byte, len(data))
	for range 800 {
		copy(twin, data)
		for range 1 + rng.IntN(3) {
			at := place(rng, len(data))
			if rng.IntN(2) == 0 {
				twin[at] ^= 1 << rng.IntN(8)
				continue
			}
			lie := lies[rng.IntN(len(lies))]
			copy(twin[at:], lie)
		}
		Try(t, p, twin)
	}
}

// place picks a byte, headers at both ends more often than the rest.
func place(rng *rand.Rand, n int) int {
	switch rng.IntN(3) {
	case 0:
		return rng.IntN(min(n, 1024))
	case 1:
		return n - 1 - rng.IntN(min(n, 1024))
	}
	return rng.IntN(n)
}

var lies = [][]byte{
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0, 0, 0, 0, 0, 0, 0, 0x10}, {0xff, 0xff, 0xff, 0x7f}, {0xff, 0xff}, {0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0x80},
}

// Try parses b. It fails if what is returned is neither a good layout nor an error that says damaged or unknown.
func Try(t T, p format.Parser, b []byte) {
	t.Helper()
	l, err := p.Parse(bytes.NewReader(b), int64(len(b)))
	switch {
	case err != nil && !errors.Is(err, format.ErrDamaged) && !errors.Is(err, format.ErrUnknown):
		t.Errorf("%s: error of no class: %v", p.Name(), err)
	case err == nil && l == nil:
		t.Errorf("%s: neither layout nor error", p.Name())
	case err == nil:
		if err := l.Check(int64(len(b))); err != nil {
			t.Errorf("%s: layout of a damaged file: %v", p.Name(), err)
		}
	}
}

var errRead = errors.New("disk on fire")

// ReadErrors checks that an error of the file at any read of a fixture is returned as such: the caller
// must not take it for damage and store the file without its tensors.
func ReadErrors(t T, p format.Parser, file string) {
	t.Helper()
	data := File(t, file)
	for n := range 1000 {
		r := &failing{r: bytes.NewReader(data), good: n}
		_, err := p.Parse(r, int64(len(data)))
		if !r.failed {
			return
		}
		if !errors.Is(err, errRead) {
			t.Errorf("%s: read %d of %s fails, and Parse with %v", p.Name(), n, file, err)
		}
	}
}

// failing is a file whose reads fail after some good ones.
type failing struct {
	r      *bytes.Reader
	good   int
	failed bool
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.good--; f.good < 0 {
		f.failed = true
		return 0, errRead
	}
	return f.r.ReadAt(p, off)
}
