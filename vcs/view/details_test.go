package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"testing"

	"coral/delta/format/detect"
	"coral/delta/format/dtype"
	"coral/delta/format/pickle"
	"coral/delta/format/safetensors"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// metadataOf returns the metadata of the view of a fixture, as our parser reads them, and the names of its tensors.
func metadataOf(t *testing.T, file string) (map[string]string, []string) {
	t.Helper()
	b, err := os.ReadFile("../../delta/format/" + file)
	if err != nil {
		t.Fatal(err)
	}
	src := tensor.Plain(bytes.NewReader(b))
	f, err := tensor.Parse(bg, src, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	m := &object.Manifest{Format: f.Format, Size: f.Size, Tensors: f.Tensors}
	d, err := ReadDetails(bg, src, m)
	if err != nil || HasDetails(m) != (d != nil) {
		t.Fatalf("%s: %v, %v", file, d, err)
	}
	p, err := New(m, d)
	if err != nil {
		t.Fatal(err)
	}
	got := whole(t, p.Open(src))
	meta, err := safetensors.Metadata(bytes.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	table := Tensors(m, d)
	for _, x := range table {
		names = append(names, x.Name)
	}
	if last := table[len(table)-1]; last.Offset+last.Length != p.Size() {
		t.Errorf("%s: the table ends at %d, the view at %d", file, last.Offset+last.Length, p.Size())
	}
	return meta, names
}

// TestDetails: what torch wrote beside tensors is in the metadata of the view.
func TestDetails(t *testing.T) {
	for file, want := range map[string]map[string]string{
		"torchzip/testdata/optimizer.pt": {"param_groups.0.lr": "0.001", "param_groups.0.betas": "[0.9,0.999]", "param_groups.0.params": "[0,1,2,3]"},
		"torchzip/testdata/sparse.pt":    {"s.size": "[3,4]"},
		"npy/testdata/fortran.npy":       nil,
	} {
		meta, _ := metadataOf(t, file)
		var values map[string]json.RawMessage
		if s := meta["coral.values"]; s != "" {
			if err := json.Unmarshal([]byte(s), &values); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		for name, v := range want {
			if string(values[name]) != v {
				t.Errorf("%s: %s is %s, want %s; there are %s", file, name, values[name], v, meta["coral.values"])
			}
		}
		if want == nil && values != nil {
			t.Errorf("%s: %s", file, meta["coral.values"])
		}
		t.Logf("%s: %s", file, meta["coral.values"])
	}
	meta, names := metadataOf(t, "torchzip/testdata/quantized.pt")
	var q map[string]quantizer
	if err := json.Unmarshal([]byte(meta["coral.quantized"]), &q); err != nil || len(q) == 0 {
		t.Fatalf("%v: %s", err, meta["coral.quantized"])
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		x := q[name]
		alone := x.Scale != nil && x.Zero != nil && x.Axis == nil
		channels := x.Scale == nil && x.Zero == nil && x.Axis != nil && slices.Contains(names, name+".scales") && slices.Contains(names, name+".zero_points")
		if !slices.Contains(names, name) || alone == channels {
			t.Errorf("%s: %+v of %v", name, x, names)
		}
	}
	t.Logf("%s", meta["coral.quantized"])
}

// TestDetailsBounds: whatever details say, the header is one that readers take.
func TestDetailsBounds(t *testing.T) {
	m := &object.Manifest{Format: "torch-zip", Size: 8, Tensors: []object.Tensor{{Name: "w", DType: dtype.F32, Shape: []int64{2}, Length: 8}}}
	d := &Details{Quantizers: []pickle.Quantizer{{Name: "w", Scale: math.NaN()}, {Name: "other", Scale: 1}}, Left: 3}
	for i := range 10_000 {
		d.Values = append(d.Values, pickle.Value{Name: fmt.Sprintf("a%d\xff", i), JSON: "12345678"}, pickle.Value{Name: "a0\xff", JSON: "2"})
	}
	p, err := New(m, d)
	if err != nil {
		t.Fatal(err)
	}
	got := whole(t, p.Open(tensor.Plain(bytes.NewReader(make([]byte, 8)))))
	if _, err := detect.Parse(bytes.NewReader(got), int64(len(got))); err != nil {
		t.Fatal(err)
	}
	meta, err := safetensors.Metadata(bytes.NewReader(got), int64(len(got)))
	if err != nil || len(meta["coral.values"]) > 2*pickle.MaxValues || meta["coral.quantized"] != "" {
		t.Errorf("%d bytes of values, quantized %q, %v", len(meta["coral.values"]), meta["coral.quantized"], err)
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(meta["coral.values"]), &values); err != nil || values["a0\uFFFD"] != 12345678.0 || meta["coral.values_left_out"] != fmt.Sprint(3+10_000-len(values)) {
		t.Errorf("%d values, %s left out, %v", len(values), meta["coral.values_left_out"], err)
	}
}
