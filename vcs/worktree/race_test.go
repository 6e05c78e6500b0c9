package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

// committed makes a file in state A.
func (e *env) committed(path, content string) {
	e.t.Helper()
	e.write(path, content)
	e.drain()
	_, err := e.set.DropSpool(bg)
	e.ok(err)
	e.wantState(path, "A")
}

// TestCopyUpOnce opens a committed file for writing from many goroutines while readers read it: it is copied once, and nobody sees anything but its content.
func TestCopyUpOnce(t *testing.T) {
	e := newEnv(t)
	content := big(200000, 1)
	e.committed("f", content)
	ino := e.ino("f")
	release := make(chan struct{})
	var fills atomic.Int32
	e.deps.onFill = func(oid.ID) error {
		fills.Add(1)
		<-release
		return nil
	}
	old, err := e.tree.Open(bg, ino, os.O_RDONLY)
	e.ok(err)
	var wg sync.WaitGroup
	fail := make(chan error, 100)
	for i := range 8 {
		wg.Go(func() {
			h, err := e.tree.Open(bg, ino, os.O_RDWR)
			if err != nil {
				fail <- err
				return
			}
			_, err = h.WriteAt(bg, []byte{byte('a' + i)}, int64(1000+i))
			fail <- errors.Join(err, h.Close())
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 20 {
				got, err := readFile(e.tree, ino)
				if err == nil && (len(got) != len(content) || got[:1000] != content[:1000] || got[1008:] != content[1008:]) {
					err = errors.New("a reader saw something else")
				}
				fail <- err
			}
		})
	}
	close(release)
	wg.Wait()
	close(fail)
	for err := range fail {
		e.ok(err)
	}
	if n := fills.Load(); n != 1 {
		t.Errorf("copied up %d times", n)
	}
	if got, err := readHandle(old); err != nil || got[1000:1008] != "abcdefgh" {
		t.Errorf("a handle opened before the copy up reads %q, %v", got[1000:1008], err)
	}
	if old.Spool() == nil {
		t.Error("it has no spool file now")
	}
	e.ok(old.Close())
}

// TestCopyUpFails leaves the file as it was, whatever fails, and no spool file.
func TestCopyUpFails(t *testing.T) {
	e := newEnv(t)
	e.committed("f", big(5000, 1))
	boom := errors.New("boom")
	e.deps.onFill = func(oid.ID) error { return boom }
	_, err := e.tree.Open(bg, e.ino("f"), os.O_RDWR)
	wantErr(t, "materialise fails", err, boom)
	e.deps.onFill, e.deps.onOpen = nil, func(oid.ID) error { return boom }
	_, err = e.tree.Open(bg, e.ino("f"), os.O_RDWR)
	wantErr(t, "open fails", err, boom)
	_, err = e.tree.Open(bg, e.ino("f"), os.O_RDONLY)
	wantErr(t, "open for reading fails", err, boom)
	e.wantState("f", "A")
	e.write("f", "") // truncation needs no copy
	e.deps.onOpen = nil
	e.committed("g", big(5000, 2))
	stuck, release := make(chan struct{}), make(chan struct{})
	e.deps.onFill = func(oid.ID) error { close(stuck); <-release; return nil }
	done := make(chan error)
	go func() { done <- openClose(e.tree, e.ino("g"), os.O_RDWR) }()
	<-stuck
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err = e.tree.Open(ctx, e.ino("g"), os.O_RDWR)
	wantErr(t, "interrupted wait", err, context.Canceled)
	e.ok(e.tree.Unlink(bg, e.tree.Root(), "g")) // while it is being copied
	e.write("g", "another g")
	close(release)
	e.ok(<-done)
	e.ok(e.tree.SyncTree(bg))
	e.drain()
	if n := e.set.Spool().Files; n != 0 {
		t.Errorf("%d spool files left", n)
	}
	if e.tree.handles != 0 || len(e.tree.filling) != 0 {
		t.Errorf("%d handles, %d being filled", e.tree.handles, len(e.tree.filling))
	}
}

