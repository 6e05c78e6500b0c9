package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

func (w *movesWorld) is(path, want string) bool {
	b, err := os.ReadFile(w.r.Live(path))
	return want == "" && os.IsNotExist(err) || err == nil && string(b) == want
}

type movesWorld struct{ r *mounttest.Repo }

// want compares files of the live tree, by path; "" is none.
func (w *movesWorld) want(what string, files map[string]string) {
	w.r.T.Helper()
	for path, text := range files {
		if !w.is(path, text) { // at once: the kernel may keep names and sizes for a minute if it is not told
			w.r.T.Fatalf("%s: %s is not as the command left it", what, path)
		}
	}
}

// TestMovesMounted: every command that moves a live tree shows in the mount, and open files neither break nor are overrun.
func TestMovesMounted(t *testing.T) {
	r := mounttest.Mounted(t)
	w := &movesWorld{r}
	r.Write("d/a", []byte("one"))
	r.Write("gone/x", []byte("one"))
	one := r.Snapshot("one")
	r.Write("d/a", []byte("two"))
	if err := os.RemoveAll(r.Live("gone")); err != nil {
		t.Fatal(err)
	}
	r.Write("new/y", []byte("two"))
	two := r.Snapshot("two")
	atOne := map[string]string{"d/a": "one", "gone/x": "one", "new/y": ""}
	atTwo := map[string]string{"d/a": "two", "gone/x": "", "new/y": "two"}
	w.want("before", atTwo)

	reader, err := os.Open(r.Live("d/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	r.Coral("reset", "--hard", one)
	w.want("reset", atOne)
	b := make([]byte, 10)
	if n, err := reader.ReadAt(b, 0); n != 3 || string(b[:n]) != "two" {
		t.Errorf("a file that was open reads %q, %v", b[:n], err)
	}
	r.Coral("undo")
	w.want("undo", atTwo)
	r.Coral("undo", "--redo")
	w.want("redo", atOne)
	r.Coral("checkout", two, "--", "d")
	w.want("checkout of a path", map[string]string{"d/a": "two", "gone/x": "one", "new/y": ""})
	if _, errOut, code := r.Try("reset", "--hard"); code != 3 || !strings.Contains(errOut, "d/a") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("reset over a change: exit %d, %q", code, errOut)
	}
	r.Coral("reset", "--hard", "--force")
	w.want("forced reset", atOne)
	r.Coral("reset", "--hard", two)
	r.Coral("revert", "HEAD")
	w.want("revert", atOne)
	r.Coral("cherry-pick", two)
	w.want("cherry-pick", atTwo)

	writer, err := os.OpenFile(r.Live("d/a"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	head := r.Coral("log", "-n", "1", "--json")
	for _, args := range [][]string{{"reset", "--hard", one}, {"reset", "--hard", "--force", one}, {"revert", "HEAD"}, {"restore", "-s", one, "gone"}} {
		if _, errOut, code := r.Try(args...); code != 1 || !strings.Contains(errOut, "open for writing") {
			t.Errorf("%v with a file open for writing: exit %d, %q", args, code, errOut)
		}
	}
	if now := r.Coral("log", "-n", "1", "--json"); now != head {
		t.Errorf("refused commands moved the branch: %s", now)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Mnt, ".coral", "control"), []byte("reset --hard "+one), 0); err != nil {
		t.Fatal(err)
	}
	w.want("reset by the control file", atOne)
	pid := r.PID()
	r.Kill9(pid)
	r.Mount()
	w.want("after the daemon was killed", atOne)
	r.Coral("undo")
	w.want("undo after that", atTwo)
	r.Coral("fsck", "--full")
}

// TestMovesUnmounted goes through the same without a daemon: each command is a process of its own.
func TestMovesUnmounted(t *testing.T) {
	r := mounttest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	commit := func(text string) string {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r.Coral("add", file)
		return r.Snapshot(text)
	}
	one, two := commit("one"), commit("two")
	is := func(want string) {
		t.Helper()
		if got := r.Coral("cat", ":f"); got != want {
			t.Fatalf("f is %q, want %q", got, want)
		}
	}
	r.Coral("reset", "--hard", one)
	is("one")
	if err := os.WriteFile(file, []byte("dirty"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Coral("add", file)
	if _, _, code := r.Try("undo"); code != 3 {
		t.Errorf("undo over a change: exit %d", code)
	}
	r.Coral("undo", "--force")
	is("two")
	var moves []struct{ New, Why string }
	r.JSON(&moves, "reflog", "main")
	kept := ""
	for _, m := range moves {
		if strings.Contains(m.Why, "kept: ") && m.New != two && m.New != one {
			kept = m.New
		}
	}
	r.Coral("gc")
	if got := r.Coral("cat", kept+":f"); got != "dirty" {
		t.Errorf("what was kept is %q", got)
	}
	r.Coral("branch", "x")
	r.Coral("branch", "-d", "x")
	r.Coral("undo")
	if out := r.Coral("branch"); !strings.Contains(out, "  x ") {
		t.Errorf("the deleted branch did not come back:\n%s", out)
	}
	r.Coral("fsck", "--full")
}
