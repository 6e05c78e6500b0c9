package vcs

import (
	"context"
	"fmt"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// maxDepth bounds how deep trees are walked: far deeper than paths can name, and shallow enough for a stack.
const maxDepth = 1 << 14

// Lookup finds path ("" is the root directory) in a tree. Symlinks are not followed.
func (r *Repo) Lookup(ctx context.Context, tree oid.ID, path string) (object.Entry, error) {
	at := object.Entry{Kind: object.Dir, ID: tree, Mode: 0o755}
	path = strings.Trim(path, "/")
	if path == "" {
		return at, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := object.CheckName(name); err != nil {
			return object.Entry{}, fmt.Errorf("look up %q: %w", path, err)
		}
		if at.Kind != object.Dir {
			return object.Entry{}, fmt.Errorf("look up %q: %q is a %s: %w", path, at.Name, at.Kind, errs.NotDir)
		}
		t, err := r.tree(ctx, at.ID)
		if err != nil {
			return object.Entry{}, fmt.Errorf("look up %q: %w", path, err)
		}
		e, ok := t.Find(name)
		if !ok {
			return object.Entry{}, fmt.Errorf("look up %q: %q: %w", path, name, errs.NotFound)
		}
		at = e
	}
	return at, nil
}

// tree returns a tree; the zero id is the empty one.
func (r *Repo) tree(ctx context.Context, id oid.ID) (*object.Tree, error) {
	if id.IsZero() {
		return &object.Tree{}, nil
	}
	return r.Objects.Tree(ctx, id)
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
