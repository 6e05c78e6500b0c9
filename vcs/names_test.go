package vcs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/ref"
)

func TestBranches(t *testing.T) {
	r := newRepo(t)
	var calls atomic.Int64
	r.OnRefsChanged(func() { calls.Add(1) })
	_, err := r.Resolve(bg, "HEAD")
	wantErr(t, err, errs.NotFound, "no commit yet")
	_, err = r.Resolve(bg, "")
	wantErr(t, err, errs.NotFound, `revision "HEAD"`)
	if res, err := r.Snapshot(bg, SnapshotOptions{}); err != nil || !res.Unchanged || !res.Commit.IsZero() {
		t.Errorf("snapshot of nothing: %+v, %v", res, err)
	}
	add(t, r, map[string]string{"f": "1"})
	c1 := snap(t, r, "one")
	if calls.Load() != 1 {
		t.Errorf("%d calls of OnRefsChanged after a snapshot, want 1", calls.Load())
	}
	must(t, r.CreateBranch(bg, "exp/a", c1))
	wantErr(t, r.CreateBranch(bg, "exp/a", c1), errs.Exist, "exp/a")
	wantErr(t, r.CreateBranch(bg, "exp", c1), errs.Conflict, "exp/a")
	wantErr(t, r.CreateBranch(bg, "a b", c1), errs.Invalid, "a b")
	wantErr(t, r.CreateBranch(bg, "x", oid.Sum([]byte("absent"))), errs.NotFound)
	live, err := r.LiveTree(bg, "exp/a")
	must(t, err)
	write(t, live, "f", "2")
	wantErr(t, r.DeleteBranch(bg, false, "exp/a"), errs.Conflict, "f")
	res, err := r.Snapshot(bg, SnapshotOptions{Branch: "exp/a", Message: "two"})
	must(t, err)
	if res.Branch != "exp/a" || res.Parent != c1 {
		t.Errorf("result %+v", res)
	}
	if m, err := r.Refs.Branch("main"); err != nil || m.ID != c1 {
		t.Errorf("main moved: %+v, %v", m, err)
	}

	must(t, r.SetHead(bg, ref.Head{Branch: "exp/a"}))
	wantErr(t, r.DeleteBranch(bg, true, "exp/a"), errs.Conflict, "HEAD")
	write(t, live, "f", "3") // dirty changes go with a rename
	must(t, r.RenameBranch(bg, "exp/a", "exp/b"))
	wantErr(t, r.RenameBranch(bg, "exp/b", "main"), errs.Exist, "main")
	wantErr(t, r.RenameBranch(bg, "nope", "x"), errs.NotFound, "nope")
	if h, err := r.Refs.Head(); err != nil || h.Branch != "exp/b" {
		t.Errorf("HEAD %+v, %v", h, err)
	}
	r = reopen(t, r)
	three, err := r.Snapshot(bg, SnapshotOptions{Message: "three"})
	must(t, err)
	if three.Unchanged || three.Branch != "exp/b" || three.Parent != res.Commit {
		t.Errorf("after the rename: %+v", three)
	}

	must(t, r.SetHead(bg, ref.Head{Commit: c1}))
	_, err = r.Snapshot(bg, SnapshotOptions{})
	wantErr(t, err, errs.Invalid, "checkout -b")
	if id, err := r.Resolve(bg, "@"); err != nil || id != c1 {
		t.Errorf("detached: %s, %v", id.Short(), err)
	}
	must(t, r.DeleteBranch(bg, false, "exp/b"))
	if slices.Contains(r.Live.Branches(), "exp/b") {
		t.Error("the live tree of a deleted branch is there")
	}
	// The name again: a new live tree, nothing of the old one.
	must(t, r.CreateBranch(bg, "exp/b", oid.ID{}))
	live, err = r.LiveTree(bg, "exp/b")
	must(t, err)
	if list, err := live.Readdir(bg, live.Root()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	wantErr(t, r.DeleteBranch(bg, true, "nope"), errs.NotFound, "nope")
	_, err = r.LiveTree(bg, "nope")
	wantErr(t, err, errs.NotFound, "nope")
	_, err = r.Snapshot(bg, SnapshotOptions{Branch: "nope"})
	wantErr(t, err, errs.NotFound, "nope")
}

func TestBusyBranch(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"f": "1"})
	must(t, r.CreateBranch(bg, "b", snap(t, r, "one")))
	live, err := r.LiveTree(bg, "b")
	must(t, err)
	_, h, err := live.Create(bg, live.Root(), "open", 0o644, 0, 0, os.O_RDWR)
	must(t, err)
	wantErr(t, r.DeleteBranch(bg, true, "b"), errs.Busy, "b")
	wantErr(t, r.RenameBranch(bg, "b", "c"), errs.Busy, "b")
	if _, err := r.Refs.Branch("b"); err != nil {
		t.Errorf("after the refused rename: %v", err)
	}
	_, err = r.Snapshot(bg, SnapshotOptions{Branch: "b", Strict: true})
	wantErr(t, err, errs.Busy, "open")
	res, err := r.Snapshot(bg, SnapshotOptions{Branch: "b"})
	if err != nil || !slices.Equal(res.OpenFiles, []string{"open"}) {
		t.Errorf("%+v, %v", res, err)
	}
	must(t, h.Close())
	must(t, r.RenameBranch(bg, "b", "c"))
}

