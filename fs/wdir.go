package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/worktree"
)

// liveNode is an inode of a live tree, of any type. There is one for each inode the kernel knows: liveNodes.
type liveNode struct {
	base
	tree *worktree.Tree
	ino  worktree.Ino

	serving serving // of a regular file
	pages   oid.ID  // the content that the kernel's page cache may hold for sure, zero if unknown; guarded by serving.mu
}

// liveInode returns the inode of what tree says about one of its inodes, and fills the answer to LOOKUP.
func (b *base) liveInode(ctx context.Context, tree *worktree.Tree, a worktree.Attr, out *fuse.EntryOut) *fusefs.Inode {
	b.m.fillEntry(out, a)
	l := &b.m.live
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[a.Ino]
	if n == nil {
		n = &liveNode{base: base{m: b.m}, tree: tree, ino: a.Ino}
		l.nodes[a.Ino] = n
	}
	return b.NewInode(ctx, n, fusefs.StableAttr{Mode: a.Mode & syscall.S_IFMT, Ino: uint64(a.Ino)})
}

// OnForget is called when the kernel knows the inode no more.
func (n *liveNode) OnForget() {
	if n.m.live.forget(n) {
		n.m.notify.sweep()
	}
}

// caller returns the user and group that a request acts for.
func caller(ctx context.Context) (uid, gid uint32) {
	if c, ok := fuse.FromContext(ctx); ok {
		return c.Uid, c.Gid
	}
	return 0, 0
}

// inherit returns the group and mode that a new inode gets: a directory with the setgid bit gives its group to what is
// made in it, and the bit to directories.
func (n *liveNode) inherit(gid, mode uint32) (uint32, uint32) {
	a, err := n.tree.Getattr(n.m.base, n.ino)
	if err != nil || a.Mode&syscall.S_ISGID == 0 {
		return gid, mode
	}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		mode |= syscall.S_ISGID
	}
	return a.GID, mode
}

// denied is what every change of a read-only mount gets.
func (n *liveNode) denied() syscall.Errno {
	if n.m.opts.ReadOnly {
		return syscall.EROFS
	}
	return 0
}

func (n *liveNode) fail(op, name string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return n.m.fail(op, n.tree.Branch()+":"+name, err)
}

// Lookup serves path lookup.
func (n *liveNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	a, err := n.tree.Lookup(n.m.base, n.ino, name)
	if err != nil {
		return nil, n.fail("lookup", name, err)
	}
	return n.liveInode(ctx, n.tree, a, out), 0
}

// OpendirHandle serves opendir(3). The list is the tree's at the first read or rewind.
func (n *liveNode) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return n.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		entries, err := n.tree.Readdir(n.m.base, n.ino)
		if err != nil {
			return nil, n.fail("readdir", "", err)
		}
		list := make([]fuse.DirEntry, 0, len(entries)+2)
		for _, e := range entries {
			list = append(list, fuse.DirEntry{Name: e.Name, Mode: e.Mode, Ino: uint64(e.Ino)})
		}
		return list, 0
	}), 0, 0
}

// Mkdir serves mkdir(2).
func (n *liveNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.denied(); errno != 0 {
		return nil, errno
	}
	uid, gid := caller(ctx)
	gid, mode = n.inherit(gid, mode|syscall.S_IFDIR)
	a, err := n.tree.Mkdir(n.m.base, n.ino, name, mode&0o7777, uid, gid)
	if err != nil {
		return nil, n.fail("mkdir", name, err)
	}
	return n.liveInode(ctx, n.tree, a, out), 0
}

// Mknod serves mknod(2): files, FIFOs, sockets and devices. A commit holds the files only.
func (n *liveNode) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.denied(); errno != 0 {
		return nil, errno
	}
	uid, gid := caller(ctx)
	gid, mode = n.inherit(gid, mode)
	a, err := n.tree.Mknod(n.m.base, n.ino, name, mode, dev, uid, gid)
	if err != nil {
		return nil, n.fail("mknod", name, err)
	}
	return n.liveInode(ctx, n.tree, a, out), 0
}

// Symlink serves symlink(2).
func (n *liveNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.denied(); errno != 0 {
		return nil, errno
	}
	uid, gid := caller(ctx)
	gid, _ = n.inherit(gid, syscall.S_IFLNK)
	a, err := n.tree.Symlink(n.m.base, n.ino, name, target, uid, gid)
	if err != nil {
		return nil, n.fail("symlink", name, err)
	}
	return n.liveInode(ctx, n.tree, a, out), 0
}

// Link serves link(2), of a file without a name (O_TMPFILE) too. EXDEV across branches.
func (n *liveNode) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.denied(); errno != 0 {
		return nil, errno
	}
	t, ok := target.(*liveNode)
	if !ok || t.tree != n.tree {
		return nil, syscall.EXDEV
	}
	a, err := n.tree.Link(n.m.base, t.ino, n.ino, name)
	if err != nil {
		return nil, n.fail("link", name, err)
	}
	return n.liveInode(ctx, n.tree, a, out), 0
}

// Unlink serves unlink(2).
func (n *liveNode) Unlink(_ context.Context, name string) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	return n.fail("unlink", name, n.tree.Unlink(n.m.base, n.ino, name))
}

// Rmdir serves rmdir(2).
func (n *liveNode) Rmdir(_ context.Context, name string) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	return n.fail("rmdir", name, n.tree.Rmdir(n.m.base, n.ino, name))
}

// Rename serves renameat2(2) with RENAME_NOREPLACE and RENAME_EXCHANGE. EXDEV across branches: mv copies then.
func (n *liveNode) Rename(_ context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	to, ok := newParent.(*liveNode)
	if !ok || to.tree != n.tree {
		return syscall.EXDEV
	}
	if flags&^(worktree.RenameNoReplace|worktree.RenameExchange) != 0 {
		return syscall.EINVAL
	}
	return n.fail("rename", name, n.tree.Rename(n.m.base, n.ino, name, to.ino, newName, flags))
}

// Readlink serves readlink(2).
func (n *liveNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	target, err := n.tree.Readlink(n.m.base, n.ino)
	if err != nil {
		return nil, n.fail("readlink", "", err)
	}
	return []byte(target), 0
}
