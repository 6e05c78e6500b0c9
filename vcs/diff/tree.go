package diff

import (
	"context"

	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/tensor"
	"coral/vcs/worktree"
)

// Node is a file, directory or link of a side. Equal ids of two nodes of a kind mean equal content; a zero id means nothing.
type Node struct {
	object.Entry
	Path string // "" is the root of the side
	live worktree.Listed
}

// Content is an opened file. Source is safe for concurrent use.
type Content struct {
	tensor.Source
	Size     int64
	Manifest *object.Manifest // nil if the file is not stored
	Beside   tensor.Beside    // of one that is not; nil if its directory is not known
	Close    func() error     // never nil
}

// Tree is one side of a comparison.
type Tree interface {
	// Root returns what is compared: a directory, or a single file.
	Root(ctx context.Context) (Node, error)
	// List returns the entries of a directory, sorted by name bytewise.
	List(ctx context.Context, dir Node) ([]Node, error)
	// Open opens a regular file.
	Open(ctx context.Context, file Node) (*Content, error)
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func noClose() error { return nil }

// Empty is a side without files: what the first commit is compared with.
type Empty struct{}

// Root implements Tree.
func (Empty) Root(context.Context) (Node, error) {
	return Node{Entry: object.Entry{Kind: object.Dir}}, nil
}

// List implements Tree.
func (Empty) List(context.Context, Node) ([]Node, error) { return nil, nil }

// Open implements Tree.
func (Empty) Open(context.Context, Node) (*Content, error) { return nil, errs.NotFound }