// A rename that was killed after the ref and before the live tree is finished at the next open.
func TestMendNames(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"f": "1"})
	must(t, r.CreateBranch(bg, "old", snap(t, r, "one")))
	live, err := r.LiveTree(bg, "old")
	must(t, err)
	write(t, live, "precious", "not committed")
	must(t, r.Refs.RenameBranch("old", "new", "killed"))
	r = reopen(t, r)
	live, err = r.LiveTree(bg, "new")
	must(t, err)
	if _, err := live.Lookup(bg, live.Root(), "precious"); err != nil {
		t.Errorf("what was not committed: %v", err)
	}
	if slices.Contains(r.Live.Branches(), "old") {
		t.Error("the old live tree is still there")
	}
	// A delete that was killed between ref and live tree is finished too.
	must(t, r.CreateBranch(bg, "gone", mustBranch(t, r, "new")))
	live, err = r.LiveTree(bg, "gone")
	must(t, err)
	write(t, live, "forced", "")
	must(t, r.Refs.DeleteBranch("gone", mustBranch(t, r, "gone"), "killed", "deleted"))
	r = reopen(t, r)
	if slices.Contains(r.Live.Branches(), "gone") {
		t.Error("the live tree of a deleted branch is there")
	}
	// A live tree of nobody, of which the log says nothing, is kept and not taken over.
	live, err = r.Live.Tree(bg, "stray", oid.ID{})
	must(t, err)
	write(t, live, "precious", "not committed")
	r = reopen(t, r)
	if !slices.Contains(r.Live.Branches(), "stray") {
		t.Error("a live tree without branch was removed silently")
	}
	must(t, r.RenameBranch(bg, "main", "stray"))
	live, err = r.LiveTree(bg, "stray")
	must(t, err)
	_, err = live.Lookup(bg, live.Root(), "precious")
	wantErr(t, err, errs.NotFound)
}

func mustBranch(t *testing.T, r *Repo, name string) oid.ID {
	t.Helper()
	b, err := r.Refs.Branch(name)
	must(t, err)
	return b.ID
}

