package vcs

import (
	"context"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// marker collects what can be reached: commits over their parents, trees, manifests, blobs, and what blobs are deltas of or derived from.
type marker struct {
	r       *Repo
	seen    map[oid.ID]struct{}
	lenient bool // pass over what is not there: roots that may be gone already
	shallow bool // leave out what blobs are deltas of
	stack   []marked
}

// marked is an object that was seen and not yet looked into.
type marked struct {
	id   oid.ID
	kind objstore.Kind
}

func newMarker(r *Repo) *marker { return &marker{r: r, seen: map[oid.ID]struct{}{}} }

// mark adds id and what it reaches. The zero id is nothing.
func (m *marker) mark(ctx context.Context, id oid.ID, kind objstore.Kind) error {
	m.push(id, kind)
	for n := 0; len(m.stack) > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		top := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		err := m.open(ctx, top)
		if err != nil && !(m.lenient && errors.Is(err, errs.NotFound)) {
			m.stack = m.stack[:0]
			return fmt.Errorf("%s %s: %w", top.kind, top.id.Short(), err)
		}
	}
	return nil
}

func (m *marker) push(id oid.ID, kind objstore.Kind) {
	if _, ok := m.seen[id]; ok || id.IsZero() {
		return
	}
	m.seen[id] = struct{}{}
	m.stack = append(m.stack, marked{id, kind})
}

func (m *marker) open(ctx context.Context, o marked) error {
	switch o.kind {
	case objstore.Tag:
		t, err := m.r.Objects.Tag(ctx, o.id)
		if err != nil {
			return err
		}
		m.push(t.Target, objstore.Commit)
	case objstore.Commit:
		c, err := m.r.Objects.Commit(ctx, o.id)
		if err != nil {
			return err
		}
		m.push(c.Tree, objstore.Tree)
		for _, p := range c.Parents {
			m.push(p, objstore.Commit)
		}
	case objstore.Tree:
		t, err := m.r.Objects.Tree(ctx, o.id)
		if err != nil {
			return err
		}
		for i := range t.Entries {
			m.push(t.Entries[i].ID, kindOf(t.Entries[i].Kind))
		}
	case objstore.Manifest:
		f, err := m.r.Objects.Manifest(ctx, o.id)
		if err != nil {
			return err
		}
		for i := range f.Segments {
			m.push(f.Segments[i].Blob, objstore.Blob)
		}
	case objstore.Blob:
		if m.shallow {
			return nil
		}
		needs, err := m.r.Content.References(ctx, o.id)
		if err != nil {
			return err
		}
		for _, id := range needs {
			m.push(id, objstore.Blob)
		}
	}
	return nil
}

// kindOf returns the kind of object that an entry of kind k has; a symlink's id is zero.
func kindOf(k object.FileKind) objstore.Kind {
	if k == object.Dir {
		return objstore.Tree
	}
	return objstore.Manifest
}

// whole proves that a name may be given to commit: everything that it reaches is there. What a name reaches already is whole; else
// a collection may have dropped parts, and everything is looked at. The zero id is whole.
func (r *Repo) whole(ctx context.Context, commit oid.ID) error {
	if commit.IsZero() {
		return nil
	}
	info, err := r.Packs.Stat(commit) // not from a cache: a collection may have just dropped it
	if err != nil {
		return fmt.Errorf("commit %s: %w", commit.Short(), err)
	}
	if info.Kind != objstore.Commit {
		return fmt.Errorf("%s is a %s, not a commit: %w", commit.Short(), info.Kind, errs.Invalid)
	}
	tips, err := r.tips()
	if err != nil {
		return err
	}
	reached := false
	pass := func(oid.ID, error) error { return nil } // damage elsewhere is fsck's
	err = r.eachCommit(ctx, tips, pass, func(id oid.ID, _ *object.Commit) (bool, error) {
		reached = id == commit
		return !reached, nil
	})
	if err != nil || reached {
		return err
	}
	if err := newMarker(r).mark(ctx, commit, objstore.Commit); err != nil {
		return fmt.Errorf("commit %s is not whole any more: %w", commit.Short(), err)
	}
	return nil
}
