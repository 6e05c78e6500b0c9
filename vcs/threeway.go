package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// filesMerge is a three-way merge of trees by file: what only one side changed is taken, what both changed in the same way too, the rest are conflicts.
// Contents are not looked into.
type filesMerge struct {
	r         *Repo
	ctx       context.Context // of the one call that it lives for
	conflicts []string
}

// mergeFiles merges trees (zero: empty) and stores the result. Paths that both changed in different ways are errs.Conflict.
func (r *Repo) mergeFiles(ctx context.Context, base, ours, theirs oid.ID) (oid.ID, error) {
	m := &filesMerge{r: r, ctx: ctx}
	id, err := m.trees(base, ours, theirs, "", 0)
	if err != nil {
		return oid.ID{}, err
	}
	if n := len(m.conflicts); n > 0 {
		const shown = 5
		text := strings.Join(m.conflicts[:min(n, shown)], ", ")
		if n > shown {
			text += fmt.Sprintf(" and %d more", n-shown)
		}
		return oid.ID{}, fmt.Errorf("changed on both sides: %s: %w", text, errs.Conflict)
	}
	return id, nil
}

func (m *filesMerge) trees(base, ours, theirs oid.ID, path string, depth int) (oid.ID, error) {
	if err := m.ctx.Err(); err != nil {
		return oid.ID{}, err
	}
	if depth > maxDepth {
		return oid.ID{}, fmt.Errorf("%s: too deep: %w", path, errs.Invalid)
	}
	var sides [3]map[string]*object.Entry
	names := map[string]bool{}
	for i, id := range []oid.ID{base, ours, theirs} {
		t, err := m.r.tree(m.ctx, id)
		if err != nil {
			return oid.ID{}, err
		}
		sides[i] = make(map[string]*object.Entry, len(t.Entries))
		for j := range t.Entries {
			e := &t.Entries[j]
			sides[i][e.Name] = e
			names[e.Name] = true
		}
	}
	out := &object.Tree{}
	for name := range names {
		e, err := m.entry(sides[0][name], sides[1][name], sides[2][name], join(path, name), depth)
		if err != nil {
			return oid.ID{}, err
		}
		if e != nil {
			out.Entries = append(out.Entries, *e)
		}
	}
	slices.SortFunc(out.Entries, func(a, b object.Entry) int { return strings.Compare(a.Name, b.Name) })
	if len(m.conflicts) > 0 {
		slices.Sort(m.conflicts)
		return oid.ID{}, nil // nobody will want the tree
	}
	return m.r.Objects.PutTree(m.ctx, out)
}

// entry merges what is under one name; nil is nothing.
func (m *filesMerge) entry(base, ours, theirs *object.Entry, path string, depth int) (*object.Entry, error) {
	switch {
	case object.SameContent(base, theirs), object.SameContent(ours, theirs):
		return ours, nil
	case object.SameContent(base, ours):
		return theirs, nil
	}
	// A directory that one side deleted and the other changed within is merged by file too.
	dir := func(e *object.Entry) bool { return e == nil || e.Kind == object.Dir }
	if !dir(ours) || !dir(theirs) || ours == nil && theirs == nil || base != nil && base.Kind != object.Dir {
		m.conflicts = append(m.conflicts, path)
		return nil, nil
	}
	tree := func(e *object.Entry) (id oid.ID) {
		if e != nil {
			id = e.ID
		}
		return id
	}
	id, err := m.trees(tree(base), tree(ours), tree(theirs), path, depth+1)
	if err != nil {
		return nil, err
	}
	if id == emptyTree && (ours == nil || theirs == nil) {
		return nil, nil
	}
	e := object.Entry{Name: path[strings.LastIndexByte(path, '/')+1:], Kind: object.Dir, ID: id}
	switch {
	case ours == nil:
		e.Mode = theirs.Mode
	case theirs == nil || base != nil && theirs.Mode == base.Mode:
		e.Mode = ours.Mode
	default:
		e.Mode = theirs.Mode
	}
	return &e, nil
}
