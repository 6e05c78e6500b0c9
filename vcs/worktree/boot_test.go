package worktree

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/oid"
)

// otherBoot makes the spool look as if the machine had been booted since.
func (e *env) otherBoot(t *testing.T) {
	t.Helper()
	path := filepath.Join(e.dir, "spool", bootName)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no boot marker: %v", err)
	}
	if err := os.WriteFile(path, []byte("00000000-0000-0000-0000-000000000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutTearsCopies: after a reboot, clean spool copies are not trusted, whatever they look like: nobody synced them.
func TestPowerCutTearsCopies(t *testing.T) {
	for name, tear := range map[string]func(path string) error{
		"whole":     func(string) error { return nil },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"gone":      os.Remove,
		"same-stat": zeroed,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			want := big(100_000, 1)
			e.write("f", want)
			e.write("dirty", "written and not ingested")
			e.drain()
			e.wantState("f", "B")
			h, err := e.tree.Open(bg, e.ino("dirty"), os.O_RDWR)
			e.ok(err)
			_, err = h.WriteAt(bg, []byte("W"), 0)
			e.ok(err)
			path := e.set.spool.path(e.tree.inodes[e.ino("f")].spoolID())
			e.ok(h.Close())
			e.close()
			e.ok(tear(path))
			e.otherBoot(t)
			e.open(oid.ID{})
			e.wantState("f", "A")
			if got := e.read("f"); got != want {
				t.Errorf("%d bytes, not what was ingested", len(got))
			}
			if got := e.read("dirty"); got != "Written and not ingested" {
				t.Errorf("the dirty file: %q", got)
			}
			if st := e.set.Spool(); len(st.LostFound) > 0 && name != "same-stat" {
				t.Errorf("lost and found: %q", st.LostFound)
			}
			e.reopen() // in the same boot: the next start must not trust it either
			if got := e.read("f"); got != want {
				t.Errorf("after another start: %d bytes, not what was ingested", len(got))
			}
			if st := e.set.Spool(); len(st.LostFound) != map[bool]int{true: 1}[name == "same-stat"] {
				t.Errorf("lost and found after another start: %q", st.LostFound)
			}
			e.write("f", "new")
			e.reopen()
			if got := e.read("f"); got != "new" {
				t.Errorf("%q", got)
			}
		})
	}
}

// zeroed makes a file zeros of the same size and mtime. (Nobody can set a ctime: the copy is seen to differ, and is listed.)
func zeroed(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if err := os.WriteFile(path, make([]byte, st.Size), 0o600); err != nil {
		return err
	}
	at := time.Unix(0, st.Mtim.Nano())
	return os.Chtimes(path, at, at)
}

// TestSameBootTrusts: a copy that was written to after the daemon's death, by a program that still had it open, is the newer content.
func TestSameBootTrusts(t *testing.T) {
	e := newEnv(t)
	e.write("f", big(100_000, 1))
	e.drain()
	path := e.set.spool.path(e.tree.inodes[e.ino("f")].spoolID())
	e.close()
	e.ok(os.WriteFile(path, []byte("newer"), 0o600))
	e.open(oid.ID{})
	if got := e.read("f"); got != "newer" {
		t.Errorf("%q", got)
	}
}

// TestCtimeStays: the ctime of an ingested file does not go back at a restart.
func TestCtimeStays(t *testing.T) {
	e := newEnv(t)
	h := e.create("f")
	before := e.attr("f").Ctime
	for !e.attr("f").Ctime.After(before) { // until the file system's clock, a few milliseconds coarse, has moved on
		_, err := h.WriteAt(bg, []byte(big(20_000, 2)), 0)
		e.ok(err)
	}
	e.ok(h.Close())
	e.drain()
	want := e.attr("f").Ctime
	e.reopen()
	if got := e.attr("f").Ctime; !got.Equal(want) {
		t.Errorf("ctime %v became %v", want, got)
	}
}

// TestOutlivedWriter: a copy that was written to behind the daemon's back is not dropped as superfluous.
func TestOutlivedWriter(t *testing.T) {
	for _, how := range []string{"drop", "close"} {
		e := newEnv(t)
		e.opts.TinyDelay = time.Hour
		e.reopen()
		e.write("f", "small")
		e.drain()
		e.wantState("f", "B")
		f, err := os.OpenFile(e.set.spool.path(e.tree.inodes[e.ino("f")].spoolID()), os.O_WRONLY|os.O_APPEND, 0)
		e.ok(err)
		_, err = f.WriteString(", and more")
		e.ok(err)
		e.ok(f.Close())
		if how == "drop" {
			_, err = e.set.DropSpool(bg)
			e.ok(err)
			e.drain()
		}
		e.reopen()
		if got := e.read("f"); got != "small, and more" {
			t.Errorf("%s: %q", how, got)
		}
	}
}

// TestPowerCutTakesCopy: a committed file was opened for writing, and a power cut took the name of its copy but not the record that it is dirty. Nothing of it was
// synced, so the file is as it was stored, at this start and the next.
func TestPowerCutTakesCopy(t *testing.T) {
	e := newEnv(t)
	want := big(100_000, 1)
	e.write("f", want)
	e.drain()
	e.set.DropSpool(bg)
	e.opts.IngestDelay = time.Hour // what is written stays dirty
	e.reopen()
	e.wantState("f", "A")
	h, err := e.tree.Open(bg, e.ino("f"), os.O_RDWR)
	e.ok(err)
	_, err = h.WriteAt(bg, []byte("unsynced"), 200_000)
	e.ok(err)
	path := e.set.spool.path(e.tree.inodes[e.ino("f")].spoolID())
	e.ok(h.Close())
	e.close()
	e.ok(os.Remove(path))
	e.otherBoot(t)
	e.open(oid.ID{})
	for range 2 {
		if got := e.read("f"); got != want {
			t.Fatalf("%d bytes, not what was stored", len(got))
		}
		if a := e.attr("f"); a.Size != int64(len(want)) {
			t.Fatalf("size %d", a.Size)
		}
		e.reopen()
	}
}