func TestTags(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"f": "1"})
	c1 := snap(t, r, "one")
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	write(t, live, "f", "2")
	c2 := snap(t, r, "two")
	must(t, r.CreateTag(bg, "v1", c1, "", ""))
	must(t, r.CreateTag(bg, "rel/v2", c2, "second\n", "Bob <b@c>"))
	wantErr(t, r.CreateTag(bg, "v1", c2, "", ""), errs.Exist, "v1")
	wantErr(t, r.CreateTag(bg, "v1/x", c2, "m", ""), errs.Conflict, "v1")
	wantErr(t, r.CreateTag(bg, "x y", c2, "", ""), errs.Invalid, "x y")
	wantErr(t, r.CreateTag(bg, "x", oid.ID{}, "", ""), errs.Invalid, "x")
	wantErr(t, r.CreateTag(bg, "", c2, "", ""), errs.Invalid)
	wantErr(t, r.CreateTag(bg, "x", oid.Sum(nil), "", ""), errs.NotFound)
	tag, err := r.Refs.Tag("rel/v2")
	must(t, err)
	obj, err := r.Objects.Tag(bg, tag.Tag)
	if err != nil || obj.Target != c2 || obj.Tagger != "Bob <b@c>" || obj.Message != "second\n" {
		t.Errorf("tag object %+v, %v", obj, err)
	}
	for rev, want := range map[string]oid.ID{"v1": c1, "tags/v1": c1, "rel/v2": c2, "rel/v2~": c1, tag.Tag.String(): c2} {
		if got, err := r.Resolve(bg, rev); err != nil || got != want {
			t.Errorf("Resolve(%q) = %s, %v", rev, got.Short(), err)
		}
	}
	// A branch and a tag of one name: which is meant must be said, unless they agree.
	must(t, r.CreateBranch(bg, "v1", c2))
	_, err = r.Resolve(bg, "v1")
	wantErr(t, err, errs.Invalid, "branches/v1", "tags/v1", c1.Short(), c2.Short())
	for rev, want := range map[string]oid.ID{"tags/v1": c1, "branches/v1": c2} {
		if got, err := r.Resolve(bg, rev); err != nil || got != want {
			t.Errorf("Resolve(%q) = %s, %v", rev, got.Short(), err)
		}
	}
	must(t, r.DeleteTag(bg, "v1"))
	wantErr(t, r.DeleteTag(bg, "v1"), errs.NotFound, "v1")
	// A name that looks like the beginning of an id is the name.
	must(t, r.CreateTag(bg, c2.Short(), c1, "", ""))
	if got, err := r.Resolve(bg, c2.Short()); err != nil || got != c1 {
		t.Errorf("tag named like an id: %s, %v", got.Short(), err)
	}
	if got, err := r.Resolve(bg, "commits/"+c2.Short()); err != nil || got != c2 {
		t.Errorf("commits/: %s, %v", got.Short(), err)
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	r := newRepo(t)
	tree, err := r.Objects.PutTree(bg, &object.Tree{})
	must(t, err)
	seen := map[string]oid.ID{}
	for i := 0; ; i++ {
		id, err := r.Objects.PutCommit(bg, &object.Commit{Tree: tree, Message: fmt.Sprint(i)})
		must(t, err)
		p := id.String()[:4]
		other, twice := seen[p]
		if seen[p] = id; !twice {
			continue
		}
		_, err = r.Resolve(bg, p)
		wantErr(t, err, errs.Invalid, "ambiguous", id.Short(), other.Short())
		break
	}
}

func TestConcurrentSnapshots(t *testing.T) {
	r := newRepo(t)
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	var wg sync.WaitGroup
	var made atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				write(t, live, fmt.Sprintf("w%d", w), fmt.Sprint(i))
				res, err := r.Snapshot(bg, SnapshotOptions{Message: fmt.Sprintf("%d.%d", w, i)})
				if err != nil {
					t.Error(err)
				} else if !res.Unchanged {
					made.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if _, err := r.GC(bg, 0, true, false); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	s, err := r.Stats(bg)
	must(t, err)
	if s.Commits != made.Load() {
		t.Errorf("%d commits in the history, %d were made", s.Commits, made.Load())
	}
}

func TestKeyLock(t *testing.T) {
	var k keyLock
	release, err := k.lock(bg, "a")
	must(t, err)
	other, err := k.lock(bg, "b")
	must(t, err)
	other()
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := k.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	release()
	again, err := k.lock(ctx, "a")
	must(t, err)
	again()
	if len(k.held) != 0 {
		t.Errorf("%d locks are held", len(k.held))
	}
}

func TestDefaultAuthor(t *testing.T) {
	t.Setenv("CORAL_AUTHOR", "  A B <a@b>\nmore ")
	if got := DefaultAuthor(); got != "A B <a@b>" {
		t.Errorf("got %q", got)
	}
	t.Setenv("CORAL_AUTHOR", "")
	t.Setenv("USER", "joe")
	if got := DefaultAuthor(); !strings.HasPrefix(got, "joe <joe@") || !strings.HasSuffix(got, ">") {
		t.Errorf("got %q", got)
	}
	t.Setenv("USER", "")
	if got := DefaultAuthor(); strings.HasPrefix(got, " ") || got == "" {
		t.Errorf("got %q", got)
	}
}
