package ref

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
)

func newStore(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

func idOf(i int) oid.ID { return oid.Sum(fmt.Append(nil, i)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, class error, mentions string) {
	t.Helper()
	if !errors.Is(err, class) || !strings.Contains(err.Error(), mentions) {
		t.Errorf("got %v, want one of class %q that mentions %q", err, class, mentions)
	}
}

func TestNewStore(t *testing.T) {
	s, _ := newStore(t)
	if h, err := s.Head(); err != nil || h != (Head{Branch: "main"}) {
		t.Errorf("Head = %+v, %v", h, err)
	}
	if r, err := s.Branch("main"); err != nil || r != (Ref{Name: "main"}) {
		t.Errorf("main = %+v, %v", r, err)
	}
	_, err := s.Branch("other")
	wantErr(t, err, errs.NotFound, `"other"`)
	_, err = s.Tag("v1")
	wantErr(t, err, errs.NotFound, `"v1"`)
	if m, err := s.Log("", 10); err != nil || len(m) != 0 {
		t.Errorf("log of a new store: %v, %v", m, err)
	}
}

func TestBranchLife(t *testing.T) {
	s, dir := newStore(t)
	gen, calls := s.Generation(), 0
	s.OnChange(func() {
		calls++
		if _, err := s.Branches(); err != nil { // no lock is held over the call
			t.Error(err)
		}
	})
	must(t, s.CreateBranch("exp/a", idOf(1), "me", "branch: created"))
	if s.Generation() == gen {
		t.Error("Generation did not change")
	}
	if calls != 1 {
		t.Errorf("%d calls of OnChange, want 1", calls)
	}
	wantErr(t, s.CreateBranch("exp/a", idOf(1), "", ""), errs.Exist, "exp/a")
	wantErr(t, s.CreateBranch("exp", idOf(1), "", ""), errs.Conflict, "exp/a")
	wantErr(t, s.CreateBranch("exp/a/b", idOf(1), "", ""), errs.Conflict, "exp/a")
	wantErr(t, s.CreateBranch("a..b", idOf(1), "", ""), errs.Invalid, "..")
	must(t, s.CreateBranch("exp-2", idOf(1), "", "")) // sorts between "exp" and "exp/"

	wantErr(t, s.MoveBranch("exp/a", idOf(2), idOf(3), "", ""), errs.Conflict, "exp/a")
	wantErr(t, s.MoveBranch("none", idOf(2), idOf(3), "", ""), errs.NotFound, "none")
	wantErr(t, s.MoveBranch("exp/a", idOf(1), oid.ID{}, "", ""), errs.Invalid, "exp/a")
	must(t, s.MoveBranch("exp/a", idOf(1), idOf(2), "", ""))
	must(t, s.MoveBranch("main", oid.ID{}, idOf(9), "", "")) // the first commit

	must(t, s.SetHead(Head{Branch: "exp/a"}, "me", "checkout"))
	wantErr(t, s.SetHead(Head{Branch: "nope"}, "", ""), errs.NotFound, "nope")
	wantErr(t, s.SetHead(Head{}, "", ""), errs.Invalid, "HEAD")
	wantErr(t, s.SetHead(Head{Branch: "main", Commit: idOf(1)}, "", ""), errs.Invalid, "HEAD")
	wantErr(t, s.DeleteBranch("exp/a", idOf(2), "", ""), errs.Conflict, "HEAD")

	must(t, s.RenameBranch("exp/a", "exp/a/deep", "me")) // below its own old name
	if h, err := s.Head(); err != nil || h.Branch != "exp/a/deep" {
		t.Errorf("HEAD after rename: %+v, %v", h, err)
	}
	wantErr(t, s.RenameBranch("exp/a", "x", ""), errs.NotFound, "exp/a")
	wantErr(t, s.RenameBranch("main", "exp-2", ""), errs.Exist, "exp-2")
	wantErr(t, s.RenameBranch("main", "exp", ""), errs.Conflict, "exp/a/deep")
	wantErr(t, s.RenameBranch("main", "main", ""), errs.Exist, "main")
	if _, err := s.Branch("main"); err != nil {
		t.Errorf("main after refused renames: %v", err)
	}

	must(t, s.SetHead(Head{Commit: idOf(5)}, "me", "checkout"))
	if h, err := s.Head(); err != nil || h != (Head{Commit: idOf(5)}) {
		t.Errorf("detached: %+v, %v", h, err)
	}
	wantErr(t, s.DeleteBranch("exp/a/deep", idOf(1), "", ""), errs.Conflict, "moved")
	must(t, s.DeleteBranch("exp/a/deep", idOf(2), "me", "branch: deleted"))

	// Everything is there after a reopen.
	must(t, s.Close())
	s2, err := Open(dir, false)
	must(t, err)
	defer s2.Close()
	all, err := s2.Branches()
	must(t, err)
	if got, want := fmt.Sprint(all), fmt.Sprint([]Ref{{Name: "exp-2", ID: idOf(1)}, {Name: "main", ID: idOf(9)}}); got != want {
		t.Errorf("branches %s, want %s", got, want)
	}
}

func TestTagLife(t *testing.T) {
	s, _ := newStore(t)
	must(t, s.CreateTag(Ref{Name: "v1", ID: idOf(1)}, "me", "tag: created"))
	must(t, s.CreateTag(Ref{Name: "rel/2", ID: idOf(2), Tag: idOf(3)}, "me", "tag: created"))
	wantErr(t, s.CreateTag(Ref{Name: "v1", ID: idOf(2)}, "", ""), errs.Exist, "v1")
	wantErr(t, s.CreateTag(Ref{Name: "v1/x", ID: idOf(2)}, "", ""), errs.Conflict, "v1")
	wantErr(t, s.CreateTag(Ref{Name: "v2"}, "", ""), errs.Invalid, "v2")
	wantErr(t, s.CreateTag(Ref{Name: "v 2", ID: idOf(1)}, "", ""), errs.Invalid, "v 2")
	must(t, s.CreateBranch("v1", idOf(1), "", "")) // branches and tags are apart
	if r, err := s.Tag("rel/2"); err != nil || r != (Ref{Name: "rel/2", ID: idOf(2), Tag: idOf(3)}) {
		t.Errorf("rel/2 = %+v, %v", r, err)
	}
	all, err := s.Tags()
	if err != nil || len(all) != 2 || all[0].Name != "rel/2" {
		t.Errorf("Tags = %v, %v", all, err)
	}
	must(t, s.DeleteTag("v1", "me", "tag: deleted"))
	wantErr(t, s.DeleteTag("v1", "", ""), errs.NotFound, "v1")
}

// Of many that move a branch from the same commit, one wins; so the log is a chain.
func TestCompareAndSet(t *testing.T) {
	s, _ := newStore(t)
	s.db.NoSync = true // speed: what is tested is not durability
	const workers, moves = 8, 20
	var wins, losses atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := range moves {
				for {
					r, err := s.Branch("main")
					if err != nil {
						t.Error(err)
						return
					}
					err = s.MoveBranch("main", r.ID, idOf(w*1000+n), "w", "move")
					if err == nil {
						wins.Add(1)
						break
					}
					if !errors.Is(err, errs.Conflict) {
						t.Error(err)
						return
					}
					losses.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d moves, %d conflicts", wins.Load(), losses.Load())
	log, err := s.Log("branches/main", 1000)
	must(t, err)
	if len(log) != workers*moves {
		t.Fatalf("%d moves in the log, want %d", len(log), workers*moves)
	}
	for i := 1; i < len(log); i++ {
		if log[i-1].Old != log[i].New {
			t.Fatalf("move %d starts at %s, the one before ended at %s: a move was lost", i, log[i-1].Old, log[i].New)
		}
	}
}

func TestReadOnly(t *testing.T) {
	s, dir := newStore(t)
	must(t, s.MoveBranch("main", oid.ID{}, idOf(1), "", ""))
	must(t, s.Close())
	path := filepath.Join(dir, FileName)
	must(t, os.Chmod(path, 0o444))
	must(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	before, err := os.Stat(path)
	must(t, err)
	a, err := Open(dir, true)
	must(t, err)
	b, err := Open(dir, true) // readers share
	must(t, err)
	if r, err := b.Branch("main"); err != nil || r.ID != idOf(1) {
		t.Errorf("main = %v, %v", r, err)
	}
	wantErr(t, a.MoveBranch("main", idOf(1), idOf(2), "", ""), errs.ReadOnly, "")
	wantErr(t, a.SetHead(Head{Branch: "main"}, "", ""), errs.ReadOnly, "")
	must(t, a.Close())
	must(t, b.Close())
	must(t, a.Close())
	after, err := os.Stat(path)
	must(t, err)
	if before.ModTime() != after.ModTime() || before.Size() != after.Size() {
		t.Error("a read-only open changed the file")
	}
	_, err = Open(t.TempDir(), true)
	wantErr(t, err, errs.NotFound, FileName)
}

func TestSecondWriterIsBusy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lock's timeout")
	}
	_, dir := newStore(t)
	_, err := Open(dir, false)
	wantErr(t, err, errs.Busy, FileName)
}

// A killed create leaves only the file under its temporary name.
func TestTornCreate(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, FileName+".new"), []byte("half"), 0o644))
	s, err := Open(dir, false)
	must(t, err)
	must(t, s.Close())
	if _, err := os.Stat(filepath.Join(dir, FileName+".new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary file: %v", err)
	}
}

