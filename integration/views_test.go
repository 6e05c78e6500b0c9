package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// viewOf returns a path below views/safetensors/.
func viewOf(r *mounttest.Repo, parts ...string) string {
	return filepath.Join(append([]string{r.Mnt, "views", "safetensors"}, parts...)...)
}

// TestViews: safetensors, torch and transformers read in the views what torch and numpy read in the files, from a branch, a commit and a tag, with caches
// cold, after kill -9, and in a read-only mount.
func TestViews(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "views.py")
	r := mounttest.Mounted(t)
	mounttest.Exec(t, py, script, "save", r.Live("run"))
	id := r.Snapshot("views")
	r.Coral("tag", "v1")
	r.Coral("cache", "drop")
	mounttest.Exec(t, py, script, "check", r.Live("run"), viewOf(r, "branches", "main", "run"))
	mounttest.Exec(t, py, script, "check", r.Commit(id, "run"), viewOf(r, "commits", id[:12], "run"))

	r.Kill9(r.PID())
	r.Mount("--ro")
	mounttest.Exec(t, py, script, "check", r.Commit(id, "run"), viewOf(r, "tags", "v1", "run"))
}

// TestViewsWalk: programs that walk a tree come to the end of the views of several commits. (That they decode nothing, fs.TestViewsDecodeNothing proves.)
func TestViewsWalk(t *testing.T) {
	py := mounttest.Python(t)
	r := mounttest.Mounted(t)
	mounttest.Exec(t, py, filepath.Join(mounttest.Root(), "integration", "python", "views.py"), "save", r.Live("run"))
	for range 3 {
		r.Snapshot("again", "--allow-empty")
	}
	out := mounttest.Exec(t, "find", viewOf(r), "-type", "f", "-name", "*.safetensors", "-size", "+0")
	if n, want := strings.Count(out, "\n"), 4*12; n != want { // a branch and three commits
		t.Errorf("find sees %d files, want %d:\n%s", n, want, out)
	}
	mounttest.Exec(t, "ls", "-lR", viewOf(r))
}
