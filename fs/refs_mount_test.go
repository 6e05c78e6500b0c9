package fs

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"coral/internal/oid"
)

func TestBranchesAndTags(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("dir/a"), []byte("one"))
	id := m.snapshot("one")

	if err := os.Mkdir(m.path("branches", "exp"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, m.path("branches", "exp", "dir", "a"), []byte("one"))
	wantErrno(t, "mkdir of a branch that exists", os.Mkdir(m.path("branches", "exp"), 0o755), syscall.EEXIST)
	if err := os.Mkdir(m.path("branches", "bad..name"), 0o755); err == nil {
		t.Error("a name that no branch can have was taken")
	}
	write(t, m.path("branches", "exp", "dir", "a"), []byte("two"))
	wantBytes(t, m.main("dir", "a"), []byte("one"))
	wantErrno(t, "rmdir of a dirty branch", syscall.Rmdir(m.path("branches", "exp")), syscall.ENOTEMPTY)
	wantErrno(t, "rename across branches", os.Rename(m.main("dir", "a"), m.path("branches", "exp", "b")), syscall.EXDEV)
	wantErrno(t, "link across branches", os.Link(m.main("dir", "a"), m.path("branches", "exp", "b")), syscall.EXDEV)
	wantErrno(t, "rmdir of HEAD's branch", syscall.Rmdir(m.main()), syscall.EBUSY)
	write(t, m.path("branches", "exp", "dir", "a"), []byte("one"))
	m.run("snapshot exp back", nil)
	if err := syscall.Rmdir(m.path("branches", "exp")); err != nil {
		t.Errorf("rmdir of a clean branch: %v", err)
	}
	if got := m.ls("branches"); !slices.Equal(got, []string{"main"}) {
		t.Errorf("branches lists %q", got)
	}

	m.run("branch deep/er/x", nil)
	wantBytes(t, m.path("branches", "deep", "er", "x", "dir", "a"), []byte("one"))
	if got := m.ls("branches", "deep"); !slices.Equal(got, []string{"er"}) {
		t.Errorf("branches/deep lists %q", got)
	}
	if err := os.Mkdir(m.path("branches", "deep", "y"), 0o755); err != nil {
		t.Error(err)
	}
	wantBytes(t, m.path("branches", "deep", "y", "dir", "a"), []byte("one"))
	wantErrno(t, "rmdir of a directory of branches", syscall.Rmdir(m.path("branches", "deep")), syscall.ENOTEMPTY)
	m.run("unbranch deep/er/x", nil)
	eventually(t, "the kernel forgets a deleted branch", func() bool {
		_, err := os.Stat(m.path("branches", "deep", "er"))
		return os.IsNotExist(err)
	})

	if err := os.Symlink("../commits/"+id.Short(), m.path("tags", "v1")); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, m.path("tags", "v1", "dir", "a"), []byte("one"))
	wantBytes(t, m.path("commits", "v1", "dir", "a"), []byte("one"))
	if st, err := os.Lstat(m.path("tags", "v1")); err != nil || !st.IsDir() {
		t.Errorf("a tag is no directory: %v", err)
	}
	wantErrno(t, "the same tag again", os.Symlink("../commits/"+id.Short(), m.path("tags", "v1")), syscall.EEXIST)
	wantErrno(t, "a tag of nothing", os.Symlink("../commits/ffffffffffff", m.path("tags", "v2")), syscall.ENOENT)
	wantErrno(t, "a tag of a file", os.Symlink("../commits/"+id.Short()+"/dir/a", m.path("tags", "v2")), syscall.EINVAL)
	if err := os.Symlink("../branches/deep/y", m.path("tags", "v3")); err != nil {
		t.Error(err)
	}
	if got := m.ls("tags"); !slices.Equal(got, []string{"v1", "v3"}) {
		t.Errorf("tags lists %q", got)
	}
	if err := syscall.Rmdir(m.path("tags", "v1")); err != nil {
		t.Error(err)
	}
	m.run("untag v3", nil)
	eventually(t, "the kernel forgets a deleted tag", func() bool {
		_, err := os.Stat(m.path("tags", "v3"))
		return os.IsNotExist(err)
	})
	if got := m.ls("tags"); len(got) != 0 {
		t.Errorf("tags lists %q", got)
	}
	m.run("head deep/y", nil)
	if target, err := os.Readlink(m.path("HEAD")); err != nil || target != "branches/deep/y" {
		t.Errorf("HEAD -> %q, %v", target, err)
	}
}

