package worktree

import (
	"context"
	"fmt"

	"coral/internal/oid"
	"coral/vcs/object"
)

// Listed is a name of a live tree, as a commit would have it. ID is the manifest of a file (zero while it is dirty) and the tree of a
// directory (zero once something changed in it): what has the same id in a commit is the same, and need not be listed.
type Listed struct {
	object.Entry
	Dirty bool
	Ino   Ino   // zero for what is not in memory: then ID says all
	n     *node // a directory that is in memory
}

// Top returns the root directory, to be listed.
func (t *Tree) Top() Listed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return listed(t.live(t.root))
}

// List returns the names of a directory, sorted; what a commit cannot hold is left out. Directories are not brought into memory by
// it. What is changed meanwhile may be seen or not.
func (t *Tree) List(ctx context.Context, dir Listed) ([]Listed, error) {
	s := &statusWalk{t: t, ctx: ctx}
	list, err := s.entries(liveEntry{Entry: dir.Entry, d: dir.n})
	if err != nil {
		return nil, fmt.Errorf("list a directory of %s: %w", t.Branch(), err)
	}
	out := make([]Listed, len(list))
	for i, e := range list {
		out[i] = listed(e)
	}
	return out, nil
}

func listed(e liveEntry) Listed {
	l := Listed{Entry: e.Entry, Dirty: e.dirty, Ino: e.ino, n: e.d}
	if e.Kind == object.File && e.dirty {
		l.ID = oid.ID{}
	}
	return l
}
