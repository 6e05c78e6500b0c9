package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// diffResult is what the tests look at.
type diffResult struct {
	Tensors []struct {
		Name, Kind string
		Notes      []string
	}
	Total struct {
		Counts struct{ Tensors, Equal int }
	}
	Notes     []string
	ReadBytes int64 `json:"read_bytes"`
}

// TestDiffAgainstNumPy checks every figure of diff and compare on files made by torch, and on the checkpoints of $CORAL_CHECKPOINTS (safetensors files, in order,
// separated by colons) where it is set.
func TestDiffAgainstNumPy(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "diffs.py")
	dir := t.TempDir()
	mounttest.Exec(t, py, script, "make", dir)
	at := func(name string) string { return filepath.Join(dir, name+".safetensors") }
	r := mounttest.New(t)
	pairs := [][2]string{{at("base"), at("tuned")}, {at("tuned"), at("bf16")}, {at("f16"), at("tuned")}, {at("tuned"), at("broken")}, {at("bf16"), at("f16")}}
	if list := os.Getenv("CORAL_CHECKPOINTS"); list != "" {
		files := strings.Split(list, ":")
		for i := 1; i < len(files); i++ {
			pairs = append(pairs, [2]string{files[i-1], files[i]})
		}
	}
	for _, p := range pairs {
		for _, verb := range []string{"diff", "compare"} {
			out := filepath.Join(dir, "result.json")
			if err := os.WriteFile(out, []byte(r.Coral(verb, p[0], p[1], "--json")), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s %s: %s", verb, filepath.Base(p[0]), filepath.Base(p[1]), mounttest.Exec(t, py, script, "check", p[0], p[1], out))
		}
	}
}

// TestDiffSaysWhatItLooksLike: casts, low rank, soups, renames, other containers; from commits and live trees, with a mount and without.
func TestDiffSaysWhatItLooksLike(t *testing.T) {
	py := mounttest.Python(t)
	dir := t.TempDir()
	mounttest.Exec(t, py, filepath.Join(mounttest.Root(), "integration", "python", "diffs.py"), "make", dir)
	at := func(name string) string { return filepath.Join(dir, name+".safetensors") }
	r := mounttest.Mounted(t)
	put := func(name string) {
		t.Helper()
		b, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		r.Write("model.safetensors", b)
	}
	put("base")
	base := r.Snapshot("base")
	for _, c := range []struct {
		name, note string
		flags      []string
	}{
		{"lora", "looks like a rank-8 update of h.0.w", nil},
		{"bf16", "looks like a cast of F32 to BF16: 1 of 4 recast tensors have no other difference", nil}, // frozen
		{"soup", "looks like a soup of " + at("tuned") + " and " + at("other") + ", weights 0.25 and 0.75", []string{"--soup-of", at("tuned"), "--soup-of", at("other")}},
	} {
		put(c.name)
		var res diffResult
		r.JSON(&res, append([]string{"diff"}, c.flags...)...)
		if got := strings.Join(res.Notes, "; "); got != c.note {
			t.Errorf("live %s: %q, want %q", c.name, got, c.note)
		}
	}
	var res diffResult
	r.JSON(&res, "diff", at("tuned"), at("bf16"))
	if got := strings.Join(res.Notes, "; "); got != "looks like a cast of F32 to BF16: 4 recast tensors have no other difference" {
		t.Errorf("cast: %q", got)
	}
	r.JSON(&res, "diff", at("tuned"), at("prefixed"))
	if len(res.Tensors) != 4 || res.Tensors[0].Kind != "renamed" {
		t.Errorf("renamed: %+v", res.Tensors)
	}
	res = diffResult{}
	r.JSON(&res, "compare", at("tuned"), filepath.Join(dir, "tuned.pt"))
	if len(res.Tensors) != 0 || res.Total.Counts.Equal != 4 {
		t.Errorf("another container: %+v", res)
	}
	// What is stored once is not read, and exit code 3 names the tensor.
	put("base")
	r.Coral("sync")
	res = diffResult{}
	r.JSON(&res, "diff", base, ":")
	if res.ReadBytes != 0 || len(res.Tensors) != 0 {
		t.Errorf("equal: %+v", res)
	}
	put("broken")
	tuned := r.Snapshot("broken")
	_, errOut, code := r.Try("diff", base, tuned, "--fail-on", "nan>0", "--fail-on", "inf>0")
	if code != 3 || !strings.Contains(errOut, "h.0.b (nan>0)") || !strings.Contains(errOut, "h.1.w (inf>0)") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	// A path inside a mount is what it is in the repository: the daemon does not read its own mount.
	res = diffResult{}
	if r.JSON(&res, "diff", r.Live("model.safetensors"), tuned+":model.safetensors"); res.ReadBytes != 0 || len(res.Tensors) != 0 {
		t.Errorf("a path in the mount: %+v", res)
	}
	for _, path := range []string{r.Live("model.safetensors"), r.Commit(tuned, "model.safetensors"), filepath.Join(r.Mnt, "HEAD", "model.safetensors")} {
		var shown struct {
			Tensor struct {
				Blob    string `json:"blob"`
				History []any  `json:"history"`
			} `json:"tensor"`
		}
		r.JSON(&shown, "show", path, "h.1.w", "--against", r.Commit(base[:12], "model.safetensors"))
		if len(shown.Tensor.Blob) != 64 || len(shown.Tensor.History) < 2 {
			t.Errorf("show %s: %+v", path, shown)
		}
	}
	r.Unmount()
	if _, _, code := r.Try("diff", base, tuned, "--fail-on", "changed>101%"); code != 0 {
		t.Errorf("without a mount: exit %d", code)
	}
}
