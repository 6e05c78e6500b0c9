package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// located is what a Target names: an entry of a commit, or an inode of a live tree.
type located struct {
	target Target
	commit oid.ID         // of a target that is not live
	c      *object.Commit // of commit
	entry  object.Entry   // of a target that is not live, and of live files that are stored

	tree   *worktree.Tree // of a live target
	branch string
	attr   worktree.Attr
	state  worktree.FileState
}

// locate finds a target. Every error names it.
func (s *Service) locate(ctx context.Context, op string, t Target) (*located, error) {
	l := &located{target: t}
	var err error
	if t.Live {
		err = s.locateLive(ctx, l)
	} else {
		err = s.locateCommit(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.TrimSpace(op+" "+t.String()), err)
	}
	return l, nil
}

func (s *Service) locateCommit(ctx context.Context, l *located) error {
	var err error
	if l.commit, err = s.repo.Resolve(ctx, l.target.Rev); err != nil {
		return err
	}
	if l.c, err = s.repo.Objects.Commit(ctx, l.commit); err != nil {
		return err
	}
	l.entry = object.Entry{Kind: object.Dir, ID: l.c.Tree, Mode: 0o755, MTime: l.c.Time}
	if l.target.Path != "" {
		l.entry, err = s.repo.Lookup(ctx, l.c.Tree, l.target.Path)
	}
	return err
}

func (s *Service) locateLive(ctx context.Context, l *located) error {
	s.settle(ctx)
	var err error
	if l.branch, err = s.branchOr(l.target.Rev); err != nil {
		return err
	}
	if l.tree, err = s.repo.LiveTree(ctx, l.branch); err != nil {
		return err
	}
	if l.attr, err = walkLive(ctx, l.tree, l.target.Path); err != nil {
		return err
	}
	l.entry, l.state, err = liveEntry(ctx, l.tree, path.Base("/"+l.target.Path), l.attr)
	return err
}

// walkLive looks p up in a live tree, not following symbolic links.
func walkLive(ctx context.Context, t *worktree.Tree, p string) (worktree.Attr, error) {
	at, err := t.Getattr(ctx, t.Root())
	if err != nil || p == "" {
		return at, err
	}
	for name := range strings.SplitSeq(p, "/") {
		if at.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return at, errs.NotDir
		}
		if at, err = t.Lookup(ctx, at.Ino, name); err != nil {
			return at, err
		}
	}
	return at, nil
}

// liveEntry describes an inode of a live tree as a tree entry; Kind is 0 for what a commit cannot hold, and ID is zero for
// a file that is not stored yet.
func liveEntry(ctx context.Context, t *worktree.Tree, name string, at worktree.Attr) (object.Entry, worktree.FileState, error) {
	e := object.Entry{Name: name, Mode: at.Mode & 0o7777, MTime: at.Mtime, Size: at.Size}
	var st worktree.FileState
	var err error
	switch at.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		e.Kind, e.Size = object.Dir, 0
	case syscall.S_IFREG:
		e.Kind = object.File
		if st, err = t.State(ctx, at.Ino); err == nil {
			e.ID = st.Manifest
		}
	case syscall.S_IFLNK:
		e.Kind = object.Symlink
		e.Target, err = t.Readlink(ctx, at.Ino)
	}
	return e, st, err
}

// EntryInfo is one file, directory or link as ls and show print it. JSON names are a promise.
type EntryInfo struct {
	Name   control.Text `json:"name"`
	Kind   string       `json:"kind"` // "file", "dir", "symlink", "special"
	Mode   string       `json:"mode"` // octal permission bits: "0644"
	MTime  *time.Time   `json:"mtime,omitempty"`
	Size   int64        `json:"size"`
	ID     oid.ID       `json:"id,omitzero"` // manifest of a file, tree of a directory
	Target control.Text `json:"target,omitempty"`
	Dirty  bool         `json:"dirty,omitempty"` // in a live tree: not stored yet

	// Of ls -l, and of files that are stored.
	Format  string `json:"format,omitempty"`
	Tensors int    `json:"tensor_count,omitempty"`
	Stored  *int64 `json:"stored_bytes,omitempty"` // what its distinct blobs take
}

func entryInfo(e object.Entry, dirty bool) EntryInfo {
	info := EntryInfo{Name: control.Text(e.Name), Kind: kindName(e.Kind), Mode: fmt.Sprintf("%04o", e.Mode), Size: e.Size, ID: e.ID, Target: control.Text(e.Target), Dirty: dirty}
	if !e.MTime.IsZero() {
		t := e.MTime.UTC()
		info.MTime = &t
	}
	return info
}

func kindName(k object.FileKind) string {
	switch k {
	case object.File:
		return "file"
	case object.Dir:
		return "dir"
	case object.Symlink:
		return "symlink"
	}
	return "special"
}

// entries lists a located directory by name.
func (s *Service) entries(ctx context.Context, l *located) ([]EntryInfo, error) {
	out := []EntryInfo{}
	if l.tree == nil {
		if l.entry.ID.IsZero() {
			return out, nil
		}
		t, err := s.repo.Objects.Tree(ctx, l.entry.ID)
		if err != nil {
			return nil, err
		}
		for _, e := range t.Entries {
			out = append(out, entryInfo(e, false))
		}
		return out, nil
	}
	names, err := l.tree.Readdir(ctx, l.attr.Ino)
	if err != nil {
		return nil, err
	}
	for _, d := range names {
		at, err := l.tree.Lookup(ctx, l.attr.Ino, d.Name)
		if errors.Is(err, errs.NotFound) {
			continue // removed since Readdir
		}
		if err != nil {
			return nil, err
		}
		e, st, err := liveEntry(ctx, l.tree, d.Name, at)
		if err != nil {
			return nil, err
		}
		out = append(out, entryInfo(e, st.Dirty))
	}
	return out, nil
}

// content is what cat reads.
type content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// open opens the content of a located regular file; close ends it.
func (s *Service) open(ctx context.Context, l *located) (content, int64, func() error, error) {
	if l.entry.Kind != object.File {
		if l.entry.Kind == object.Dir {
			return nil, 0, nil, errs.IsDir
		}
		return nil, 0, nil, fmt.Errorf("is a %s, not a file: %w", kindName(l.entry.Kind), errs.Invalid)
	}
	if l.tree != nil {
		h, err := l.tree.Open(ctx, l.attr.Ino, os.O_RDONLY)
		if err != nil {
			return nil, 0, nil, err
		}
		return h, l.attr.Size, h.Close, nil
	}
	f, err := s.repo.Content.Open(ctx, l.entry.ID)
	if err != nil {
		return nil, 0, nil, err
	}
	return f, f.Size(), func() error { return nil }, nil
}
