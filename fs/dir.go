package fs

import (
	"context"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/object"
)

// snapshot is what all nodes of one commit share.
type snapshot struct {
	id      oid.ID
	tree    oid.ID
	time    time.Time
	message string
}

// snapshot returns what nodes need of a commit.
func (m *Mount) snapshot(id oid.ID) (*snapshot, error) {
	c, err := m.repo.Objects.Commit(m.base, id)
	if err != nil {
		return nil, err
	}
	return &snapshot{id: id, tree: c.Tree, time: c.Time, message: c.Message}, nil
}

// treeNode is a directory of a commit.
type treeNode struct {
	readOnly
	snap  *snapshot
	tree  oid.ID
	place key // of this directory as it was reached: the kernel wants one place for a directory
	key   key // of this directory in its tree: files' keys derive from it
	root  bool
}

// enterCommit makes the root directory of a commit known under a directory, as name; place is its key.
func (b *base) enterCommit(ctx context.Context, snap *snapshot, place key, ttl time.Duration, out *fuse.EntryOut) *fusefs.Inode {
	place = place.child(string(snap.id[:])) // a name that moves to another commit is another inode
	n := &treeNode{readOnly: b.m.readOnly(), snap: snap, tree: snap.tree, place: place, key: treeKey(snap.tree), root: true}
	return b.enter(ctx, n, place, syscall.S_IFDIR, ttl, out)
}

func (n *treeNode) attr(out *fuse.Attr) { n.m.owned(out, syscall.S_IFDIR|0o555, 0, n.snap.time) }
func (n *treeNode) ttl() time.Duration  { return forever }

// Getattr serves stat(2).
func (n *treeNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// node makes the node of an entry.
func (n *treeNode) node(e object.Entry) (child, key) {
	switch e.Kind {
	case object.Dir:
		place := n.place.child(e.Name)
		return &treeNode{readOnly: n.m.readOnly(), snap: n.snap, tree: e.ID, place: place, key: n.key.child(e.Name)}, place
	case object.Symlink:
		return &linkNode{readOnly: n.m.readOnly(), target: e.Target, mtime: e.MTime}, n.key.child(e.Name)
	}
	return newFile(n.m, e), n.key.child(e.Name)
}

// typeBits returns the type bits of st_mode of an entry's kind.
func typeBits(k object.FileKind) uint32 {
	switch k {
	case object.Dir:
		return syscall.S_IFDIR
	case object.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// Lookup serves path lookup: the tree's entry, nothing decoded.
func (n *treeNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	t, err := n.m.repo.Objects.Tree(n.m.base, n.tree)
	if err != nil {
		return nil, n.m.fail("lookup", name, err)
	}
	e, ok := t.Find(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	c, k := n.node(e)
	return n.enter(ctx, c, k, typeBits(e.Kind), forever, out), 0
}

// OpendirHandle serves opendir(3): the kernel keeps the list.
func (n *treeNode) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return n.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		t, err := n.m.repo.Objects.Tree(n.m.base, n.tree)
		if err != nil {
			return nil, n.m.fail("readdir", n.tree.Short(), err)
		}
		list := make([]fuse.DirEntry, 0, len(t.Entries))
		for _, e := range t.Entries {
			k := n.key.child(e.Name)
			if e.Kind == object.Dir {
				k = n.place.child(e.Name)
			}
			mode := typeBits(e.Kind)
			list = append(list, fuse.DirEntry{Name: e.Name, Mode: mode, Ino: k.stable(mode).Ino})
		}
		return list, 0
	}), fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}

// Getxattr serves getxattr(2): user.coral.commit and .message on the root of a commit.
func (n *treeNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if n.root {
		if v, ok := n.snap.xattr(name); ok {
			return copyXattr(dest, v)
		}
	}
	return 0, noXattr(name)
}

// Listxattr serves listxattr(2): nothing, as our own attributes are not listed.
func (n *treeNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// linkNode is a symbolic link of a commit.
type linkNode struct {
	readOnly
	target string
	mtime  time.Time
}

func (l *linkNode) attr(out *fuse.Attr) {
	l.m.owned(out, syscall.S_IFLNK|0o777, int64(len(l.target)), l.mtime)
}
func (l *linkNode) ttl() time.Duration { return forever }

// Getattr serves lstat(2).
func (l *linkNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(l, out)
}

// Readlink serves readlink(2).
func (l *linkNode) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(l.target), 0 }
