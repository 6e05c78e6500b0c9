package fs

import (
	"context"
	"errors"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/internal/oid"
)

// The names in the root.
const (
	headName     = "HEAD"
	branchesName = "branches"
	commitsName  = "commits"
	tagsName     = "tags"
	historyName  = "history"
	viewsName    = "views"
	controlName  = ".coral"
)

// rootNames are the names that the root lists: not .coral, so that cp -r and find stay out of it.
var rootNames = []string{headName, branchesName, commitsName, historyName, tagsName, viewsName}

// rootNode is the root of the mount.
type rootNode struct{ readOnly }

// node makes the child called name, with the key and mode it always has.
func (r *rootNode) node(name string) (child, key, uint32) {
	switch name {
	case headName:
		return &headNode{readOnly: r.m.readOnly()}, newKey(headName), syscall.S_IFLNK
	case branchesName, tagsName, historyName:
		return newRefDir(r.m, name, ""), newKey("refdir", name, ""), syscall.S_IFDIR
	case commitsName:
		return &commitsNode{readOnly: r.m.readOnly()}, newKey(commitsName), syscall.S_IFDIR
	case viewsName:
		return newViews(r.m), newKey(viewsName), syscall.S_IFDIR
	case controlName:
		return &controlDir{readOnly: r.m.readOnly()}, newKey(controlName), syscall.S_IFDIR
	}
	return nil, key{}, 0
}

// Lookup serves path lookup in the root.
func (r *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	c, k, mode := r.node(name)
	if c == nil {
		return nil, syscall.ENOENT
	}
	ttl := forever
	if name == headName {
		ttl = brief
	}
	return r.enter(ctx, c, k, mode, ttl, out), 0
}

// Getattr serves stat(2).
func (r *rootNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.m.owned(&out.Attr, syscall.S_IFDIR|0o555, 0, r.m.changedAt())
	out.SetTimeout(brief)
	return 0
}

// OpendirHandle serves opendir(3).
func (r *rootNode) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return r.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		var list []fuse.DirEntry
		for _, name := range rootNames {
			_, k, mode := r.node(name)
			list = append(list, fuse.DirEntry{Name: name, Mode: mode, Ino: k.stable(mode).Ino})
		}
		return list, 0
	}), fuse.FOPEN_CACHE_DIR, 0
}

// headNode is HEAD.
type headNode struct{ readOnly }

// target returns what HEAD points to.
func (h *headNode) target() (string, error) {
	head, err := h.m.repo.Refs.Head()
	if err != nil {
		return "", err
	}
	if head.Branch != "" {
		return branchesName + "/" + head.Branch, nil
	}
	return commitsName + "/" + head.Commit.String(), nil
}

func (h *headNode) attr(out *fuse.Attr) {
	target, err := h.target()
	if err != nil {
		target = ""
	}
	h.m.owned(out, syscall.S_IFLNK|0o777, int64(len(target)), h.m.changedAt())
}

func (h *headNode) ttl() time.Duration { return 0 }

// Getattr serves lstat(2).
func (h *headNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(h, out)
}

// Readlink serves readlink(2).
func (h *headNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	target, err := h.target()
	if err != nil {
		return nil, h.m.fail("readlink", headName, err)
	}
	return []byte(target), 0
}

// headCommit returns the commit of HEAD, zero if there is none yet.
func (m *Mount) headCommit() (oid.ID, error) {
	id, err := m.repo.Resolve(m.base, headName)
	if errors.Is(err, errs.NotFound) {
		return oid.ID{}, nil
	}
	return id, err
}
