package worktree

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/oid"
	"coral/vcs/object"
)

// Status compares the live tree with a committed one (zero: empty), by path. Directories appear only when they are empty, deleted as a whole, or have
// another mode. Times do not count, as in git; what a commit cannot hold is left out. A file that is dirty counts as modified until it has been ingested.
func (t *Tree) Status(ctx context.Context, head oid.ID) ([]Change, error) {
	s := &statusWalk{t: t, ctx: ctx}
	t.mu.RLock()
	root := t.live(t.root)
	t.mu.RUnlock()
	if err := s.dir(root, head, ""); err != nil {
		return nil, fmt.Errorf("status of %s: %w", t.Branch(), err)
	}
	slices.SortFunc(s.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return s.changes, nil
}

// liveEntry is a name as it is in the live tree: an entry as a commit would have it, and what else matters.
type liveEntry struct {
	object.Entry
	d     *node  // a directory that is in memory; nil: Entry.ID says all
	ino   Ino    // zero if it is not in memory
	state string // of a file
	dirty bool
}

// live describes a node. t.mu is held.
func (t *Tree) live(n *node) liveEntry {
	e := liveEntry{Entry: object.Entry{Kind: n.fileKind(), Mode: n.mode & permMask, Size: n.size, ID: n.id}, ino: n.ino, state: "stored", dirty: n.dirty()}
	switch {
	case n.isDir():
		if n.is(flagLoaded) {
			e.d = n
		}
		if n.is(flagChanged) {
			e.ID = oid.ID{}
		}
	case n.isSymlink():
		e.Target = n.x.target
	case n.writers():
		e.state = "open"
	case e.dirty:
		e.state = "queued"
	}
	return e
}

type statusWalk struct {
	t       *Tree
	ctx     context.Context
	changes []Change
}

func (s *statusWalk) add(path, kind, state string) {
	s.changes = append(s.changes, Change{Path: path, Kind: kind, State: state})
}

// entries lists a directory of the live tree, in order of names.
func (s *statusWalk) entries(e liveEntry) ([]liveEntry, error) {
	var list []liveEntry
	if e.d != nil {
		s.t.mu.RLock()
		for name, n := range e.d.children {
			if !n.isSpecial() {
				c := s.t.live(n)
				c.Name = name
				list = append(list, c)
			}
		}
		s.t.mu.RUnlock()
		slices.SortFunc(list, func(a, b liveEntry) int { return strings.Compare(a.Name, b.Name) })
		return list, nil
	}
	tree, err := s.tree(e.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range tree.Entries {
		list = append(list, liveEntry{Entry: c, state: "stored"})
	}
	return list, nil
}

func (s *statusWalk) tree(id oid.ID) (*object.Tree, error) {
	if id.IsZero() {
		return &object.Tree{}, nil
	}
	return s.t.set.deps.Tree(s.ctx, id)
}

// dir compares a live directory with a committed tree.
func (s *statusWalk) dir(e liveEntry, head oid.ID, path string) error {
	if !e.ID.IsZero() && e.ID == head {
		return nil
	}
	live, err := s.entries(e)
	if err != nil {
		return err
	}
	tree, err := s.tree(head)
	if err != nil {
		return err
	}
	was := tree.Entries
	for _, c := range live {
		for len(was) > 0 && was[0].Name < c.Name {
			s.add(join(path, was[0].Name), "deleted", "stored")
			was = was[1:]
		}
		p := join(path, c.Name)
		if len(was) > 0 && was[0].Name == c.Name {
			err = s.both(c, was[0], p)
			was = was[1:]
		} else {
			err = s.added(c, p)
		}
		if err != nil {
			return err
		}
	}
	for _, w := range was {
		s.add(join(path, w.Name), "deleted", "stored")
	}
	return nil
}

// both compares what has the same path.
func (s *statusWalk) both(c liveEntry, was object.Entry, path string) error {
	switch {
	case c.Kind != was.Kind:
		s.add(path, "type", c.state)
		if c.Kind == object.Dir {
			return s.dir(c, oid.ID{}, path)
		}
		return nil
	case c.Kind == object.Dir:
		if c.Mode != was.Mode&permMask {
			s.add(path, "mode", c.state)
		}
		return s.dir(c, was.ID, path)
	case c.Kind == object.Symlink:
		if c.Target != was.Target {
			s.add(path, "modified", c.state)
		}
	case c.dirty || c.ID != was.ID:
		s.add(path, "modified", c.state)
	case c.Mode != was.Mode&permMask:
		s.add(path, "mode", c.state)
	}
	return nil
}

// added lists a file, or all files of a directory, or the directory if there are none.
func (s *statusWalk) added(c liveEntry, path string) error {
	before := len(s.changes)
	if c.Kind == object.Dir {
		if err := s.dir(c, oid.ID{}, path); err != nil {
			return err
		}
	}
	if len(s.changes) == before {
		s.add(path, "added", c.state)
	}
	return nil
}
