package fs

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
)

// BenchmarkListCommits lists commits/ of a history of 100,000 commits: the first time with the commit graph read from its file, and again after a commit.
func BenchmarkListCommits(b *testing.B) {
	const n = 100_000
	dir := filepath.Join(b.TempDir(), ".coral")
	if err := vcs.Init(filepath.Dir(dir)); err != nil {
		b.Fatal(err)
	}
	open := func() *vcs.Repo {
		r, err := vcs.Open(b.Context(), dir, vcs.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	r := open()
	tree, err := r.Objects.PutTree(b.Context(), &object.Tree{})
	if err != nil {
		b.Fatal(err)
	}
	var at oid.ID
	for i := range n {
		c := &object.Commit{Tree: tree, Author: "Bench <bench@localhost>", Time: time.Unix(int64(i), 0), Message: fmt.Sprintf("step %d", i)}
		if !at.IsZero() {
			c.Parents = []oid.ID{at}
		}
		if at, err = r.Objects.PutCommit(b.Context(), c); err == nil {
			_, err = r.Graph.Node(b.Context(), at) // as a snapshot does
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Refs.MoveBranch("main", oid.ID{}, at, "bench", "commits"); err != nil {
		b.Fatal(err)
	}
	if err := r.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r := open()
		m := &Mount{repo: r, base: b.Context()}
		names, err := m.listCommits()
		if err != nil || len(names) != n {
			b.Fatalf("%d commits, %v", len(names), err)
		}
		if err := r.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
