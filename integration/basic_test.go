package integration

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// noise returns n reproducible random bytes.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestFirstUse is the README's story: init, mount, copy in, snapshot, read back, remount, read again.
func TestFirstUse(t *testing.T) {
	r := mounttest.Mounted(t)
	one, two := noise(1, 300_000), noise(2, 5000)
	r.Write("run/model.bin", one)
	r.Write("run/config.json", []byte(`{"a":1}`))
	first := r.Snapshot("first", "--metric", "loss=0.5")
	r.Write("run/model.bin", two)
	r.Want(r.Commit(first, "run/model.bin"), one)
	second := r.Snapshot("second")
	if first == second {
		t.Fatal("two snapshots of different trees have one id")
	}
	check := func() {
		t.Helper()
		r.Want(r.Live("run/model.bin"), two)
		r.Want(r.Commit(first, "run/model.bin"), one)
		r.Want(r.Commit(first[:12], "run/config.json"), []byte(`{"a":1}`))
		r.Want(r.Commit(second[:6], "run/model.bin"), two)
		r.Want(r.Commit("main~1", "run/model.bin"), one)
		r.Want(filepath.Join(r.Mnt, "HEAD", "run/model.bin"), two)
	}
	check()
	r.Unmount()
	r.Mount()
	check()
	names, err := os.ReadDir(filepath.Join(r.Mnt, "commits"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 {
		t.Fatalf("commits/ lists %v", names)
	}
	if got := r.Coral("log", "--oneline"); !strings.Contains(got, second[:12]) || strings.Index(got, second[:12]) > strings.Index(got, first[:12]) {
		t.Fatalf("log --oneline: %q", got)
	}
	r.Coral("fsck", "--full")
}

func TestCommitsAreReadOnly(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", []byte("x"))
	id := r.Snapshot("one")
	r.Coral("tag", "v1")
	for _, dir := range []string{r.Commit(id), filepath.Join(r.Mnt, "tags", "v1")} {
		for what, err := range map[string]error{
			"write":  os.WriteFile(filepath.Join(dir, "a"), []byte("y"), 0o644),
			"create": os.WriteFile(filepath.Join(dir, "b"), []byte("y"), 0o644),
			"remove": os.Remove(filepath.Join(dir, "a")),
			"mkdir":  os.Mkdir(filepath.Join(dir, "d"), 0o755),
			"rename": os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")),
			"chmod":  os.Chmod(filepath.Join(dir, "a"), 0o600),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s in %s: %v, want EROFS", what, dir, err)
			}
		}
		r.Want(filepath.Join(dir, "a"), []byte("x"))
	}
}

func TestTopLevel(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", []byte("x"))
	id := r.Snapshot("one")
	ents, err := os.ReadDir(r.Mnt)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range ents {
		names = append(names, e.Name())
	}
	if want := []string{"HEAD", "branches", "commits", "history", "tags", "views"}; !slices.Equal(names, want) {
		t.Fatalf("top level lists %v, want %v (.coral hidden)", names, want)
	}
	if to, err := os.Readlink(filepath.Join(r.Mnt, "HEAD")); err != nil || to != "branches/main" {
		t.Fatalf("HEAD -> %q, %v", to, err)
	}
	for _, f := range []string{"control", "last", "status", "log"} {
		if _, err := os.Stat(filepath.Join(r.Mnt, ".coral", f)); err != nil {
			t.Error(err)
		}
	}
	// branches, tags by ordinary commands
	if err := os.Mkdir(filepath.Join(r.Mnt, "branches", "exp"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Want(filepath.Join(r.Mnt, "branches/exp/a"), []byte("x"))
	if err := os.Symlink("../commits/"+id, filepath.Join(r.Mnt, "tags", "v2")); err != nil {
		t.Fatal(err)
	}
	r.Want(filepath.Join(r.Mnt, "tags/v2/a"), []byte("x"))
	if got := r.Coral("tag"); !strings.Contains(got, "v2") {
		t.Fatalf("coral tag: %q", got)
	}
	if err := os.WriteFile(filepath.Join(r.Mnt, "branches/exp/b"), []byte("dirty"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.Mnt, "branches/exp")); err == nil {
		t.Fatal("rmdir of a dirty branch succeeded")
	}
	if err := os.Remove(filepath.Join(r.Mnt, "branches/exp/b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.Mnt, "branches/exp")); err != nil {
		t.Fatalf("rmdir of a clean branch: %v", err)
	}
	if got := r.Coral("branch"); strings.Contains(got, "exp") {
		t.Fatalf("coral branch after rmdir: %q", got)
	}
}

func TestHistory(t *testing.T) {
	r := mounttest.Mounted(t)
	var want [][]byte
	for i := range 4 {
		r.Write("dir/f", noise(uint64(i), 1000+i))
		r.Write("other", []byte{byte(i)})
		want = append([][]byte{noise(uint64(i), 1000+i)}, want...)
		r.Snapshot("s")
		r.Write("unrelated", []byte{byte(i)})
		r.Snapshot("unrelated")
	}
	dir := filepath.Join(r.Mnt, "history/main/dir/f")
	ents, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(ents) != len(want) {
		t.Fatalf("history lists %v, want %d versions", ents, len(want))
	}
	for i, e := range ents {
		r.Want(filepath.Join(dir, e.Name()), want[i])
	}
}

func TestXattrs(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", noise(3, 100_000))
	id := r.Snapshot("message of the commit")
	get := func(path, name string) string {
		t.Helper()
		b := make([]byte, 65536)
		n, err := syscall.Getxattr(path, name, b)
		if err != nil {
			t.Fatalf("getxattr %s %s: %v", path, name, err)
		}
		return string(b[:n])
	}
	f := r.Commit(id, "a")
	if got := get(f, "user.coral.id"); len(got) != 64 {
		t.Errorf("user.coral.id = %q", got)
	}
	if got := get(f, "user.coral.format"); got != "opaque" {
		t.Errorf("user.coral.format = %q", got)
	}
	if got := get(f, "user.coral.stored"); got == "" || got == "0" {
		t.Errorf("user.coral.stored = %q", got)
	}
	if got := get(r.Commit(id), "user.coral.commit"); got != id {
		t.Errorf("user.coral.commit = %q", got)
	}
	if got := get(r.Live(), "user.coral.message"); got != "message of the commit" {
		t.Errorf("user.coral.message = %q", got)
	}
	if err := syscall.Setxattr(r.Live("a"), "user.mine", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	r.Unmount()
	r.Mount()
	if got := get(r.Live("a"), "user.mine"); got != "v" {
		t.Errorf("user.mine after a remount = %q", got)
	}
}

// TestStatus follows git's idea of dirty.
func TestStatus(t *testing.T) {
	r := mounttest.Mounted(t)
	type change struct{ Path, Kind string }
	dirty := func() []change {
		t.Helper()
		var s struct{ Dirty []change }
		r.JSON(&s, "status")
		return s.Dirty
	}
	r.Write("keep", []byte("1"))
	r.Write("edit", []byte("1"))
	r.Write("drop", []byte("1"))
	r.Write("mode", []byte("1"))
	r.Snapshot("base")
	if d := dirty(); len(d) != 0 {
		t.Fatalf("dirty after a snapshot: %v", d)
	}
	r.Write("new", []byte("1"))
	r.Write("edit", []byte("2"))
	if err := os.Remove(r.Live("drop")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.Live("mode"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []change{{"drop", "deleted"}, {"edit", "modified"}, {"mode", "mode"}, {"new", "added"}}
	check := func() {
		t.Helper()
		got := dirty()
		slices.SortFunc(got, func(a, b change) int { return strings.Compare(a.Path, b.Path) })
		if !slices.Equal(got, want) {
			t.Fatalf("dirty = %v, want %v", got, want)
		}
	}
	check()
	r.Unmount()
	check() // without a daemon
	r.Mount()
	check()
	r.Snapshot("all")
	if d := dirty(); len(d) != 0 {
		t.Fatalf("dirty after the second snapshot: %v", d)
	}
}

// TestAddExportCat works without a mount.
func TestAddExportCat(t *testing.T) {
	r := mounttest.New(t)
	src := t.TempDir()
	data := noise(9, 2_000_000)
	if err := os.WriteFile(filepath.Join(src, "m.bin"), data, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(src, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "sub", "x"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/x", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	r.Coral("add", src, "--to", "all")
	id := r.Snapshot("added")
	dst := filepath.Join(t.TempDir(), "out")
	r.Coral("export", id, dst)
	in := filepath.Join("all", filepath.Base(src)) // as cp -r SRC all/ would
	mounttest.Exec(t, "diff", "-r", src, filepath.Join(dst, in))
	st, err := os.Stat(filepath.Join(dst, in, "m.bin"))
	if err != nil {
		t.Fatal(err)
	}
	orig, err := os.Stat(filepath.Join(src, "m.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != orig.Mode() || !st.ModTime().Equal(orig.ModTime()) {
		t.Errorf("export: mode %v mtime %v, want %v %v", st.Mode(), st.ModTime(), orig.Mode(), orig.ModTime())
	}
	if got := r.Coral("cat", id+":"+in+"/m.bin"); !bytes.Equal([]byte(got), data) {
		t.Error("coral cat REV:path differs")
	}
	r.Mount()
	r.Want(r.Commit(id, in, "m.bin"), data)
	r.Want(r.Live(in, "m.bin"), data)
}

// TestStats checks the promised fields against what was put in.
func TestStats(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", noise(1, 1_000_000))
	r.Snapshot("1")
	r.Write("b", noise(1, 1_000_000)) // the same bytes again
	r.Snapshot("2")
	var s map[string]any
	r.JSON(&s, "stats")
	for _, k := range []string{"logical_bytes", "unique_bytes", "stored_bytes", "saved_ratio", "commits", "blobs", "deltas", "max_chain_depth"} {
		if _, ok := s[k].(float64); !ok {
			t.Errorf("stats: %s is %v", k, s[k])
		}
	}
	if got := s["logical_bytes"]; got != 3e6 {
		t.Errorf("logical_bytes = %v, want 3e6", got)
	}
	if got := s["unique_bytes"]; got != 1e6 {
		t.Errorf("unique_bytes = %v, want 1e6: the second copy is stored again", got)
	}
	if got := s["commits"]; got != 2.0 {
		t.Errorf("commits = %v", got)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	r := mounttest.New(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"show", "nosuchrev"}, 1, "nosuchrev"},
		{[]string{"export", "HEAD"}, 2, ""},
		{[]string{"snapshot", "--nosuchflag"}, 2, "nosuchflag"},
		{[]string{"nosuchcommand"}, 2, "nosuchcommand"},
		{[]string{"init", r.Dir}, 1, r.Dir},
		{[]string{"checkout", "nosuchbranch"}, 1, "nosuchbranch"},
		{[]string{"cat", "zzzz"}, 1, "zzzz"},
		{[]string{"mount", "/proc/nowhere"}, 1, "/proc/nowhere"},
	} {
		_, errOut, code := r.Try(c.args...)
		if code != c.code {
			t.Errorf("coral %v: exit %d, want %d (%s)", c.args, code, c.code, errOut)
		}
		if !strings.HasPrefix(errOut, "coral: ") || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("coral %v: %q is not one line that begins with coral: and names %q", c.args, errOut, c.want)
		}
	}
}
