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
	var script strings.Builder
	for i, part := range strings.Split(section, "```\n") {
		if i%2 == 1 {
			script.WriteString(part)
		}
	}
	return script.String()
}

// TestGuideMerge runs the commands of the guide's section on merges as they are written, in a repository with the branches that it speaks of.
func TestGuideMerge(t *testing.T) {
	py := mounttest.Python(t)
	r := mounttest.New(t)
	src, bin := t.TempDir(), t.TempDir()
	must(t, os.Symlink(mounttest.Bin, filepath.Join(bin, "coral")))
	must(t, os.WriteFile(filepath.Join(bin, "python"), []byte("#!/bin/sh\nexec "+py+" \"$@\"\n"), 0o755))
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
