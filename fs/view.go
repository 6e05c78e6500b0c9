package fs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
)

// safetensorsName is the one kind of view that there is.
const safetensorsName = "safetensors"

// viewedNames are the directories that a view shows, sorted.
var viewedNames = []string{branchesName, commitsName, tagsName}

// nameDir is views/ or views/safetensors/: a directory with fixed names.
type nameDir struct {
	readOnly
	names []string
	make  func(name string) (child, key) // of one of names
}

// newViews makes views/.
func newViews(m *Mount) *nameDir {
	return &nameDir{readOnly: m.readOnly(), names: []string{safetensorsName}, make: func(name string) (child, key) {
		below := &nameDir{readOnly: m.readOnly(), names: viewedNames, make: func(name string) (child, key) {
			if name == commitsName {
				return &viewCommits{readOnly: m.readOnly()}, newKey(viewsName, name)
			}
			return newViewRefs(m, name, ""), newKey(viewsName, name, "")
		}}
		return below, newKey(viewsName, name)
	}}
}

func (d *nameDir) attr(out *fuse.Attr) { d.m.owned(out, syscall.S_IFDIR|0o555, 0, d.m.changedAt()) }
func (d *nameDir) ttl() time.Duration  { return brief }

// Getattr serves stat(2).
func (d *nameDir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(d, out)
}

// Lookup serves path lookup.
func (d *nameDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if !slices.Contains(d.names, name) {
		return nil, syscall.ENOENT
	}
	c, k := d.make(name)
	return d.enter(ctx, c, k, syscall.S_IFDIR, forever, out), 0
}

// OpendirHandle serves opendir(3).
func (d *nameDir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return d.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		var list []fuse.DirEntry
		for _, name := range d.names {
			_, k := d.make(name)
			list = append(list, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: k.stable(syscall.S_IFDIR).Ino})
		}
		return list, 0
	}), fuse.FOPEN_CACHE_DIR, 0
}

// viewRefs is branches/ or tags/ of a view, or a directory in one for the part of names before a "/".
type viewRefs struct {
	readOnly
	refs *refDir // finds the refs; it is no node of the mount
}

func newViewRefs(m *Mount, kind, prefix string) *viewRefs {
	return &viewRefs{m.readOnly(), newRefDir(m, kind, prefix)}
}

func (d *viewRefs) attr(out *fuse.Attr) { d.m.owned(out, syscall.S_IFDIR|0o555, 0, d.m.changedAt()) }
func (d *viewRefs) ttl() time.Duration  { return brief }

// Getattr serves stat(2).
func (d *viewRefs) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(d, out)
}

func (d *viewRefs) key(prefix string) key { return newKey(viewsName, d.refs.kind, prefix) }

func (d *viewRefs) fail(op, name string, err error) syscall.Errno {
	return d.m.fail(op, strings.Join([]string{viewsName, safetensorsName, d.refs.kind, d.refs.prefix + name}, "/"), err)
}

// Lookup serves path lookup: a ref, or a directory of refs.
func (d *viewRefs) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	r, err := d.refs.get(name)
	switch {
	case err == nil && d.refs.kind == branchesName:
		tree, err := d.m.repo.LiveTree(d.m.base, r.Name)
		if err != nil {
			return nil, d.fail("lookup", name, err)
		}
		n, k := newLiveView(d.m, tree, tree.Root())
		return d.enter(ctx, n, k, syscall.S_IFDIR, brief, out), 0
	case err == nil:
		snap, err := d.m.snapshot(r.ID)
		if err != nil {
			return nil, d.fail("lookup", name, err)
		}
		return d.enterCommitView(ctx, snap, newKey(viewsName, tagsName, r.Name), brief, out), 0
	case !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Invalid):
		return nil, d.fail("lookup", name, err)
	}
	all, err := d.refs.names()
	if err != nil {
		return nil, d.fail("lookup", name, err)
	}
	sub := d.refs.prefix + name + "/"
	if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, sub) }) {
		return nil, syscall.ENOENT
	}
	return d.enter(ctx, newViewRefs(d.m, d.refs.kind, sub), d.key(sub), syscall.S_IFDIR, brief, out), 0
}

// OpendirHandle serves opendir(3).
func (d *viewRefs) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return plainDir{d.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		all, err := d.refs.names()
		if err != nil {
			return nil, d.fail("readdir", "", err)
		}
		names, _ := children(all, d.refs.prefix)
		list := make([]fuse.DirEntry, len(names))
		for i, name := range names { // as in refDir: any inode number but 0 will do
			list[i] = fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: d.key(d.refs.prefix + name).stable(syscall.S_IFDIR).Ino}
		}
		return list, 0
	})}, 0, 0
}

// viewCommits is commits/ of a view.
type viewCommits struct{ readOnly }

func (c *viewCommits) attr(out *fuse.Attr) {
	c.m.owned(out, syscall.S_IFDIR|0o555, 0, c.m.changedAt())
}
func (c *viewCommits) ttl() time.Duration { return brief }

// Getattr serves stat(2).
func (c *viewCommits) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(c, out)
}

// Lookup serves path lookup: what names a commit in commits/ names its view here.
func (c *viewCommits) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	id, ttl, err := c.m.findCommit(name)
	if errors.Is(err, errs.Invalid) {
		err = errs.NotFound
	}
	if err == nil {
		var snap *snapshot
		if snap, err = c.m.snapshot(id); err == nil {
			return c.enterCommitView(ctx, snap, newKey(viewsName, commitsName, name), ttl, out), 0
		}
	}
	return nil, c.m.fail("lookup", viewsName+"/"+safetensorsName+"/"+commitsName+"/"+name, err)
}

// OpendirHandle serves opendir(3): commits reachable from refs, newest first.
func (c *viewCommits) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return plainDir{c.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		names, err := c.m.listCommits()
		if err != nil {
			return nil, c.m.fail("readdir", viewsName+"/"+safetensorsName+"/"+commitsName, err)
		}
		list := make([]fuse.DirEntry, len(names))
		for i, n := range names {
			k := newKey(viewsName, commitsName, n.name).child(string(n.id[:]))
			list[i] = fuse.DirEntry{Name: n.name, Mode: syscall.S_IFDIR, Ino: k.stable(syscall.S_IFDIR).Ino}
		}
		return list, 0
	})}, 0, 0
}
