package diff

import (
	"context"
	"fmt"
	"os"
	"path"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// Stored is a tree, or one file, of a commit.
type Stored struct {
	Objects *object.Store
	Content *content.Store
	Top     object.Entry // what is compared; a directory with a zero id is empty
}

// Root implements Tree.
func (s *Stored) Root(context.Context) (Node, error) { return rootNode(s.Top), nil }

// rootNode is e as the root of a side: a file keeps its name, since it has no other path.
func rootNode(e object.Entry) Node {
	n := Node{Entry: e}
	if e.Kind != object.Dir {
		n.Path = path.Base("/" + e.Name)
	}
	return n
}

// List implements Tree.
func (s *Stored) List(ctx context.Context, dir Node) ([]Node, error) {
	if dir.ID.IsZero() {
		return nil, nil
	}
	t, err := s.Objects.Tree(ctx, dir.ID)
	if err != nil {
		return nil, err
	}
	out := make([]Node, len(t.Entries))
	for i, e := range t.Entries {
		out[i] = Node{Entry: e, Path: join(dir.Path, e.Name)}
	}
	return out, nil
}

// Open implements Tree.
func (s *Stored) Open(ctx context.Context, file Node) (*Content, error) {
	return openStored(ctx, s.Content, file.ID)
}

func openStored(ctx context.Context, c *content.Store, manifest oid.ID) (*Content, error) {
	f, err := c.Open(ctx, manifest)
	if err != nil {
		return nil, err
	}
	return &Content{Source: f, Size: f.Size(), Manifest: f.Manifest(), Close: noClose}, nil
}

// Live is the live tree of a branch, or a part of it.
type Live struct {
	Tree    *worktree.Tree
	Content *content.Store
	Path    string // "" is all of it
}

// Root implements Tree.
func (l *Live) Root(ctx context.Context) (Node, error) {
	at := l.Tree.Top()
	n := Node{Entry: at.Entry, live: at}
	if l.Path == "" {
		return n, nil
	}
	// One level at a time, as lookups go.
	for rest := l.Path; rest != ""; {
		var name string
		name, rest = cut(rest)
		if n.Kind != object.Dir {
			return Node{}, fmt.Errorf("look up %q: %w", l.Path, errs.NotDir)
		}
		list, err := l.List(ctx, n)
		if err != nil {
			return Node{}, err
		}
		found := false
		for _, e := range list {
			if e.Name == name {
				n, found = e, true
				break
			}
		}
		if !found {
			return Node{}, fmt.Errorf("look up %q: %q: %w", l.Path, name, errs.NotFound)
		}
	}
	root := rootNode(n.Entry)
	root.live = n.live
	return root, nil
}

// cut divides a path after its first component.
func cut(p string) (first, rest string) {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i], p[i+1:]
		}
	}
	return p, ""
}

// List implements Tree.
func (l *Live) List(ctx context.Context, dir Node) ([]Node, error) {
	list, err := l.Tree.List(ctx, dir.live)
	if err != nil {
		return nil, err
	}
	out := make([]Node, len(list))
	for i, e := range list {
		out[i] = Node{Entry: e.Entry, Path: join(dir.Path, e.Name), live: e}
	}
	return out, nil
}

// Open implements Tree. A file that is not stored yet is read as it is now; one that is changed or cut off meanwhile may give an error.
func (l *Live) Open(ctx context.Context, file Node) (*Content, error) {
	if !file.ID.IsZero() {
		return openStored(ctx, l.Content, file.ID)
	}
	h, err := l.Tree.Open(ctx, file.live.Ino, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &Content{Source: h, Size: file.Size, Close: h.Close}, nil
}
