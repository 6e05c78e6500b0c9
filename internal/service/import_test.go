package service

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/natural"
)

func TestFindCheckpoints(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string // checkpoints, each name[files]
	}{
		"directories": {[]string{"checkpoint-100/m", "checkpoint-20/m", "checkpoint-20/sub/n", "README", "logs/x", ".cache1/y", "empty7/"}, "checkpoint-20[m sub/n] checkpoint-100[m]"},
		"files":       {[]string{"ckpt_100.pt", "ckpt_20.pt", "notes1.txt"}, "ckpt_20[ckpt.pt] ckpt_100[ckpt.pt]"},
		"pairs":       {[]string{"model_1.pt", "optim_1.pt", "model_2.pt", "optim_02.pt"}, "model_1[model.pt optim.pt] model_2[model.pt optim.pt]"},
		"constant":    {[]string{"llama2-step=10-e1.ckpt", "llama2-step=20-e1.ckpt"}, "llama2-step=10-e1[llama2-step=-e1.ckpt] llama2-step=20-e1[llama2-step=-e1.ckpt]"},
		"bare":        {[]string{"00.safetensors", "01.safetensors"}, "00[model.safetensors] 01[model.safetensors]"},
		"one":         {[]string{"model.safetensors", "config.json"}, "run[config.json model.safetensors]"},
		"one file":    {[]string{"model-1.pt"}, "run[model-1.pt]"},
		"shards":      {[]string{"ckpt-5/model-00001-of-00002.bin", "ckpt-5/model-00002-of-00002.bin"}, "ckpt-5[model-00001-of-00002.bin model-00002-of-00002.bin]"},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		for _, f := range c.files {
			p := filepath.Join(dir, f)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(f, "/") {
				if err := os.Mkdir(p, 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(p, []byte(f), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		list, err := findCheckpoints(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, cp := range list {
			var names []string
			for _, f := range cp.files {
				names = append(names, f.dst)
			}
			got = append(got, cp.name+"["+strings.Join(names, " ")+"]")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, err := findCheckpoints(t.TempDir(), false); err == nil {
		t.Error("an empty directory was taken")
	}
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"a", "a01", "a1", "a2", "a10", "a10b", "b1"}
	got := slices.Clone(want)
	slices.Reverse(got)
	if slices.SortFunc(got, natural.Total); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTrainerMetrics(t *testing.T) {
	got := trainerMetrics([]byte(`{"global_step": 20, "epoch": 0.5, "log_history": [{"step": 10, "loss": 2, "lr": 1e-4}, {"step": 20, "loss": NaN, "note": "NaN \" Infinity", "grad_norm": Infinity}, {"step": 30, "loss": 0.1}]}`))
	if len(got) != 5 || got["step"] != 20 || got["epoch"] != 0.5 || !math.IsNaN(got["loss"]) || got["lr"] != 1e-4 || !math.IsInf(got["grad_norm"], 1) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"", "{", "[]", "{}", `{"global_step": "x"}`, `{"global_step": 1, "log_history": 5}`, "\xff"} {
		if got := trainerMetrics([]byte(bad)); got != nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzTrainerMetrics(f *testing.F) {
	f.Add([]byte(`{"global_step": 20, "log_history": [{"step": 10, "loss": -Infinity}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { trainerMetrics(b) }) // never panics
}

func TestImport(t *testing.T) {
	noSettings(t)
	dir := newRepo(t)
	s := open(t, dir, Options{})
	run := files(t, map[string]string{
		"checkpoint-5/model.bin": "five", "checkpoint-5/old/gone": "x", "checkpoint-5/trainer_state.json": `{"global_step":5,"epoch":1,"log_history":[{"step":5,"loss":0.5}]}`,
		"checkpoint-10/model.bin": "ten", "README": "no",
	})
	var r ImportResult
	do(t, s, "import "+Quote(run)+" --dry-run", &r)
	if len(r.Commits) != 2 || r.Commits[0].Files != 3 || !r.DryRun || !r.Commits[0].Commit.IsZero() {
		t.Fatalf("%+v", r)
	}
	r = ImportResult{}
	do(t, s, "import "+Quote(run)+" -b runs/a --to w", &r)
	if len(r.Commits) != 2 || r.Branch != "runs/a" || r.Commits[0].Message != "checkpoint-5: step 5, epoch 1, loss 0.5" || r.Commits[0].Metrics["loss"] != 0.5 || r.Commits[1].Message != "checkpoint-10" {
		t.Fatalf("%+v", r)
	}
	names := func(target string) (out string) {
		t.Helper()
		var list []EntryInfo
		do(t, s, "ls "+target, &list)
		for _, e := range list {
			out += string(e.Name) + " "
		}
		return out
	}
	if got := names("runs/a~1:w"); got != "model.bin old trainer_state.json " {
		t.Errorf("first commit has %s", got)
	}
	if got := names("runs/a:w"); got != "model.bin " {
		t.Errorf("second commit has %s", got)
	}
	// Again, with one more; an import that was killed left a part of it.
	if err := os.MkdirAll(filepath.Join(run, "checkpoint-15"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, "checkpoint-15", "model.bin"), []byte("fifteen"), 0o644); err != nil {
		t.Fatal(err)
	}
	do(t, s, "add "+Quote(run)+"/checkpoint-15/model.bin --to w -b runs/a", nil)
	fails(t, s, "import "+Quote(run)+" -b runs/a --to w", errs.Conflict, "has changes (w/model.bin)")
	if err := writeImportMark(dir, "runs/a", filepath.Join(run, "checkpoint-15")); err != nil {
		t.Fatal(err)
	}
	r = ImportResult{}
	do(t, s, "import "+Quote(run)+" -b runs/a --to w", &r)
	if len(r.Commits) != 1 || r.Skipped != 2 || r.Commits[0].Message != "checkpoint-15" {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, importMark)); err == nil {
		t.Error("the mark was left")
	}
	r = ImportResult{}
	if do(t, s, "import "+Quote(run)+" -b runs/a --to w", &r); len(r.Commits) != 0 || r.Skipped != 3 {
		t.Errorf("%+v", r)
	}
	// By time: the directory that was written last is the first by name.
	late := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(run, "checkpoint-5", "model.bin"), late, late); err != nil {
		t.Fatal(err)
	}
	r = ImportResult{}
	if do(t, s, "import "+Quote(run)+" --by mtime --dry-run", &r); len(r.Commits) != 3 || !strings.HasPrefix(r.Commits[2].Message, "checkpoint-5:") {
		t.Errorf("%+v", r)
	}
	fails(t, s, "import "+Quote(run+"/nowhere"), os.ErrNotExist, "nowhere")
	fails(t, s, "import "+Quote(run)+" --by size", errs.Invalid, "--by")
}
