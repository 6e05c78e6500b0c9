package vcs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/vcs/object"
)

func TestGC(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"keep": noise(400_000, 1)})
	c1 := snap(t, r, "kept")
	must(t, r.CreateBranch(bg, "b", c1))
	_, _, err := r.Add(bg, "b", writeTree(t, map[string]string{"lose": noise(3_000_000, 2)}), "", nil)
	must(t, err)
	res, err := r.Snapshot(bg, SnapshotOptions{Branch: "b", Message: "lost", Tag: "t"})
	must(t, err)
	c2 := res.Commit
	before, err := r.Stats(bg)
	must(t, err)

	gc := func(keep time.Duration, dry bool) int64 {
		t.Helper()
		res, err := r.GC(bg, keep, true, dry)
		must(t, err)
		return res.Dropped
	}
	if n := gc(0, false); n != 0 {
		t.Errorf("%d records dropped, all are needed", n)
	}
	must(t, r.DeleteBranch(bg, false, "b"))
	if n := gc(0, false); n != 0 {
		t.Errorf("%d records dropped that the tag needs", n)
	}
	must(t, r.DeleteTag(bg, "t"))
	if n := gc(time.Hour, false); n != 0 {
		t.Errorf("%d records dropped that the ref log promises", n)
	}
	// What the log keeps can get a name again.
	must(t, r.CreateBranch(bg, "back", c2))
	must(t, r.DeleteBranch(bg, true, "back"))
	dry := gc(0, true)
	if _, err := r.Objects.Commit(bg, c2); err != nil || dry == 0 {
		t.Errorf("a dry run dropped: %v (%d counted)", err, dry)
	}
	if n := gc(0, false); n != dry {
		t.Errorf("%d records dropped, the dry run said %d", n, dry)
	}
	_, err = r.Objects.Commit(bg, c2)
	wantErr(t, err, errs.NotFound, c2.Short())
	wantErr(t, r.CreateBranch(bg, "again", c2), errs.NotFound)
	if _, err := r.GC(bg, time.Hour, true, false); err != nil { // the log names what is gone
		t.Error(err)
	}
	after, err := r.Stats(bg)
	must(t, err)
	if after.UniqueBytes > before.UniqueBytes-2_900_000 || after.StoredBytes > before.StoredBytes-2_000_000 {
		t.Errorf("stats before %+v\nafter %+v", before, after)
	}
	r = reopen(t, r)
	dst := t.TempDir()
	must(t, r.Export(bg, c1, "", dst, nil))
	if b, err := os.ReadFile(filepath.Join(dst, "keep")); err != nil || string(b) != noise(400_000, 1) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	// The same content comes back whole.
	add(t, r, map[string]string{"lose": noise(3_000_000, 2)})
	snap(t, r, "again")
}

// What only a live tree has, ingested and not committed, stays; also what it replaced in the base goes on being readable.
func TestGCKeepsLiveTrees(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"a": noise(200_000, 1), "dir/b": "b"})
	snap(t, r, "one")
	add(t, r, map[string]string{"c": noise(200_000, 2)})
	must(t, r.Live.Drain(bg, nil))
	if _, err := r.Live.DropSpool(bg); err != nil {
		t.Fatal(err)
	}
	res, err := r.GC(bg, 0, true, false)
	must(t, err)
	if res.Dropped != 0 {
		t.Errorf("%d records dropped", res.Dropped)
	}
	r = reopen(t, r)
	id := snap(t, r, "two")
	dst := t.TempDir()
	must(t, r.Export(bg, id, "", dst, nil))
	if b, err := os.ReadFile(filepath.Join(dst, "c")); err != nil || string(b) != noise(200_000, 2) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A commit that no name reaches may have lost parts to a collection: it gets no name.
func TestNoNameForWhatIsNotWhole(t *testing.T) {
	r := newRepo(t)
	torn, err := r.Objects.PutManifest(bg, &object.Manifest{Size: 9, Segments: []object.Segment{{Length: 9, Blob: [32]byte{1}}}})
	must(t, err)
	tree, err := r.Objects.PutTree(bg, &object.Tree{Entries: []object.Entry{{Name: "f", Kind: object.File, Size: 9, ID: torn}}})
	must(t, err)
	id, err := r.Objects.PutCommit(bg, &object.Commit{Tree: tree})
	must(t, err)
	wantErr(t, r.CreateBranch(bg, "b", id), errs.NotFound, "not whole")
	wantErr(t, r.CreateTag(bg, "t", id, "", ""), errs.NotFound, "not whole")
	wantErr(t, r.CreateBranch(bg, "b", tree), errs.Invalid, "tree")
	// If one has it all the same, a collection refuses to work rather than make it worse.
	must(t, r.Refs.CreateBranch("b", id, "", ""))
	_, err = r.GC(bg, 0, true, false)
	wantErr(t, err, errs.NotFound, "fsck")
	must(t, r.Refs.DeleteBranch("b", id, "", ""))
}

func TestGCExcludesFsck(t *testing.T) {
	r := newRepo(t)
	r.checks.RLock()
	_, err := r.GC(bg, 0, false, false)
	wantErr(t, err, errs.Busy)
	r.checks.RUnlock()
	r.checks.Lock()
	_, err = r.Fsck(bg, FsckOptions{})
	wantErr(t, err, errs.Busy)
	r.checks.Unlock()
	if _, err := r.GC(bg, 0, false, false); errors.Is(err, errs.Busy) {
		t.Error(err)
	}
}
