package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// guideBlocks returns the commands of a section of docs/guide.md.
func guideBlocks(t *testing.T, title string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(mounttest.Root(), "docs", "guide.md"))
	must(t, err)
	_, section, ok := strings.Cut(string(b), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("the guide has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return blocks(section)
}

// blocks returns the commands of a section.
func blocks(section string) string {
	var script strings.Builder
	for i, part := range strings.Split(section, "```\n") {
		if i%2 == 1 && !strings.HasPrefix(part, "/data/models") { // a line of fstab
			script.WriteString(part)
		}
	}
	return script.String()
}

// guideBin returns a directory with the programs of the guide: coral, and the Python of the tests.
func guideBin(t *testing.T, py string) string {
	t.Helper()
	bin := t.TempDir()
	must(t, os.Symlink(mounttest.Bin, filepath.Join(bin, "coral")))
	must(t, os.WriteFile(filepath.Join(bin, "python"), []byte("#!/bin/sh\nexec "+py+" \"$@\"\n"), 0o755))
	return bin
}

// TestGuide runs the other blocks of the guide in its order as they are written, but for where they mount and export. Between sections happens what a reader would have done meanwhile.
func TestGuide(t *testing.T) {
	py := mounttest.Python(t)
	mounttest.NeedFUSE(t)
	home, mnt, bin := t.TempDir(), t.TempDir(), guideBin(t, py)
	model := func(path string, step int) {
		words := noise(1, 64<<10)
		for i := 0; i < len(words); i += 4 {
			words[i] = byte(step)
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, oneTensor("encoder.layer.0.output.dense.weight", words), 0o644))
	}
	checkpoint := func(dir string, step int) {
		model(filepath.Join(dir, "model.safetensors"), step)
		must(t, os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"step": %d}`, step), 0o644))
		state := fmt.Appendf(nil, `{"global_step": %d, "epoch": 1.0, "log_history": [{"step": %d, "loss": %v}]}`, step, step, float64(step)/10)
		must(t, os.WriteFile(filepath.Join(dir, "trainer_state.json"), state, 0o644))
	}
	checkpoint(filepath.Join(home, "runs/checkpoint-500"), 500)
	for step := 1; step <= 7; step++ {
		checkpoint(filepath.Join(home, fmt.Sprintf("runs/minilm/checkpoint-%d", step)), step)
	}
	model(filepath.Join(home, "downloads/model.safetensors"), 3)
	save := exec.Command(py, "-c", "import sys, torch\nfor d in sys.argv[1:]: torch.save({'state': {0: {'exp_avg': torch.randn(64, 64)}}}, d + '/optimizer.pt')")
	dirs, err := filepath.Glob(filepath.Join(home, "runs/*/checkpoint-*"))
	must(t, err)
	save.Args = append(save.Args, append(dirs, filepath.Join(home, "runs/checkpoint-500"))...)
	if out, err := save.CombinedOutput(); err != nil {
		t.Fatalf("optimizers: %v: %s", err, out)
	}
	run := func(what, script string) {
		t.Helper()
		cmd := exec.Command("bash", "-e", "-x", "-c", strings.NewReplacer("/mnt/", mnt+"/", "/tmp/", t.TempDir()+"/").Replace(script))
		if cmd.Dir = home; !strings.HasPrefix(script, "coral init") {
			cmd.Dir = filepath.Join(home, "models")
		}
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home+"/.config", "PATH="+bin+":"+os.Getenv("PATH"), "CORAL_REPO=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{"look", "v1.2", "models"} {
			_ = exec.Command(mounttest.Bin, "-R", filepath.Join(home, "models"), "unmount", filepath.Join(mnt, dir)).Run()
		}
	})
	between := map[string]string{
		"Read any version": "echo '{\"step\": 501}' > /mnt/models/branches/main/checkpoint-500/config.json; cp ~/downloads/model.safetensors /mnt/models/branches/main/; coral snapshot -m 'step 501'",
		"Go back":          "echo '{\"step\": 502}' > /mnt/models/branches/main/checkpoint-500/config.json; coral snapshot -m 'step 502' --metric loss=0.3; coral tag v1.2; coral tag v1",
		"What changed?":    "cp ~/runs/minilm/checkpoint-2/model.safetensors /mnt/models/branches/main/; coral snapshot -m 'another'",
		"Who changed it, and when did it go wrong?": "echo 'import sys, os; sys.exit(os.path.getsize(sys.argv[1] + \"/config.json\") > 1000)' > eval.py",
		"Old checkpoints as approximations":         "coral checkout runs/minilm; coral sync",
	}
	b, err := os.ReadFile(filepath.Join(mounttest.Root(), "docs", "guide.md"))
	must(t, err)
	for section := range strings.SplitSeq(string(b), "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		if strings.HasPrefix(title, "# ") || title == "Merge branches" { // the head of the page, and TestGuideMerge
			continue
		}
		if script := between[title]; script != "" {
			run("before "+title, script)
			delete(between, title)
		}
		if script := blocks(section); script != "" {
			run(title, script)
		}
	}
	for title := range between {
		t.Errorf("the guide has no section %q", title)
	}
}

// TestGuideMerge runs the commands of the guide's section on merges as they are written, in a repository with the branches that it speaks of.
func TestGuideMerge(t *testing.T) {
	py := mounttest.Python(t)
	r := mounttest.New(t)
	src, bin := t.TempDir(), guideBin(t, py)
	commit := func(branch string, v float32) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(src, "model.safetensors"), tinyWeights(v), 0o644))
		must(t, os.WriteFile(filepath.Join(src, "config.json"), fmt.Appendf(nil, `{"lr": %v}`, v), 0o644))
		r.Coral("add", "-b", branch, filepath.Join(src, "model.safetensors"), filepath.Join(src, "config.json"))
		r.Coral("snapshot", "-b", branch, "-m", branch)
	}
	commit("main", 1)
	for i, name := range []string{"exp/a", "exp/b", "exp/c"} {
		r.Coral("branch", name, "main")
		commit(name, float32(i)+2)
	}
	commit("main", 1.5)
	eval := "import struct, sys\nv = struct.unpack('<f', open(sys.argv[1] + '/model.safetensors', 'rb').read()[-4:])[0]\nprint('evaluated', sys.argv[1])\nprint(-abs(v - 2.6))\n"
	must(t, os.WriteFile(filepath.Join(r.Dir, "eval.py"), []byte(eval), 0o644))
	cmd := exec.Command("sh", "-e", "-x", "-c", guideBlocks(t, "Merge branches"))
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CORAL_REPO=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"both changed the same tensors\n", "by slerp", "soup of three", "candidate", "as a greedy soup with score", "greedy soup of "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