// TestSnapshotUnderWriters snapshots while others create, write, rename, link and remove. memDeps refuses trees that refer to what it does not have.
// Files that are replaced in one step (written aside, renamed over) must never be seen torn.
func TestSnapshotUnderWriters(t *testing.T) {
	e := newEnv(t)
	e.mkdir("atomic")
	e.mkdir("churn")
	atomicDir, churn := e.ino("atomic"), e.ino("churn")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	fail := make(chan error, 1000)
	for w := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 7))
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				tmp := fmt.Sprintf("tmp%d", w)
				_, h, err := e.tree.Create(bg, churn, tmp, 0o644, 0, 0, os.O_WRONLY)
				if err != nil {
					fail <- err
					return
				}
				c := strings.Repeat(string(rune('a'+rng.IntN(26))), 1+rng.IntN(9000))
				for off := 0; off < len(c); off += 3000 {
					h.WriteAt(bg, []byte(c[off:min(off+3000, len(c))]), int64(off))
				}
				if err := errors.Join(h.Close(), e.tree.Rename(bg, churn, tmp, atomicDir, fmt.Sprint("f", rng.IntN(4)), 0)); err != nil {
					fail <- err
					return
				}
				switch i % 4 {
				case 0:
					e.tree.Unlink(bg, atomicDir, fmt.Sprint("f", rng.IntN(4)))
				case 1:
					if a, err := e.tree.Lookup(bg, atomicDir, fmt.Sprint("f", rng.IntN(4))); err == nil {
						e.tree.Link(bg, a.Ino, atomicDir, fmt.Sprint("f", rng.IntN(4)))
					}
				case 2:
					e.tree.Mkdir(bg, churn, fmt.Sprint("d", w), 0o755, 0, 0)
				case 3:
					e.tree.Rmdir(bg, churn, fmt.Sprint("d", w))
				}
			}
		})
	}
	wg.Go(func() { // a writer that never closes
		h := e.create("open")
		defer h.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			h.WriteAt(bg, []byte(big(100+i%5000, uint64(i))), 0)
			if i%10 == 0 {
				h.file.Load().Truncate(int64(i % 100)) // as a passthrough descriptor is: we do not see it
			}
		}
	})
	for range 15 {
		res, err := e.tree.Snapshot(bg, false, nil)
		e.ok(err)
		for p, c := range e.deps.files(t, res.Root) {
			if strings.HasPrefix(p, "atomic/f") && (c == "" || strings.Trim(c, c[:1]) != "") {
				t.Errorf("%s is torn: %d bytes", p, len(c))
			}
		}
		e.ok(e.tree.Rebase(bg, res.Root))
		e.compact(res.Root)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}
	root := e.snapshot()
	if again := e.snapshot(); again != root {
		t.Error("two snapshots of a tree at rest differ")
	}
	if st, err := e.tree.Status(bg, root); err != nil || len(st) > 0 {
		t.Errorf("status: %v, %v", st, err)
	}
	want := digest(t, e.tree)
	e.reopen()
	if got := digest(t, e.tree); got != want {
		t.Error("the tree differs after a restart")
	}
}

func TestSnapshotOpenFiles(t *testing.T) {
	e := newEnv(t)
	h := e.create("open")
	_, err := h.WriteAt(bg, []byte("so far"), 0)
	e.ok(err)
	e.write("closed", "c")
	_, err = e.tree.Snapshot(bg, true, nil)
	wantErr(t, "strict", err, errs.Busy)
	if err == nil || !strings.Contains(err.Error(), "open") {
		t.Errorf("%v does not name the file", err)
	}
	var seen int
	res, err := e.tree.Snapshot(bg, false, func(QueueStatus) { seen++ })
	e.ok(err)
	if len(res.OpenFiles) != 1 || res.OpenFiles[0] != "open" || res.Files < 2 {
		t.Errorf("%+v", res)
	}
	files := e.deps.files(t, res.Root)
	if files["open"] != "so far" || files["closed"] != "c" {
		t.Errorf("%v", files)
	}
	_, err = h.WriteAt(bg, []byte("SO FAR"), 0)
	e.ok(err)
	if files = e.deps.files(t, e.snapshot()); files["open"] != "SO FAR" {
		t.Errorf("the next snapshot has %q", files["open"])
	}
	e.ok(h.Close())
	res, err = e.tree.Snapshot(bg, true, nil)
	e.ok(err)
	if len(res.OpenFiles) != 0 {
		t.Errorf("%+v", res)
	}
}

