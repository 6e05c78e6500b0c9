package vcs

import (
	"context"
	"io"

	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// deps gives live trees what they need of the parts below them.
type deps struct{ r *Repo }

var _ worktree.Deps = deps{}

// Tree implements worktree.Deps.
func (d deps) Tree(ctx context.Context, id oid.ID) (*object.Tree, error) {
	return d.r.Objects.Tree(ctx, id)
}

// PutTree implements worktree.Deps.
func (d deps) PutTree(ctx context.Context, t *object.Tree) (oid.ID, error) {
	return d.r.Objects.PutTree(ctx, t)
}

// Manifest implements worktree.Deps.
func (d deps) Manifest(ctx context.Context, id oid.ID) (*object.Manifest, error) {
	return d.r.Objects.Manifest(ctx, id)
}

// Ingest implements worktree.Deps.
func (d deps) Ingest(ctx context.Context, src io.ReaderAt, size int64, path string, prev oid.ID) (oid.ID, int64, error) {
	res, err := d.r.Content.Ingest(ctx, src, size, content.Hint{Path: path, Prev: prev})
	return res.Manifest, res.New, err
}

// Open implements worktree.Deps.
func (d deps) Open(ctx context.Context, manifest oid.ID) (worktree.Content, error) {
	f, err := d.r.Content.Open(ctx, manifest)
	if err != nil {
		return nil, err // not a nil *File in an interface
	}
	return f, nil
}

// Sync implements worktree.Deps.
func (d deps) Sync(ctx context.Context) error { return d.r.Packs.Sync(ctx) }
