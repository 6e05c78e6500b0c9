package view

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/vcs/object"
)

// dirOf makes a Dir of names; those with a leading "=" are Itself, with "-" Absent, the others Converted.
func dirOf(names ...string) (Dir, []string) {
	roles := map[string]Role{}
	var all []string
	for _, n := range names {
		role := Converted
		switch n[0] {
		case '=':
			role, n = Itself, n[1:]
		case '-':
			role, n = Absent, n[1:]
		}
		roles[n] = role
		all = append(all, n)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return func(name string) (Role, bool) { r, ok := roles[name]; return r, ok }, all
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ dir, want string }{
		{"model.pt", "model.safetensors<model.pt"},
		{"weights", "weights.safetensors<weights"},
		{"a.b.dat", "a.b.dat.safetensors<a.b.dat"},
		{"llama.Q4_K.gguf =config.json", "config.json<config.json llama.Q4_K.safetensors<llama.Q4_K.gguf"},
		{"pytorch_model.bin", "model.safetensors<pytorch_model.bin"},
		{"pytorch_model-00001-of-00002.bin pytorch_model.fp16.bin", "model-00001-of-00002.safetensors<pytorch_model-00001-of-00002.bin model.fp16.safetensors<pytorch_model.fp16.bin"},
		{"pytorch_modeling.bin pytorch_model.pt", "pytorch_model.safetensors<pytorch_model.pt pytorch_modeling.safetensors<pytorch_modeling.bin"},
		{"pytorch_model.bin =model.safetensors", "model.safetensors<model.safetensors pytorch_model.bin.safetensors<pytorch_model.bin"},
		{"pytorch_model.bin -model.safetensors", "model.safetensors<pytorch_model.bin"}, // a damaged one takes no name
		{"model.pt model.bin", "model.bin.safetensors<model.bin model.pt.safetensors<model.pt"},
		{"model.pt model.bin pytorch_model.bin model", "model.bin.safetensors<model.bin model.pt.safetensors<model.pt model.safetensors<pytorch_model.bin"},
		{"model.pt model.bin model", "model.safetensors<model model.bin.safetensors<model.bin model.pt.safetensors<model.pt"},
		{"model.onnx pytorch_model.bin tf_model.h5", "model.onnx.safetensors<model.onnx model.safetensors<pytorch_model.bin tf_model.safetensors<tf_model.h5"},
		{"weights =weights.safetensors", "weights.safetensors<weights.safetensors"},
		{"model.pt =model.safetensors =model.pt.safetensors", "model.pt.safetensors<model.pt.safetensors model.safetensors<model.safetensors"},
		{"-optimizer.pt -broken.gguf", ""},
		{".pt", ".pt.safetensors<.pt"},
		{strings.Repeat("x", 250), ""},
		{strings.Repeat("x", 243) + " =a", "a<a " + strings.Repeat("x", 243) + ".safetensors<" + strings.Repeat("x", 243)},
	} {
		dir, all := dirOf(strings.Fields(c.dir)...)
		names, originals := dir.Names(all)
		var got []string
		for i := range names {
			got = append(got, names[i]+"<"+originals[i])
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s shows %s, want %s", c.dir, s, c.want)
		}
	}
}

// TestFindIsNames: what readdir lists is what lookup finds, and no name is listed twice.
func TestFindIsNames(t *testing.T) {
	parts := []string{"model", "pytorch_model", "a", "model.pt", "pytorch_model-1", ""}
	exts := []string{"", ".pt", ".bin", ".safetensors", ".pt.safetensors", ".bin.safetensors", ".x"}
	rapid.Check(t, func(t *rapid.T) {
		var in []string
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			n := rapid.SampledFrom(parts).Draw(t, "part") + rapid.SampledFrom(exts).Draw(t, "ext")
			if n != "" {
				in = append(in, rapid.SampledFrom([]string{"", "", "=", "-"}).Draw(t, "role")+n)
			}
		}
		dir, all := dirOf(in...)
		names, originals := dir.Names(all)
		seen := map[string]bool{}
		for i, n := range names {
			if seen[n] {
				t.Fatalf("%q is listed twice for %q", n, in)
			}
			seen[n] = true
			if got, _, ok := dir.Find(n); !ok || got != originals[i] {
				t.Fatalf("%q of %q is %q, listed for %q", n, in, got, originals[i])
			}
		}
		for _, p := range parts {
			for _, e := range exts {
				for _, s := range []string{"", Suffix} {
					if n := p + e + s; n != "" && !seen[n] {
						if got, _, ok := dir.Find(n); ok {
							t.Fatalf("%q of %q is found as %q and not listed", n, in, got)
						}
					}
				}
			}
		}
	})
}

func TestRoleOf(t *testing.T) {
	one := []object.Tensor{{Name: "a", DType: dtype.F32, Shape: []int64{1}, Length: 4}}
	for _, c := range []struct {
		name, format string
		tensors      []object.Tensor
		want         Role
	}{
		{"model.safetensors", format.Safetensors, one, Itself},
		{"weights.bin", format.Safetensors, nil, Itself},
		{"model.pt", format.TorchZip, one, Converted},
		{"data", format.NPY, one, Converted},
		{"scheduler.pt", format.TorchZip, nil, Absent},
		{"big_endian.npy", format.NPY, []object.Tensor{{DType: dtype.Bytes, Shape: []int64{4}, Length: 4}}, Absent},
		{"broken.pt", format.Opaque, nil, Absent},
		{"broken.safetensors", format.Opaque, nil, Absent},
		{"config.json", format.Opaque, nil, Itself},
		{"spiece.model", format.Opaque, nil, Itself},
		{"README", format.Opaque, nil, Itself},
	} {
		if got := RoleOf(c.name, &object.Manifest{Format: c.format, Tensors: c.tensors, Size: 4}); got != c.want {
			t.Errorf("%s of format %s: %d, want %d", c.name, c.format, got, c.want)
		}
	}
	if Guess("a.pt") != Absent || Guess("a.json") != Itself || !IsSafetensors("a.safetensors") || IsSafetensors("a.pt") {
		t.Error("guesses")
	}
}

func TestIndex(t *testing.T) {
	m := func(names ...string) *object.Manifest {
		out := &object.Manifest{Format: format.TorchZip, Size: 100}
		for _, n := range names {
			out.Tensors = append(out.Tensors, object.Tensor{Name: n, DType: dtype.F32, Shape: []int64{2}, Length: 8})
		}
		return out
	}
	p := IndexOf([]Shard{{"model-00001-of-00002.safetensors", m("a", "b")}, {"model-00002-of-00002.safetensors", m("c")}})
	var got struct {
		Metadata struct {
			Total int `json:"total_size"`
		}
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(p.header, &got); err != nil || p.Size() != int64(len(p.header)) {
		t.Fatal(err, p.Size())
	}
	if got.Metadata.Total != 24 || len(got.WeightMap) != 3 || got.WeightMap["c"] != "model-00002-of-00002.safetensors" {
		t.Errorf("%+v", got)
	}
	if !IsShard("pytorch_model-00001-of-00002.bin") || IsShard("pytorch_model.bin") || IsShard("pytorch_model-1.pt") {
		t.Error("IsShard")
	}
}
