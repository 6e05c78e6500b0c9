package vcs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"coral/internal/oid"
	"coral/vcs/merge/method"
	"coral/vcs/ref"
)

// stateOf is all that a repository names, and what its live trees hold.
func stateOf(t testing.TB, r *Repo) string {
	t.Helper()
	branches, err := r.Refs.Branches()
	must(t, err)
	tags, err := r.Refs.Tags()
	must(t, err)
	head, err := r.Refs.Head()
	must(t, err)
	s := fmt.Sprint(branches, tags, head, r.Live.Branches())
	for _, b := range branches {
		s += fmt.Sprint("\n", b.Name, contents(t, r, b.Name, oid.ID{}))
	}
	return s
}

// TestKilledAfterRefs copies a repository at the moment when a command's refs are durable and nothing after them has happened, as a kill leaves it. Opened, it is as if
// the command had ended.
func TestKilledAfterRefs(t *testing.T) {
	var one, two oid.ID
	commands := []struct {
		name string
		run  func(r *Repo) error
	}{
		{"reset", func(r *Repo) error {
			_, err := r.Reset(bg, ResetOptions{To: one, Hard: true})
			return err
		}},
		{"undo", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{}); return err }},
		{"redo", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{Redo: true}); return err }},
		{"forced reset", func(r *Repo) error {
			puts(t, r, "main", map[string]string{"a": "dirty", "new": "dirty"})
			_, err := r.Reset(bg, ResetOptions{To: two, Hard: true, Force: true})
			return err
		}},
		{"undo of it", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{}); return err }},
		{"redo of it", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{Redo: true}); return err }},
		{"revert", func(r *Repo) error {
			_, err := r.Pick(bg, PickOptions{Commits: []oid.ID{two}, Revert: true})
			return err
		}},
		{"cherry-pick", func(r *Repo) error { _, err := r.Pick(bg, PickOptions{Commits: []oid.ID{two}}); return err }},
		{"forced restore", func(r *Repo) error {
			puts(t, r, "main", map[string]string{"a": "dirty"})
			_, err := r.Restore(bg, RestoreOptions{From: one, Paths: []string{"a", "d"}, Force: true})
			return err
		}},
		{"snapshot with a tag", func(r *Repo) error {
			_, err := r.Snapshot(bg, SnapshotOptions{Message: "three", Tag: "v3"})
			return err
		}},
		{"checkout of a new branch", func(r *Repo) error { return r.CheckoutNew(bg, "x", one) }},
		{"merge", func(r *Repo) error {
			puts(t, r, "x", map[string]string{"of-x": "1"})
			if _, err := r.Snapshot(bg, SnapshotOptions{Branch: "x"}); err != nil {
				return err
			}
			_, err := r.Merge(bg, MergeOptions{Branch: "main", With: []string{"x"}, Strategy: method.Spec{Method: method.Fail}})
			return err
		}},
		{"fast-forward", func(r *Repo) error {
			_, err := r.Merge(bg, MergeOptions{Branch: "x", With: []string{"main"}, Strategy: method.Spec{Method: method.Fail}})
			return err
		}},
		{"rename", func(r *Repo) error {
			puts(t, r, "x", map[string]string{"precious": "1"})
			return r.RenameBranch(bg, "x", "y")
		}},
		{"undo of the rename", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{}); return err }},
		{"deletion", func(r *Repo) error {
			if err := r.SetHead(bg, ref.Head{Branch: "main"}); err != nil {
				return err
			}
			must(t, r.CreateBranch(bg, "z", two))
			_, err := r.LiveTree(bg, "z")
			must(t, err)
			return r.DeleteBranch(bg, true, "x", "z")
		}},
		{"undo of the deletion", func(r *Repo) error { _, err := r.Undo(bg, UndoOptions{}); return err }},
	}
	r := newRepo(t)
	one = commit(t, r, "one", map[string]string{"a": "1", "d/b": "1"})
	two = commit(t, r, "two", map[string]string{"a": "2", "d/b": "", "c": "2"})
	copied := ""
	n := 0
	r.OnRefsChanged(func() {
		n++
		copied = filepath.Join(t.TempDir(), fmt.Sprint(n))
		must(t, os.CopyFS(copied, os.DirFS(r.Dir)))
	})
	for _, c := range commands {
		if err := c.run(r); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := stateOf(t, r)
		listed := listOf(t, r)
		ro, err := Open(bg, copied, Options{ReadOnly: true}) // first: it finishes nothing
		must(t, err)
		if got := listOf(t, ro); got != listed {
			t.Errorf("killed in a %s, it lists read-only\n%s\nand not\n%s", c.name, got, listed)
		}
		must(t, ro.Close(bg))
		if got := stateOf(t, openRepo(t, copied)); got != want {
			t.Errorf("killed in a %s, it is\n%s\nand not\n%s", c.name, got, want)
		}
	}
}

// listOf lists main's live tree without writing.
func listOf(t testing.TB, r *Repo) string {
	t.Helper()
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	list, err := live.Status(bg, oid.ID{})
	must(t, err)
	return fmt.Sprint(list)
}
