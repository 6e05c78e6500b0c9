package diff

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

var bg = context.Background()

// spec is a tensor to be written.
type spec struct {
	name  string
	kind  dtype.Kind
	shape []int64
	v     []float64 // rounded to kind
}

func vec(name string, k dtype.Kind, v ...float64) spec {
	return spec{name, k, []int64{int64(len(v))}, v}
}

func matrix(name string, k dtype.Kind, rows, cols int64, v []float64) spec {
	return spec{name, k, []int64{rows, cols}, v}
}

func encode(k dtype.Kind, v []float64) []byte {
	b := make([]byte, len(v)*values.Width(k))
	values.Encode(b, v, k)
	return b
}

// safetensors is a file of tensors.
func safetensors(list ...spec) []byte {
	var head []string
	var data []byte
	for _, s := range list {
		b := encode(s.kind, s.v)
		shape, _ := json.Marshal(append([]int64{}, s.shape...))
		head = append(head, fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, s.name, s.kind, shape, len(data), len(data)+len(b)))
		data = append(data, b...)
	}
	h := "{" + strings.Join(head, ",") + "}"
	for len(h)%8 != 0 {
		h += " "
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	return append(append(out, h...), data...)
}

// dir writes files and returns the side of them.
func dir(t *testing.T, files map[string][]byte) *Disk {
	t.Helper()
	base := t.TempDir()
	for name, b := range files {
		p := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDisk(base)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func model(t *testing.T, list ...spec) *Disk {
	t.Helper()
	return dir(t, map[string][]byte{"m.safetensors": safetensors(list...)})
}

func compare(t *testing.T, a, b Tree, change ...func(*Options)) *Result {
	t.Helper()
	o := Options{Old: a, New: b}
	for _, fn := range change {
		fn(&o)
	}
	r, err := Run(bg, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// summary is "kind name" of all tensors, and "kind path" of all files.
func summary(r *Result) string {
	var out []string
	for _, f := range r.Files {
		s := f.Kind + " " + f.Path
		if f.OldPath != "" {
			s += "<" + f.OldPath
		}
		out = append(out, s)
	}
	for _, x := range r.Tensors {
		s := x.Kind + " " + x.Name
		if x.OldName != "" {
			s += "<" + x.OldName
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// operandOf is a tensor in memory.
func operandOf(k dtype.Kind, v []float64) operand {
	return rawOperand(k, encode(k, v), []int64{int64(len(v))})
}

func rawOperand(k dtype.Kind, b []byte, shape []int64) operand {
	t := object.Tensor{Name: "x", DType: k, Shape: shape, Length: int64(len(b))}
	f := tensor.FromManifest(tensor.Plain(bytes.NewReader(b)), &object.Manifest{Size: int64(len(b)), Tensors: []object.Tensor{t}})
	return operand{f, &f.Tensors[0]}
}

func normal(n int, seed uint64, scale float64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = rng.NormFloat64() * scale
	}
	return v
}

func near(got, want, tol float64) bool {
	switch {
	case math.IsNaN(want):
		return math.IsNaN(got)
	case math.IsInf(want, 0) || want == 0:
		return got == want
	}
	return math.Abs(got-want) <= tol*math.Abs(want)
}

func measurePair(t *testing.T, a, b operand) measured {
	t.Helper()
	m, err := newWorker(bg, func(int64) {}).pair(a, b, valuesOf(a.t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
