package merge

import (
	"context"
	"fmt"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/merge/method"
	"coral/vcs/object"
)

// maxDepth bounds how deep trees are walked.
const maxDepth = 1 << 14

// root merges the root directories and returns the tree, zero while it is only planned.
func (m *merger) root(ctx context.Context) (oid.ID, error) {
	dir := func(id oid.ID) *object.Entry { return &object.Entry{Kind: object.Dir, ID: id, Mode: 0o755} }
	var base *object.Entry
	if !m.Base.IsZero() {
		base = dir(m.Base)
	}
	var sides []*object.Entry
	for _, id := range m.Sides {
		sides = append(sides, dir(id))
	}
	tree, err := m.dir(ctx, "", base, sides, 0)
	if err != nil || !m.make {
		return oid.ID{}, err
	}
	return m.store.PutTree(ctx, tree)
}

// dir merges directories; nil where there is none.
func (m *merger) dir(ctx context.Context, path string, base *object.Entry, sides []*object.Entry, depth int) (*object.Tree, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("merge %q: %d directories deep: %w", path, depth, errs.TooLarge)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := m.tree(ctx, base)
	if err != nil {
		return nil, err
	}
	trees := make([]*object.Tree, len(sides))
	var names []string
	for i, s := range sides {
		if trees[i], err = m.tree(ctx, s); err != nil {
			return nil, err
		}
		for k := range trees[i].Entries {
			names = append(names, trees[i].Entries[k].Name)
		}
	}
	slices.Sort(names) // what only the base has is gone on all sides
	here, err := m.count(ctx, path, trees[0])
	if err != nil {
		return nil, err
	}
	out := &object.Tree{}
	for _, name := range slices.Compact(names) {
		entries := make([]*object.Entry, len(sides))
		for i, t := range trees {
			entries[i] = find(t, name)
		}
		p := name
		if path != "" {
			p = path + "/" + name
		}
		m.layers = here // a directory before has set its own
		e, err := m.entry(ctx, p, find(b, name), entries, depth)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out.Entries = append(out.Entries, *e)
		}
	}
	return out, nil
}

func (m *merger) tree(ctx context.Context, e *object.Entry) (*object.Tree, error) {
	if e == nil || e.ID.IsZero() {
		return &object.Tree{}, nil
	}
	return m.store.Tree(ctx, e.ID)
}

func find(t *object.Tree, name string) *object.Entry {
	if e, ok := t.Find(name); ok {
		return &e
	}
	return nil
}

// same reports whether two entries have the same content; nil is no entry.
func same(a, b *object.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.ID == b.ID && a.Target == b.Target
}

// entry merges one name.
func (m *merger) entry(ctx context.Context, path string, base *object.Entry, sides []*object.Entry, depth int) (*object.Entry, error) {
	dirs, others := 0, 0
	for _, s := range sides {
		switch {
		case s == nil:
		case s.Kind == object.Dir:
			dirs++
		default:
			others++
		}
	}
	equal := true
	for _, s := range sides[1:] {
		equal = equal && same(s, sides[0])
	}
	if equal || dirs == 0 || others > 0 {
		return m.leaf(ctx, path, base, sides, equal)
	}
	if base != nil && base.Kind != object.Dir {
		base = nil
	}
	t, err := m.dir(ctx, path, base, sides, depth+1)
	if err != nil {
		return nil, err
	}
	if len(t.Entries) == 0 && dirs < len(sides) && base != nil {
		return nil, nil // deleted somewhere, and nothing in it was changed elsewhere
	}
	e := object.Entry{Name: first(sides).Name, Kind: object.Dir, Mode: mode(base, sides)}
	if m.make {
		if e.ID, err = m.store.PutTree(ctx, t); err != nil {
			return nil, err
		}
	}
	return &e, nil
}

func first(sides []*object.Entry) *object.Entry {
	return sides[slices.IndexFunc(sides, func(e *object.Entry) bool { return e != nil })]
}

// mode merges permission bits; of different changes ours stays.
func mode(base *object.Entry, sides []*object.Entry) uint32 {
	got := first(sides).Mode
	if base == nil {
		return got
	}
	for _, s := range sides {
		if s != nil && s.Mode != base.Mode {
			return s.Mode
		}
	}
	return got
}

// leaf merges what are not directories on all sides.
func (m *merger) leaf(ctx context.Context, path string, base *object.Entry, sides []*object.Entry, equal bool) (*object.Entry, error) {
	if equal {
		return m.settle(path, base, sides, 0), nil
	}
	changed := -1
	agree := true
	for i, s := range sides {
		if same(s, base) {
			continue
		}
		if changed < 0 {
			changed = i
		}
		agree = agree && same(s, sides[changed])
	}
	files := !slices.ContainsFunc(sides, func(e *object.Entry) bool { return e == nil || e.Kind != object.File })
	if agree && !(m.All && files) {
		return m.settle(path, base, sides, changed), nil
	}
	if files {
		if e, done, err := m.content(ctx, path, base, sides); done || err != nil {
			return e, err
		}
		if agree {
			return m.settle(path, base, sides, changed), nil
		}
	}
	s, _ := m.strategy(path, "")
	if s.Computes() {
		s.Method = m.Fallback
	}
	switch s.Method {
	case method.Ours:
		return m.settle(path, base, sides, 0), nil
	case method.Theirs:
		return m.settle(path, base, sides, 1), nil
	}
	m.conflict(path, "", "%s", clash(base, sides, files))
	return nil, nil
}

// settle takes the content of a side, and merges the permission bits.
func (m *merger) settle(path string, base *object.Entry, sides []*object.Entry, i int) *object.Entry {
	ours, e := sides[0], sides[i]
	switch {
	case same(ours, e):
		e = ours
	case e == nil:
		m.report(File{Path: path, Action: "deleted"})
	case ours == nil:
		m.report(File{Path: path, Action: "added"})
	default:
		m.report(File{Path: path, Action: "taken"})
	}
	if e == nil {
		return nil
	}
	out := *e
	if base == nil || base.Kind == e.Kind {
		out.Mode = mode(base, slices.DeleteFunc(slices.Clone(sides), func(s *object.Entry) bool { return s == nil || s.Kind != e.Kind }))
	}
	return &out
}

// clash says how sides differ.
func clash(base *object.Entry, sides []*object.Entry, files bool) string {
	switch {
	case slices.Contains(sides, nil) && base != nil:
		return "deleted on one side and changed on another"
	case !files:
		return "of another kind on each side"
	case base == nil:
		return "added on several sides, and not a file of tensors on all"
	}
	return "changed on several sides, and not a file of tensors on all"
}
