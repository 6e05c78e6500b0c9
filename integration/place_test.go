package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// TestPathsWhereOneStands: in a mount, the paths of restore, checkout and log are those of the working directory.
func TestPathsWhereOneStands(t *testing.T) {
	r := mounttest.Mounted(t)
	w := &movesWorld{r}
	r.Write("f", []byte("root 1"))
	r.Write("sub/f", []byte("sub 1"))
	r.Snapshot("one")
	r.Write("sub/f", []byte("sub 2"))
	r.Snapshot("of sub")
	r.Write("f", []byte("root 2"))
	r.Snapshot("of root")
	r.Coral("branch", "side")
	run := func(dir string, args ...string) (string, error) {
		cmd := exec.Command(mounttest.Bin, append([]string{"-R", r.Dir}, args...)...)
		cmd.Dir = filepath.Join(r.Mnt, dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	is := func(what, root, sub string) {
		t.Helper()
		w.want(what, map[string]string{"f": root, "sub/f": sub})
	}
	for _, step := range []struct {
		dir       string
		args      string
		root, sub string
	}{
		{"branches/main/sub", "restore -s HEAD~2 f", "root 2", "sub 1"},
		{"branches/main/sub", "restore -f ../f -s HEAD~2", "root 1", "sub 1"},
		{"branches/main/sub", "checkout -f HEAD -- /f", "root 2", "sub 1"},
		{"branches/main/sub", "restore -f .", "root 2", "sub 2"},
		{"branches/main", "checkout HEAD~2 -- sub/f", "root 2", "sub 1"},
		{"branches/side", "restore -f -b main sub/f", "root 2", "sub 2"},
		{".", "restore -s HEAD~2 sub", "root 2", "sub 1"},
		{"branches/main/sub", "restore -f " + filepath.Join(r.Mnt, "branches/main/sub/f"), "root 2", "sub 2"},
	} {
		if out, err := run(step.dir, strings.Fields(step.args)...); err != nil {
			t.Fatalf("%s in %s: %v: %s", step.args, step.dir, err, out)
		}
		is(step.args+" in "+step.dir, step.root, step.sub)
	}
	for _, step := range [][2]string{
		{"branches/side/sub", "restore -f -s HEAD~2 f"}, // whose? main is the current branch
		{"branches/main/sub", "restore -f -s HEAD~2 ../../f"},
		{"branches/main/sub", "restore -s HEAD~2 nothing"},
	} {
		if out, err := run(step[0], strings.Fields(step[1])...); err == nil || strings.Count(out, "\n") != 1 {
			t.Errorf("%s in %s: %v: %s", step[1], step[0], err, out)
		}
		is(step[1]+" in "+step[0], "root 2", "sub 2")
	}
	for _, dir := range []string{"branches/main/sub", "branches/side/sub", "commits/HEAD/sub"} {
		if out, err := run(dir, "log", "--oneline", "HEAD", "--", "f"); err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, "of sub") {
			t.Errorf("log -- f in %s: %v: %s", dir, err, out)
		}
	}
}
