package vcs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// RestoreOptions say which paths come back, and from where.
type RestoreOptions struct {
	Branch string // whose live tree; "" is HEAD's
	From   oid.ID // a commit
	Rev    string // how the caller named it, for the log
	Paths  []string
	Force  bool // changes of these paths that are not committed are kept as a commit in the ref log, instead of errs.Conflict
	Author string
}

// RestoreResult says what was done. JSON field names are a promise.
type RestoreResult struct {
	Branch    string `json:"branch"`
	Commit    oid.ID `json:"commit"`        // where paths come from
	Kept      oid.ID `json:"kept,omitzero"` // the commit of what was not committed
	Unchanged bool   `json:"unchanged,omitempty"`
}

// Restore makes paths of a live tree what they are in a commit: files, links, and directories with all that is in them. A path that the commit lacks is removed; one
// that neither has is errs.NotFound. All paths or none. Other paths, and the branch, stay as they are.
func (r *Repo) Restore(ctx context.Context, opts RestoreOptions) (RestoreResult, error) {
	res, err := r.restore(ctx, opts)
	if err != nil {
		return RestoreResult{}, fmt.Errorf("restore: %w", err)
	}
	return res, nil
}

func (r *Repo) restore(ctx context.Context, opts RestoreOptions) (res RestoreResult, err error) {
	branch, done, err := r.beginMove(ctx, opts.Branch, opts.From)
	if err != nil {
		return res, err
	}
	defer done()
	from, err := r.rootOf(ctx, opts.From)
	if err != nil {
		return res, err
	}
	paths := slices.Clone(opts.Paths)
	for i, p := range paths {
		paths[i] = strings.Trim(p, "/")
	}
	author := authorOr(opts.Author)
	res = RestoreResult{Branch: branch, Commit: opts.From}
	why := "restore: paths from " + cmp.Or(opts.Rev, opts.From.Short())
	res.Kept, err = r.moveLive(ctx, liveMove{
		op: "restore", branch: branch, author: author, force: opts.Force,
		tree: func(ctx context.Context, live oid.ID) (oid.ID, error) {
			to, err := r.withPaths(ctx, live, from, paths)
			res.Unchanged = to == live
			return to, err
		},
		inWay: func(path string) bool {
			return slices.ContainsFunc(paths, func(p string) bool { return overlaps(path, p) })
		},
		commit: func(c liveCommit) error { return r.moveBranch(c, branch, c.head, c.head, author, why) },
	})
	return res, err
}

// overlaps says whether one path is the other, or below it.
func overlaps(a, b string) bool {
	below := func(a, b string) bool { return b == "" || a == b || strings.HasPrefix(a, b+"/") }
	return below(a, b) || below(b, a)
}

// withPaths returns the tree that tree becomes with paths as they are in from.
func (r *Repo) withPaths(ctx context.Context, tree, from oid.ID, paths []string) (oid.ID, error) {
	for _, p := range paths {
		if p == "" {
			tree = from
			continue
		}
		want, err := r.EntryAt(ctx, from, p)
		if err != nil {
			return oid.ID{}, err
		}
		have, err := r.EntryAt(ctx, tree, p)
		if err != nil {
			return oid.ID{}, err
		}
		if want == nil && have == nil {
			return oid.ID{}, fmt.Errorf("%q: neither in the commit nor in the live tree: %w", p, errs.NotFound)
		}
		if tree, err = r.setEntry(ctx, tree, p, want); err != nil {
			return oid.ID{}, fmt.Errorf("%q: %w", p, err)
		}
	}
	return tree, nil
}

// EntryAt is Lookup with nil for what is not there.
func (r *Repo) EntryAt(ctx context.Context, tree oid.ID, path string) (*object.Entry, error) {
	at := object.Entry{Kind: object.Dir, ID: tree, Mode: 0o755}
	if path = strings.Trim(path, "/"); path == "" {
		return &at, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := object.CheckName(name); err != nil {
			return nil, fmt.Errorf("look up %q: %w", path, err)
		}
		if at.Kind != object.Dir {
			return nil, nil
		}
		t, err := r.tree(ctx, at.ID) // one that is missing is an error, unlike a name
		if err != nil {
			return nil, fmt.Errorf("look up %q: %w", path, err)
		}
		e, ok := t.Find(name)
		if !ok {
			return nil, nil
		}
		at = e
	}
	return &at, nil
}

// setEntry returns tree with path being e (nil: nothing). Directories on the way are made; one that becomes empty stays, as in a live tree.
func (r *Repo) setEntry(ctx context.Context, tree oid.ID, path string, e *object.Entry) (oid.ID, error) {
	t, err := r.tree(ctx, tree)
	if err != nil {
		return oid.ID{}, err
	}
	name, rest, deeper := strings.Cut(path, "/")
	if err := object.CheckName(name); err != nil {
		return oid.ID{}, err
	}
	out := &object.Tree{Entries: slices.Clone(t.Entries)}
	i, found := slices.BinarySearchFunc(out.Entries, name, func(x object.Entry, name string) int { return strings.Compare(x.Name, name) })
	switch {
	case deeper:
		sub := object.Entry{Name: name, Kind: object.Dir, Mode: 0o755}
		if found && out.Entries[i].Kind == object.Dir {
			sub = out.Entries[i]
		}
		if sub.ID, err = r.setEntry(ctx, sub.ID, rest, e); err != nil {
			return oid.ID{}, err
		}
		if !found {
			out.Entries = slices.Insert(out.Entries, i, sub)
		} else {
			out.Entries[i] = sub
		}
	case e == nil && found:
		out.Entries = slices.Delete(out.Entries, i, i+1)
	case e == nil:
	case found:
		out.Entries[i] = *e
	default:
		out.Entries = slices.Insert(out.Entries, i, *e)
	}
	return r.Objects.PutTree(ctx, out)
}
