package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// TestMergeReference compares merges by the built binary with mergekit's definitions in NumPy, of F32, F16 and BF16 tensors.
func TestMergeReference(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "merge_reference.py")
	dir := t.TempDir()
	mounttest.Exec(t, py, script, "make", dir)
	r := mounttest.New(t)
	file := func(name string) string { return filepath.Join(dir, name+".safetensors") }
	commit := func(branch, name string) {
		t.Helper()
		b, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		src := filepath.Join(t.TempDir(), "m.safetensors")
		if err := os.WriteFile(src, b, 0o644); err != nil {
			t.Fatal(err)
		}
		r.Coral("add", "-b", branch, src)
		r.Coral("snapshot", "-b", branch, "-m", name)
	}
	commit("main", "base")
	for _, name := range []string{"a", "b", "c"} {
		r.Coral("branch", name, "main")
		commit(name, name)
	}
	merges := []struct {
		strategy string
		with     []string
	}{
		{"average", []string{"b", "c"}}, {"weighted:alpha=0.3", []string{"b"}}, {"linear:weights=1/3/0.5", []string{"b", "c"}}, {"slerp:t=0.3", []string{"b"}},
		{"task-arithmetic:weights=0.6/0.4,lambda=0.7", []string{"b"}}, {"ties:density=0.3", []string{"b", "c"}}, {"dare-linear:density=0.4,seed=9", []string{"b"}},
		{"dare-ties:density=0.4,seed=9,rescale=density", []string{"b", "c"}}, {"breadcrumbs:density=0.5,gamma=0.1", []string{"b"}}, {"breadcrumbs-ties", []string{"b"}},
		{"model-stock", []string{"b", "c"}},
	}
	args := []string{script, "check"}
	for i, c := range merges {
		branch := fmt.Sprintf("x%d", i)
		r.Coral("branch", branch, "a")
		var res struct {
			Recipe struct {
				Strategy json.RawMessage `json:"strategy"`
			} `json:"recipe"`
		}
		r.JSON(&res, append([]string{"merge", "-b", branch, "-s", c.strategy, "--all"}, c.with...)...)
		spec, out := filepath.Join(dir, branch+".json"), filepath.Join(dir, branch+".safetensors")
		if err := os.WriteFile(spec, res.Recipe.Strategy, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(out, []byte(r.Coral("cat", branch+":m.safetensors")), 0o644); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			args = append(args, "--")
		}
		args = append(args, spec, out, file("base"), file("a"))
		for _, name := range c.with {
			args = append(args, file(name))
		}
	}
	compareMerges(t, len(merges), mounttest.Exec(t, py, args...), func(i int) string { return fmt.Sprintf("%s of %v", merges[i].strategy, merges[i].with) })

	args = []string{script, "recipe"}
	for i, text := range gradedRecipes {
		branch := fmt.Sprintf("y%d", i)
		r.Coral("branch", branch, "a")
		yaml, out := filepath.Join(dir, branch+".yaml"), filepath.Join(dir, branch+".safetensors")
		must(t, os.WriteFile(yaml, []byte(text), 0o644))
		r.Coral("merge", "-b", branch, "--recipe", yaml)
		must(t, os.WriteFile(out, []byte(r.Coral("cat", branch+":m.safetensors")), 0o644))
		if i > 0 {
			args = append(args, "--")
		}
		args = append(args, yaml, out, file("base"), file("a"), file("b"))
	}
	compareMerges(t, len(gradedRecipes), mounttest.Exec(t, py, args...), func(i int) string { return gradedRecipes[i] })
}

// gradedRecipes have parameters that depend on the tensor: the first is mergekit's own example. Sides are a and b, the base is main.
var gradedRecipes = []string{
	`slices:
  - sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]
merge_method: slerp
base_model: a
parameters:
  t:
    - {filter: bias, value: [0.1, 0.5, 0.3, 0.7, 1]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
    - filter: weight
      value: [0.2, 0.9, 0.4]
    - value: 0.5
`,
	`models:
  - model: a
    parameters: {weight: [0.1, 0.9]}
  - model: b
    parameters:
      weight: [{filter: layer, value: [1, 0.25, 0.5]}, {filter: "*", value: 0.75}]
merge_method: linear
parameters: {normalize: [{filter: head, value: false}, {value: true}]}
`,
	`slices:
  - sources:
      - {model: main}
      - {model: a, parameters: {density: [0.2, 0.8]}}
      - {model: b, parameters: {density: [{filter: layer.2, value: 0.5}], weight: 0.3}}
    parameters: {weight: [{filter: embed, value: 0.6}], lambda: [0.5, 1.5]}
merge_method: ties
base_model: main
parameters: {weight: 1}
`,
}

// compareMerges looks at the lines of the reference.
func compareMerges(t *testing.T, n int, out string, name func(i int) string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != n {
		t.Fatalf("%d results of %d merges", len(lines), n)
	}
	for i := range n {
		var got struct{ Elements, Different int }
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		if got.Elements == 0 || got.Different > got.Elements/500 {
			t.Errorf("%s: %s", name(i), lines[i])
		}
		t.Logf("%s: %s", name(i), lines[i])
	}
}
