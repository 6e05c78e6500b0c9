package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// TestImportKilled kills an import again and again, and wants the history that one which nobody killed makes: each checkpoint once, in order, byte-exact.
func TestImportKilled(t *testing.T) {
	r := mounttest.New(t)
	run := t.TempDir()
	const n = 6
	for i := range n {
		dir := filepath.Join(run, fmt.Sprintf("checkpoint-%d", (i+1)*50))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.bin"), noise(uint64(i), 4<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("only-%d", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 8 {
		cmd := exec.Command(mounttest.Bin, "-R", r.Dir, "import", run)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+15*k) * time.Millisecond) // the moment is not what is tested
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	r.Coral("import", run)
	var log []struct{ Commit, Message string }
	r.JSON(&log, "log")
	if len(log) != n {
		t.Fatalf("%d commits, want %d: %v", len(log), n, log)
	}
	for i := range n {
		c := log[n-1-i]
		if want := fmt.Sprintf("checkpoint-%d", (i+1)*50); c.Message != want {
			t.Errorf("commit %d is %q, want %q", i, c.Message, want)
		}
		if got := r.Coral("cat", c.Commit+":model.bin"); !bytes.Equal([]byte(got), noise(uint64(i), 4<<20)) {
			t.Errorf("%s: model.bin differs", c.Message)
		}
		if got := strings.Fields(r.Coral("ls", c.Commit+":")); got[len(got)-1] != fmt.Sprintf("only-%d", i) || strings.Count(strings.Join(got, " "), "only-") != 1 {
			t.Errorf("%s has %q", c.Message, got)
		}
	}
	r.Mount()
	if out := r.Coral("import", run); !strings.Contains(out, fmt.Sprintf("%d imported before", n)) {
		t.Errorf("import again: %s", out)
	}
	if _, errOut, code := r.Try("import", r.Mnt); code != 1 || !strings.Contains(errOut, "inside the mount") {
		t.Errorf("import of a mount: exit %d, %s", code, errOut)
	}
	r.Coral("fsck", "--full")
}
