package worktree

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"coral/internal/oid"
)

// spareFiles returns the names of spares on the disk.
func (e *env) spareFiles() []string {
	names, err := filepath.Glob(filepath.Join(e.set.spool.dir, sparePrefix+"*"))
	e.ok(err)
	return names
}

// newSpareEnv is newEnv without ingest, which makes spares too.
func newSpareEnv(t *testing.T) *env {
	e := newEnv(t)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	return e
}

// unlinkSynced removes a file and what is superfluous then.
func (e *env) unlinkSynced(path string) {
	dir, name := e.parent(path)
	e.ok(e.tree.Unlink(bg, dir, name))
	e.ok(e.tree.SyncTree(bg))
}

func TestSpareIsReused(t *testing.T) {
	e := newSpareEnv(t)
	e.write("a", big(10_000, 1))
	old := e.attr("a").Mtime
	e.unlinkSynced("a")
	if n := len(e.spareFiles()); n != 1 {
		t.Fatalf("%d spares after a file was removed, want 1", n)
	}
	var st syscall.Stat_t
	e.ok(syscall.Stat(e.spareFiles()[0], &st))
	if st.Size != 0 || st.Blocks != 0 {
		t.Errorf("a spare has %d bytes in %d blocks", st.Size, st.Blocks)
	}
	ino := st.Ino
	e.write("b", "")
	if n := len(e.spareFiles()); n != 0 {
		t.Errorf("%d spares after a file was made, want 0", n)
	}
	n := e.tree.inodes[e.ino("b")]
	e.ok(syscall.Stat(e.set.spool.path(n.x.spool), &st))
	if st.Ino != ino {
		t.Error("the spare was not used")
	}
	a := e.attr("b")
	if a.Size != 0 || a.Blocks != 0 || a.Mtime.Before(old) || time.Since(a.Mtime) > time.Minute || !a.Mtime.Equal(a.Ctime) {
		t.Errorf("what was made of a spare: %+v", a)
	}
	e.write("b", "content")
	e.reopen()
	if got := e.read("b"); got != "content" {
		t.Errorf("b after a restart: %q", got)
	}
}

// TestSpareOfOthers: a file that somebody has open goes on being theirs, as does its content.
func TestSpareOfOthers(t *testing.T) {
	e := newSpareEnv(t)
	e.write("a", "theirs")
	f, err := os.Open(e.set.spool.path(e.tree.inodes[e.ino("a")].x.spool)) // as by the passthrough descriptor of a detached mount
	e.ok(err)
	defer f.Close()
	e.unlinkSynced("a")
	if s := e.spareFiles(); len(s) != 0 {
		t.Errorf("an open file became a spare: %v", s)
	}
	b := make([]byte, 10)
	if n, _ := f.Read(b); string(b[:n]) != "theirs" {
		t.Errorf("its reader has %q", b[:n])
	}
}

// TestSparesGo: neither a closed set nor a killed one leaves spares behind; a spare's name that has content is not one.
func TestSparesGo(t *testing.T) {
	e := newSpareEnv(t)
	e.write("a", "a")
	e.unlinkSynced("a")
	dir := e.set.spool.dir
	e.close()
	if names, _ := filepath.Glob(filepath.Join(dir, sparePrefix+"*")); len(names) != 0 {
		t.Errorf("after close: %v", names)
	}
	killed, kept := filepath.Join(dir, spareName(77)), filepath.Join(dir, spareName(78))
	e.ok(os.WriteFile(killed, nil, 0o600))
	e.ok(os.WriteFile(kept, []byte("x"), 0o600))
	e.open(oid.ID{})
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("a spare of a killed process: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}