// eventually waits for a condition that a notification brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not after a minute: %s", what)
			return
		}
	}
}

func TestHistory(t *testing.T) {
	m := mount(t, daemonConfig{})
	var ids []oid.ID
	for i, state := range []string{"one", "two", "", "two", "three"} {
		write(t, m.main("other"), fmt.Append(nil, i))
		if state == "" {
			if err := os.Remove(m.main("dir", "f")); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, m.main("dir", "f"), []byte(state))
		}
		ids = append(ids, m.snapshot(fmt.Sprint(i)))
	}
	want := []string{"0001-" + ids[4].Short(), "0002-" + ids[3].Short(), "0003-" + ids[1].Short(), "0004-" + ids[0].Short()}
	if got := m.ls("history", "main", "dir", "f"); !slices.Equal(got, want) {
		t.Errorf("versions %q, want %q", got, want)
	}
	for i, text := range []string{"three", "two", "two", "one"} {
		wantBytes(t, m.path("history", "main", "dir", "f", want[i]), []byte(text))
	}
	if got := m.ls("history", "main"); !slices.Equal(got, []string{"dir", "other"}) {
		t.Errorf("history/main lists %q", got)
	}
	if got := m.ls("history", "main", "other"); len(got) != 5 {
		t.Errorf("other has versions %q", got)
	}
	_, err := os.Stat(m.path("history", "main", "nothing"))
	wantErrno(t, "history of nothing", err, syscall.ENOENT)
	wantErrno(t, "rm of a version", os.Remove(m.path("history", "main", "dir", "f", want[0])), syscall.EROFS)

	// A directory where a file was, and a new head.
	if err := os.RemoveAll(m.main("dir", "f")); err != nil {
		t.Fatal(err)
	}
	write(t, m.main("dir", "f", "inner"), []byte("inner"))
	id := m.snapshot("directory")
	if got := m.ls("history", "main", "dir", "f"); !slices.Equal(got, append(slices.Clone(want), "inner")) {
		t.Errorf("versions %q and inner are expected, got %q", want, got)
	}
	wantBytes(t, m.path("history", "main", "dir", "f", "inner", "0001-"+id.Short()), []byte("inner"))

	if got := m.ls("commits"); len(got) != 6 || got[0] != id.Short() || got[5] != ids[0].Short() {
		t.Errorf("commits lists %q", got)
	}
	wantBytes(t, m.path("commits", "main~2", "dir", "f"), []byte("two"))
}

// TestLiveChanged: what is changed behind the mount's back is seen through it at once, whatever the kernel remembers.
func TestLiveChanged(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("a"), []byte("a"))
	write(t, m.main("b"), []byte("b"))
	for range 20 {
		wantBytes(t, m.main("a"), []byte("a"))
		was, err := os.Open(m.main("a"))
		if err != nil {
			t.Fatal(err)
		}
		m.run("rename b a", nil)
		wantBytes(t, m.main("a"), []byte("b"))
		if _, err := os.Stat(m.main("b")); !os.IsNotExist(err) {
			t.Errorf("the old name: %v", err)
		}
		if st, err := was.Stat(); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 0 {
			t.Errorf("what was replaced has a name still: %v, %v", st, err)
		}
		was.Close()
		if err := os.Rename(m.main("a"), m.main("b")); err != nil {
			t.Fatal(err)
		}
		write(t, m.main("a"), []byte("a"))
	}
}