// TestSnapshotShrinking reads an open file again that was cut and grew back under the reader: its size alone does not tell.
func TestSnapshotShrinking(t *testing.T) {
	e := newEnv(t)
	h := e.create("log")
	defer h.Close()
	_, err := h.WriteAt(bg, []byte("before"), 0)
	e.ok(err)
	tries := 0
	e.deps.onIngest = func(string, int64) error {
		if tries++; tries == 3 {
			return nil
		}
		_, err := h.WriteAt(bg, fmt.Appendf(nil, "after%d", tries), 0)
		e.ok(err)
		return io.ErrUnexpectedEOF
	}
	root := e.snapshot()
	if got := e.deps.files(t, root)["log"]; got != "after2" || tries != 3 {
		t.Errorf("%q after %d tries", got, tries)
	}
	e.deps.onIngest = func(string, int64) error { tries++; return io.ErrUnexpectedEOF } // nothing changed: it is an error at once
	_, err = e.tree.Snapshot(bg, false, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// TestSnapshotCost stores only changed directories and reads none that nobody looked at.
func TestSnapshotCost(t *testing.T) {
	e := newEnv(t)
	for i := range 20 {
		e.mkdir(fmt.Sprint("d", i))
		e.write(fmt.Sprintf("d%d/f", i), fmt.Sprint(i))
	}
	root := e.snapshot()
	e.compact(root)
	e.reopen()
	e.write("d7/f", "changed")
	reads := e.deps.treeReads.Load()
	puts := 0
	e.deps.onPut = func() error { puts++; return nil }
	next := e.snapshot()
	if n := e.deps.treeReads.Load() - reads; puts != 2 || n > 4 {
		t.Errorf("%d trees written, %d read", puts, n)
	}
	if next == root {
		t.Error("nothing changed")
	}
	puts = 0
	if e.snapshot() != next || puts != 0 {
		t.Errorf("a snapshot of nothing wrote %d trees", puts)
	}
}

// TestIngestFails keeps files dirty while the store refuses them, says so, and tries again.
func TestIngestFails(t *testing.T) {
	e := newEnv(t)
	boom := errors.New("boom")
	var bad atomic.Bool
	bad.Store(true)
	e.deps.onIngest = func(path string, size int64) error {
		if bad.Load() && strings.HasPrefix(path, "bad") {
			return fmt.Errorf("ingest: %w", boom)
		}
		return nil
	}
	e.write("bad1", big(5000, 1))
	e.write("bad2", "2")
	e.write("good", "g")
	err := e.set.Drain(bg, nil)
	wantErr(t, "drain", err, boom)
	if err == nil || !strings.Contains(err.Error(), "main:bad") {
		t.Errorf("%v does not name the file", err)
	}
	if q := e.set.Queue(); q.Files != 2 || len(q.Errors) != 2 || q.Bytes != 5001 {
		t.Errorf("%+v", q)
	}
	e.wantState("bad1", "C")
	e.wantState("good", "A")
	_, err = e.tree.Snapshot(bg, false, nil)
	wantErr(t, "snapshot", err, boom)
	bad.Store(false)
	e.drain()
	e.wantState("bad1", "B")
	if q := e.set.Queue(); q.Files != 0 || len(q.Errors) != 0 || q.Bytes != 0 {
		t.Errorf("%+v", q)
	}
	var syncs atomic.Int32
	e.deps.onSync = func() error {
		if syncs.Add(1) == 1 {
			return boom
		}
		return nil
	}
	e.write("bad2", "22")
	if err := e.set.Drain(bg, nil); err != nil {
		wantErr(t, "drain while the store cannot be synced", err, boom)
		e.drain()
	}
	e.wantState("bad2", "A")
	e.deps.onSync = nil
	e.deps.onPut = func() error { return boom }
	_, err = e.tree.Snapshot(bg, false, nil)
	wantErr(t, "snapshot that cannot store trees", err, boom)
	e.deps.onPut = nil
	root := e.snapshot()
	if files := e.deps.files(t, root); files["bad2"] != "22" || files["bad1"] != big(5000, 1) {
		t.Errorf("%d files", len(files))
	}
	other, err := e.set.Tree(bg, "other", root)
	e.ok(err)
	e.deps.onTree = func(oid.ID) error { return boom }
	_, err = other.Lookup(bg, other.Root(), "good")
	wantErr(t, "lookup in a directory that cannot be loaded", err, boom)
	e.deps.onTree = nil
	_, err = other.Lookup(bg, other.Root(), "good")
	e.ok(err)
}

// TestWrittenDuringIngest reads a file again that was written to while it was read.
func TestWrittenDuringIngest(t *testing.T) {
	e := newEnv(t)
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e.deps.onIngest = func(path string, size int64) error {
		once.Do(func() { close(reading); <-goOn })
		return nil
	}
	e.write("f", big(5000, 1))
	<-reading
	e.write("f", big(5000, 2))
	close(goOn)
	e.drain()
	e.wantState("f", "B")
	if id := e.state("f").Manifest; string(e.deps.manifests[id]) != big(5000, 2) {
		t.Error("the manifest is of the old content")
	}
	// Unlinked while it is read: nothing remains.
	reading, goOn, once = make(chan struct{}), make(chan struct{}), sync.Once{}
	e.write("g", big(5000, 3))
	<-reading
	e.ok(e.tree.Unlink(bg, e.tree.Root(), "g"))
	close(goOn)
	e.drain()
	e.ok(e.tree.SyncTree(bg))
	if st := e.set.Spool(); st.Files != 1 {
		t.Errorf("%+v", st)
	}
	// Written behind our back (a descriptor that outlived the daemon): size and times tell.
	e.opts.IngestDelay = time.Hour
	e.reopen()
	e.wantState("f", "B")
	id := e.tree.inodes[e.ino("f")].spoolID()
	e.close()
	e.ok(os.WriteFile(e.dir+"/spool/"+id.String(), []byte(big(5000, 4)), 0o600))
	e.open(oid.ID{})
	e.wantState("f", "C")
	if e.read("f") != big(5000, 4) {
		t.Error("the spool file is the truth")
	}
}

func TestPause(t *testing.T) {
	e := newEnv(t)
	resume, err := e.set.Pause(bg)
	e.ok(err)
	again, err := e.set.Pause(bg)
	e.ok(err)
	e.write("f", "x")
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	wantErr(t, "drain while paused", e.set.Drain(ctx, nil), context.DeadlineExceeded)
	if n := e.deps.ingests.Load(); n != 0 {
		t.Errorf("%d files were ingested", n)
	}
	resume()
	resume()
	ctx2, cancel2 := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel2()
	_, err = e.tree.Snapshot(ctx2, false, nil)
	wantErr(t, "snapshot while paused", err, context.DeadlineExceeded)
	again()
	e.drain()
	e.wantState("f", "A")
}

// TestJournalFull refuses operations whose record cannot be written, and goes on when it can.
func TestJournalFull(t *testing.T) {
	e := newEnv(t)
	e.write("f", "x")
	e.drain()
	real := e.tree.j.f
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	e.ok(err)
	defer full.Close()
	want := digest(t, e.tree)
	e.tree.j.f = full
	root := e.tree.Root()
	m := uint32(0o600)
	_, mkdir := e.tree.Mkdir(bg, root, "d", 0o755, 0, 0)
	_, _, create := e.tree.Create(bg, root, "g", 0o644, 0, 0, os.O_RDWR)
	_, chmod := e.tree.Setattr(bg, e.ino("f"), SetAttr{Mode: &m})
	_, open := e.tree.Open(bg, e.ino("f"), os.O_RDWR)
	_, link := e.tree.Link(bg, e.ino("f"), root, "l")
	for what, err := range map[string]error{"mkdir": mkdir, "create": create, "chmod": chmod, "open": open, "link": link, "unlink": e.tree.Unlink(bg, root, "f"),
		"rename": e.tree.Rename(bg, root, "f", root, "g", 0), "xattr": e.tree.Setxattr(bg, e.ino("f"), "user.x", nil, 0)} {
		if err == nil {
			t.Errorf("%s went through", what)
		}
	}
	e.tree.j.f = real
	if got := digest(t, e.tree); got != want {
		t.Errorf("something was changed:\n%s\nwant\n%s", got, want)
	}
	e.mkdir("d")
	want = digest(t, e.tree)
	e.reopen()
	if got := digest(t, e.tree); got != want {
		t.Errorf("after a restart:\n%s\nwant\n%s", got, want)
	}
	if n := e.set.Spool().Files; n != 0 {
		t.Errorf("%d spool files left", n)
	}
}

// TestCompactionUnderLoad compacts all the time while names change, and wants all of it back.
func TestCompactionUnderLoad(t *testing.T) {
	e := newEnv(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := compactTo(e.tree, oid.ID{}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := range 300 {
		d := fmt.Sprint("d", i)
		e.mkdir(d)
		e.write(d+"/f", d)
		if i%3 == 0 {
			e.ok(e.tree.Rename(bg, e.ino(d), "f", e.tree.Root(), "f"+d, 0))
		}
		if i%5 == 0 {
			e.ok(e.tree.SyncTree(bg))
		}
	}
	close(stop)
	wg.Wait()
	want := digest(t, e.tree)
	e.reopen()
	if got := digest(t, e.tree); got != want {
		t.Error("the tree differs after a restart")
	}
}

// TestJournalIsCompactedWhenGrown lets the timer and Rebase do it.
func TestJournalIsCompactedWhenGrown(t *testing.T) {
	e := newEnv(t)
	for i := range compactRecords/2 + 10 {
		e.mkdir("d")
		e.ok(e.tree.Rmdir(bg, e.tree.Root(), "d"))
		_ = i
	}
	before := e.tree.j.size
	e.tree.compactIfGrown(bg)
	if e.tree.j.size >= before/100 {
		t.Errorf("%d bytes, were %d", e.tree.j.size, before)
	}
	for range 6000 {
		e.mkdir("d")
		e.ok(e.tree.Rmdir(bg, e.tree.Root(), "d"))
	}
	root := e.snapshot()
	before = e.tree.j.size
	e.ok(e.tree.Rebase(bg, root))
	if e.tree.j.size >= before/100 || e.tree.base != root {
		t.Errorf("rebase: %d bytes, were %d", e.tree.j.size, before)
	}
}
