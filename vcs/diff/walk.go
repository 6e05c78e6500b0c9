package diff

import (
	"context"
	"fmt"
	"path"
	"strings"

	"coral/internal/errs"
	"coral/vcs/object"
)

// Kinds of a file's change.
const (
	FileAdded    = "added"
	FileDeleted  = "deleted"
	FileModified = "modified"
	FileRenamed  = "renamed" // the same content, or the same tensors, under another path
	FileMode     = "mode"
	FileType     = "type"
	FileEqual    = "equal" // only if Options.Whole
)

// filePair is a path that differs. a or b is nil where it is on one side only.
type filePair struct {
	kind string
	a, b *Node
}

// Limits of one run.
const (
	MaxFiles   = 1 << 20 // files that differ
	MaxTensors = 1 << 20 // tensors of a side in them
	maxDepth   = 1 << 12 // of directories
)

// walker pairs two sides by path. Directories of one id are not read, unless everything is wanted.
type walker struct {
	ctx   context.Context
	a, b  Tree
	whole bool
	keep  func(path string) bool // of files; nil: all
	out   []filePair
}

func (w *walker) run() error {
	ra, err := w.a.Root(w.ctx)
	if err != nil {
		return err
	}
	rb, err := w.b.Root(w.ctx)
	if err != nil {
		return err
	}
	if ra.Kind == object.Dir && rb.Kind == object.Dir {
		return w.dirs(&ra, &rb, 0)
	}
	if ra.Kind != object.File || rb.Kind != object.File {
		return fmt.Errorf("one side is a %s, the other a %s: give two files, or two directories: %w", kindName(ra.Kind), kindName(rb.Kind), errs.Invalid)
	}
	return w.both(&ra, &rb, 0) // two files are compared whatever they are called
}

func kindName(k object.FileKind) string {
	if k == object.Dir {
		return "directory"
	}
	return k.String()
}

func (w *walker) list(t Tree, dir *Node) ([]Node, error) {
	if dir == nil {
		return nil, nil
	}
	return t.List(w.ctx, *dir)
}

// dirs compares two directories; one of them may be nil.
func (w *walker) dirs(a, b *Node, depth int) error {
	if a != nil && b != nil && !w.whole && !a.ID.IsZero() && a.ID == b.ID {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("directories deeper than %d: %w", maxDepth, errs.Invalid)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	la, err := w.list(w.a, a)
	if err != nil {
		return err
	}
	lb, err := w.list(w.b, b)
	if err != nil {
		return err
	}
	for len(la) > 0 || len(lb) > 0 {
		switch {
		case len(lb) == 0 || len(la) > 0 && la[0].Name < lb[0].Name:
			err = w.one(&la[0], nil, depth)
			la = la[1:]
		case len(la) == 0 || lb[0].Name < la[0].Name:
			err = w.one(nil, &lb[0], depth)
			lb = lb[1:]
		default:
			err = w.both(&la[0], &lb[0], depth)
			la, lb = la[1:], lb[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one takes what is on one side only, with all below it. Empty directories are no change to a file.
func (w *walker) one(a, b *Node, depth int) error {
	n, kind := a, FileDeleted
	if a == nil {
		n, kind = b, FileAdded
	}
	if n.Kind == object.Dir {
		return w.dirs(a, b, depth+1)
	}
	return w.add(kind, a, b)
}

func (w *walker) both(a, b *Node, depth int) error {
	switch {
	case a.Kind != b.Kind && (a.Kind == object.Dir || b.Kind == object.Dir):
		if err := w.one(a, nil, depth); err != nil {
			return err
		}
		return w.one(nil, b, depth)
	case a.Kind != b.Kind:
		return w.add(FileType, a, b)
	case a.Kind == object.Dir:
		return w.dirs(a, b, depth+1)
	case a.Kind == object.Symlink && a.Target != b.Target:
		return w.add(FileModified, a, b)
	case a.Kind == object.File && (a.ID.IsZero() || a.ID != b.ID):
		return w.add(FileModified, a, b) // until it is known to be equal
	case a.Mode != b.Mode && a.Kind == object.File:
		return w.add(FileMode, a, b)
	case w.whole && a.Kind == object.File:
		return w.add(FileEqual, a, b)
	}
	return nil // another mtime alone is no change
}

func (w *walker) add(kind string, a, b *Node) error {
	if w.keep != nil && !(a != nil && w.keep(a.Path)) && !(b != nil && w.keep(b.Path)) {
		return nil
	}
	if len(w.out) == MaxFiles {
		return fmt.Errorf("more than %d files differ: narrow it by a path: %w", MaxFiles, errs.TooLarge)
	}
	p := filePair{kind: kind}
	if a != nil {
		n := *a
		p.a = &n // not the listing that it was in
	}
	if b != nil {
		n := *b
		p.b = &n
	}
	w.out = append(w.out, p)
	return nil
}

// Glob returns what tells whether a path matches one of globs: as a whole if a glob has a slash, else by its last component. None is nil:
// everything matches.
func Glob(globs []string) (func(string) bool, error) {
	for _, g := range globs {
		if _, err := path.Match(g, ""); err != nil {
			return nil, fmt.Errorf("glob %q: %w", g, errs.Invalid)
		}
	}
	if len(globs) == 0 {
		return nil, nil
	}
	return func(p string) bool {
		for _, g := range globs {
			s := p
			if !strings.Contains(g, "/") {
				s = path.Base(p)
			}
			if ok, _ := path.Match(g, s); ok { // the pattern was found good
				return true
			}
		}
		return false
	}, nil
}