// Whatever is wrong with the file, the answer is an error with a class, not a panic or a fault.
func TestDamagedFile(t *testing.T) {
	s, dir := newStore(t)
	for i := range 200 {
		s.db.NoSync = true
		must(t, s.CreateBranch(fmt.Sprintf("branch-%03d", i), idOf(i), "me", strings.Repeat("why ", 20)))
	}
	must(t, s.Close())
	path := filepath.Join(dir, FileName)
	good, err := os.ReadFile(path)
	must(t, err)
	try := func(name string, b []byte) {
		t.Helper()
		must(t, os.WriteFile(path, b, 0o644))
		for _, readOnly := range []bool{true, false} {
			s, err := Open(dir, readOnly)
			if err == nil {
				_, err1 := s.Branches()
				_, err2 := s.Log("", 1000)
				err3 := s.CreateBranch("one-more", idOf(1), "", "")
				if readOnly {
					err3 = nil
				}
				err = errors.Join(err1, err2, err3)
				_ = s.Close()
			}
			if err != nil && !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Errorf("%s: %v, want errs.Corrupt", name, err)
			}
		}
	}
	for _, n := range []int{1, 100, 4096, 8192, 12288, 20000, len(good) / 2} {
		try(fmt.Sprintf("first %d bytes", n), good[:n])
	}
	try("empty pages", append(append([]byte{}, good[:8192]...), make([]byte, len(good)-8192)...))
	for off := 0; off < len(good); off += 1021 {
		b := append([]byte{}, good...)
		b[off] ^= 0xff
		try(fmt.Sprintf("flip at %d", off), b)
	}
}

func TestOtherFormats(t *testing.T) {
	s, dir := newStore(t)
	set := func(fn func(tx *bbolt.Tx) error) { t.Helper(); must(t, s.db.Update(fn)) }
	set(func(tx *bbolt.Tx) error { return tx.Bucket(bucketBranches).Put([]byte("new"), []byte{2, 0}) })
	_, err := s.Branch("new")
	wantErr(t, err, errs.Unsupported, "version 2")
	set(func(tx *bbolt.Tx) error { return tx.Bucket(bucketBranches).Put([]byte("new"), []byte{1, 0}) })
	_, err = s.Branch("new")
	wantErr(t, err, errs.Corrupt, "new")
	set(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte{7}) })
	must(t, s.Close())
	_, err = Open(dir, false)
	wantErr(t, err, errs.Unsupported, "format 7")
}
