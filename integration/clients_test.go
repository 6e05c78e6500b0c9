package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// TestPythonClients saves and loads with torch, safetensors, numpy and transformers through the mount,
// then again from the commit, after a remount, from two processes at once.
func TestPythonClients(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "clients.py")
	r := mounttest.Mounted(t)
	ref := filepath.Join(t.TempDir(), "ref.json")
	mounttest.Exec(t, py, script, "save", r.Live("run"), ref)
	id := r.Snapshot("clients")
	mounttest.Exec(t, py, script, "load", r.Commit(id, "run"), ref)
	r.Coral("fsck", "--full")
	r.Coral("cache", "drop")
	r.Unmount()
	r.Mount()
	var wg sync.WaitGroup
	outs := make([]string, 2)
	errs := make([]error, 2)
	for i, dir := range []string{r.Commit(id, "run"), r.Live("run")} {
		wg.Go(func() {
			cmd := exec.Command(py, script, "load", dir, ref)
			cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1")
			out, err := cmd.CombinedOutput()
			outs[i], errs[i] = string(out), err
		})
	}
	wg.Wait()
	for i := range errs {
		if errs[i] != nil {
			t.Errorf("process %d: %v\n%s", i, errs[i], outs[i])
		}
	}
	var s struct {
		Formats string
		Saved   float64 `json:"saved_ratio"`
	}
	r.JSON(&s, "stats")
	t.Logf("saved ratio of the clients' files: %.3f", s.Saved)
}

// TestCopyTools brings a tree in with cp -a, rsync and tar, and takes it out of a commit with the same.
func TestCopyTools(t *testing.T) {
	src := t.TempDir()
	for name, data := range map[string][]byte{"a.bin": noise(1, 700_001), "d/b": noise(2, 10), "d/empty": nil, "d/e/deep": noise(3, 65536)} {
		p := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("d/b", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(src, "a.bin"), filepath.Join(src, "d", "hard")); err != nil {
		t.Fatal(err)
	}
	r := mounttest.Mounted(t)
	mounttest.Exec(t, "cp", "-a", src, r.Live("cp"))
	mounttest.Exec(t, rsync(t), "-aH", src+"/", r.Live("rsync")+"/")
	if err := os.Mkdir(r.Live("tar"), 0o755); err != nil {
		t.Fatal(err)
	}
	mounttest.Exec(t, "sh", "-c", "tar -C "+src+" -cf - . | tar -C "+r.Live("tar")+" -xpf -")
	id := r.Snapshot("tools")
	r.Unmount()
	r.Mount()
	for _, d := range []string{"cp", "rsync", "tar"} {
		mounttest.Exec(t, "diff", "-r", "--no-dereference", src, r.Live(d))
		mounttest.Exec(t, "diff", "-r", "--no-dereference", src, r.Commit(id, d))
		out := mounttest.Exec(t, rsync(t), "-ainc", src+"/", r.Live(d)+"/")
		if out != "" {
			t.Errorf("rsync sees differences in %s after a remount: %s", d, out)
		}
		back := filepath.Join(t.TempDir(), "back")
		mounttest.Exec(t, "cp", "-a", r.Commit(id, d), back)
		mounttest.Exec(t, "diff", "-r", "--no-dereference", src, back)
	}
	out := mounttest.Exec(t, "stat", "-c", "%h %i", r.Live("cp/a.bin"), r.Live("cp/d/hard"))
	if lines := splitLines(out); len(lines) != 2 || lines[0] != lines[1] || lines[0][0] != '2' {
		t.Errorf("hard links after a remount: %q", out)
	}
}

// rsync finds rsync on the system or where `make tools` put it.
func rsync(t *testing.T) string {
	t.Helper()
	if p, err := exec.LookPath("rsync"); err == nil {
		return p
	}
	p := filepath.Join(mounttest.Root(), ".cache", "tools", "rsync")
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("no rsync: run `make tools`, or install it")
	}
	return p
}

// TestCopyWithXattrs copies a committed model to a plain disk and back into a branch with tools that copy what listxattr tells: our own attributes,
// which may be larger than a disk takes, must not be among them, and a user's own must.
func TestCopyWithXattrs(t *testing.T) {
	r := mounttest.Mounted(t)
	py := mounttest.Python(t)
	mounttest.Exec(t, py, "-c", `
import sys, torch
from safetensors.torch import save_file
save_file({f"a.long.name.of.a.tensor.number.{i:05d}": torch.zeros(40) + i for i in range(300)}, sys.argv[1])`, r.Live("m.safetensors"))
	must(t, syscall.Setxattr(r.Live("m.safetensors"), "user.mine", []byte("v"), 0))
	id := r.Snapshot("many tensors")
	b := make([]byte, 65536)
	if n, err := syscall.Getxattr(r.Live("m.safetensors"), "user.coral.tensors", b); err != nil || n < 8192 {
		t.Fatalf("user.coral.tensors has %d bytes, %v: too few to prove anything", n, err)
	}
	for _, src := range []string{r.Live("m.safetensors"), r.Commit(id, "m.safetensors")} {
		dst := filepath.Join(t.TempDir(), "m")
		mounttest.Exec(t, "python3", "-c", "import shutil, sys; shutil.copy2(sys.argv[1], sys.argv[2])", src, dst)
		mounttest.Exec(t, "cp", "--preserve=all", src, dst+"2")
		mounttest.Exec(t, "cp", "--preserve=all", dst+"2", r.Live("back"))
		mounttest.Exec(t, "cmp", src, r.Live("back"))
	}
	dst := filepath.Join(t.TempDir(), "m")
	mounttest.Exec(t, "cp", "--preserve=all", r.Live("m.safetensors"), dst)
	if n, err := syscall.Getxattr(dst, "user.mine", b); err != nil || string(b[:n]) != "v" {
		t.Errorf("the user's own attribute was not copied: %q, %v", b[:max(n, 0)], err)
	}
}

// TestEveryCommitAfterRemount: sha256sum of every file of every commit, by two processes at once, after a remount with empty caches, equals what was written.
func TestEveryCommitAfterRemount(t *testing.T) {
	r := mounttest.Mounted(t)
	src := t.TempDir()
	var ids []string
	for i, real := range realFiles(t) {
		b, err := os.ReadFile(real)
		must(t, err)
		for _, dir := range []string{src, r.Live()} {
			must(t, os.WriteFile(filepath.Join(dir, "model"+filepath.Ext(real)), append(b, byte(i)), 0o644))
		}
		if i%4 == 0 {
			id := r.Snapshot(filepath.Base(real))
			mounttest.Exec(t, "cp", "-a", src, src+"-"+id)
			ids = append(ids, id)
		}
	}
	r.Coral("cache", "drop")
	r.Unmount()
	r.Mount()
	const sums = "cd %s && find . -type f | sort | xargs sha256sum"
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for _, id := range ids {
				want, err := exec.Command("sh", "-c", fmt.Sprintf(sums, src+"-"+id)).Output()
				if err != nil {
					t.Error(err)
				}
				got, err := exec.Command("sh", "-c", fmt.Sprintf(sums, r.Commit(id))).Output()
				if err != nil || string(got) != string(want) {
					t.Errorf("commit %s: %v\n%s\nwant\n%s", id, err, got, want)
				}
			}
		})
	}
	wg.Wait()
	if len(ids) < 3 {
		t.Fatalf("only %d commits", len(ids))
	}
}
