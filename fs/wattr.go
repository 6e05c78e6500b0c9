package fs

import (
	"context"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/worktree"
)

// fillLive fills what stat(2) says of a live inode.
func fillLive(out *fuse.Attr, a worktree.Attr) {
	out.Ino = uint64(a.Ino)
	out.Mode = a.Mode
	out.Nlink = a.Nlink
	out.Size = uint64(max(a.Size, 0))
	out.Blocks = uint64(max(a.Blocks, 0))
	out.Blksize = 4096
	out.Rdev = a.Rdev
	out.Uid, out.Gid = a.UID, a.GID
	out.SetTimes(&a.Atime, &a.Mtime, &a.Ctime)
}

// Getattr serves stat(2) and fstat(2).
func (n *liveNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	a, err := n.tree.Getattr(n.m.base, n.ino)
	if err != nil {
		return n.fail("stat", "", err)
	}
	n.m.fillAttr(out, a)
	return 0
}

// Setattr serves chmod, chown, truncate, ftruncate and utimens. With KILLPRIV_V2 the kernel leaves it to us to clear
// suid and sgid: the worktree does on chown and truncate.
func (n *liveNode) Setattr(_ context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	set, errno := setAttr(in)
	if errno != 0 {
		return errno
	}
	if set.Size != nil {
		n.dirtied()
	}
	a, err := n.tree.Setattr(n.m.base, n.ino, set)
	if err != nil {
		return n.fail("setattr", "", err)
	}
	n.m.fillAttr(out, a)
	return 0
}

// setAttr translates a SETATTR request.
func setAttr(in *fuse.SetAttrIn) (set worktree.SetAttr, errno syscall.Errno) {
	if v, ok := in.GetMode(); ok {
		set.Mode = &v
	}
	if v, ok := in.GetUID(); ok {
		set.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		set.GID = &v
	}
	if v, ok := in.GetSize(); ok {
		size := int64(v)
		if size < 0 {
			return set, syscall.EFBIG
		}
		set.Size = &size
	}
	if v, ok := in.GetATime(); ok {
		set.Atime = &v
	}
	if v, ok := in.GetMTime(); ok {
		set.Mtime = &v
	}
	return set, 0
}

// isRoot says whether the node is the root directory of a branch.
func (n *liveNode) isRoot() bool { return n.ino == n.tree.Root() }

// manifest returns the manifest of a clean file; ok is false for anything else.
func (n *liveNode) manifest() (id oid.ID, ok bool) {
	if n.Mode() != syscall.S_IFREG {
		return oid.ID{}, false
	}
	st, err := n.tree.State(n.m.base, n.ino)
	return st.Manifest, err == nil && !st.Dirty && !st.Manifest.IsZero()
}

// branchXattr returns user.coral.commit and .message of a branch's root directory.
func (n *liveNode) branchXattr(name string) ([]byte, bool) {
	if !n.isRoot() {
		return nil, false
	}
	ref, err := n.m.repo.Refs.Branch(n.tree.Branch())
	if err != nil || ref.ID.IsZero() {
		return nil, false
	}
	snap, err := n.m.snapshot(ref.ID)
	if err != nil {
		return nil, false
	}
	return snap.xattr(name)
}

// Getxattr serves getxattr(2): ours (user.coral.*) and what programs have set. A dirty file has no user.coral.id yet.
func (n *liveNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if strings.HasPrefix(name, xattrPrefix) {
		if id, ok := n.manifest(); ok {
			return n.m.fileXattr(id, name, dest)
		}
		if v, ok := n.branchXattr(name); ok {
			return copyXattr(dest, v)
		}
		return 0, syscall.ENODATA
	}
	v, err := n.tree.Getxattr(n.m.base, n.ino, name)
	if err != nil {
		return 0, n.fail("getxattr", name, err)
	}
	return copyXattr(dest, v)
}

// Listxattr serves listxattr(2): what programs have set.
func (n *liveNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	names, err := n.tree.Listxattr(n.m.base, n.ino)
	if err != nil {
		return 0, n.fail("listxattr", "", err)
	}
	return listXattrs(dest, names)
}

// Setxattr serves setxattr(2). EPERM for user.coral.*.
func (n *liveNode) Setxattr(_ context.Context, name string, value []byte, flags uint32) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	if strings.HasPrefix(name, xattrPrefix) {
		return syscall.EPERM
	}
	value = append([]byte(nil), value...) // the library's buffer
	return n.fail("setxattr", name, n.tree.Setxattr(n.m.base, n.ino, name, value, int(flags)))
}

// Removexattr serves removexattr(2).
func (n *liveNode) Removexattr(_ context.Context, name string) syscall.Errno {
	if errno := n.denied(); errno != 0 {
		return errno
	}
	if strings.HasPrefix(name, xattrPrefix) {
		return syscall.EPERM
	}
	return n.fail("removexattr", name, n.tree.Removexattr(n.m.base, n.ino, name))
}
