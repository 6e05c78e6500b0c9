package fs

import (
	"context"
	"io"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/worktree"
)

// privileged are the mode bits that a write has to clear. With passthrough we see no writes, so a file that has them
// is served lazily.
const privileged = syscall.S_ISUID | syscall.S_ISGID

// Open serves open(2) of a regular file. O_TRUNC comes with it (CAP_ATOMIC_O_TRUNC).
func (n *liveNode) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		if errno := n.denied(); errno != 0 {
			return nil, 0, errno
		}
		n.dirtied()
	}
	h, err := n.tree.Open(n.m.base, n.ino, int(flags))
	if err != nil {
		return nil, 0, n.fail("open", "", err)
	}
	if errno := n.syncOpen(h, flags); errno != 0 {
		return nil, 0, errno
	}
	a, err := n.tree.Getattr(n.m.base, n.ino)
	if err != nil {
		h.Close()
		return nil, 0, n.fail("open", "", err)
	}
	return n.opened(h, a, flags)
}

// syncOpen makes what leads to a file durable if it was opened with O_SYNC or O_DSYNC: with passthrough the kernel syncs each write to the spool file
// by itself, and we see none of them.
func (n *liveNode) syncOpen(h *worktree.Handle, flags uint32) syscall.Errno {
	if flags&syscall.O_DSYNC == 0 || !writes(flags) {
		return 0
	}
	err := n.tree.SyncTree(n.m.base)
	if err != nil {
		h.Close()
	}
	return n.fail("open", "", err)
}

// opened returns what the kernel is told of a handle that was just opened.
func (n *liveNode) opened(h *worktree.Handle, a worktree.Attr, flags uint32) (*liveHandle, uint32, syscall.Errno) {
	var clean oid.ID // what a lazy open would put into the page cache
	if !writes(flags) && h.Spool() == nil {
		if st, err := n.tree.State(n.m.base, n.ino); err == nil && !st.Dirty {
			clean = st.Manifest
		}
	}
	lh := &liveHandle{node: n, h: h, writer: flags&syscall.O_ACCMODE != syscall.O_RDONLY}
	if lh.writer {
		lh.track = n.m.track(&writer{n: n, h: h, told: a})
		n.m.notify.writerOpened(lh.track, n)
	} else {
		lh.track = n.m.track(h)
	}
	pass, shared, loose := n.serving.enter(h.Spool() != nil && a.Mode&privileged == 0 && n.m.passthrough.Load())
	n.m.closeAll(loose)
	var reply uint32
	if !pass && n.keepPages(shared, clean) {
		reply |= fuse.FOPEN_KEEP_CACHE
	}
	if !lh.writer {
		reply |= fuse.FOPEN_NOFLUSH
	}
	return lh, reply, 0
}

// keepPages says whether the pages that the kernel may hold are of the content that a lazy open serves: others have it
// open lazily, so every change went through those pages, or it is the very content that was served lazily before.
func (n *liveNode) keepPages(shared bool, clean oid.ID) bool {
	n.serving.mu.Lock()
	defer n.serving.mu.Unlock()
	keep := shared || !clean.IsZero() && clean == n.pages
	n.pages = clean
	return keep
}

// dirtied notes that the content is about to change.
func (n *liveNode) dirtied() {
	n.serving.mu.Lock()
	n.pages = oid.ID{}
	n.serving.mu.Unlock()
}

// Create serves open(2) with O_CREAT of a name that does not exist.
func (n *liveNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return n.create(ctx, name, mode, flags, out, func(mode, uid, gid uint32) (worktree.Attr, *worktree.Handle, error) {
		return n.tree.Create(n.m.base, n.ino, name, mode, uid, gid, int(flags))
	})
}

// Tmpfile serves open(2) with O_TMPFILE.
func (n *liveNode) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return n.create(ctx, "", mode, flags, out, func(mode, uid, gid uint32) (worktree.Attr, *worktree.Handle, error) {
		return n.tree.CreateUnnamed(n.m.base, mode, uid, gid, int(flags))
	})
}

func (n *liveNode) create(ctx context.Context, name string, mode, flags uint32, out *fuse.EntryOut, make func(mode, uid, gid uint32) (worktree.Attr, *worktree.Handle, error)) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	if errno := n.denied(); errno != 0 {
		return nil, nil, 0, errno
	}
	uid, gid := caller(ctx)
	gid, mode = n.inherit(gid, mode)
	a, h, err := make(mode&0o7777, uid, gid)
	if err != nil {
		return nil, nil, 0, n.fail("create", name, err)
	}
	if errno := n.syncOpen(h, flags); errno != 0 {
		return nil, nil, 0, errno
	}
	told := a
	told.Writing = false // the kernel may keep what it is told of an empty file: the notifier looks after the writer
	inode := n.liveInode(ctx, n.tree, told, out)
	fh, reply, errno := inode.Operations().(*liveNode).opened(h, a, flags)
	return inode, fh, reply, errno
}

// Fsync serves fsync(2), fdatasync(2) and msync(2), of a directory too: what they promise to survive a power cut does.
func (n *liveNode) Fsync(_ context.Context, f fusefs.FileHandle, _ uint32) syscall.Errno {
	if h, ok := f.(*liveHandle); ok {
		return n.fail("fsync", "", h.h.Fsync(n.m.base))
	}
	return n.fail("fsync", "", n.tree.SyncTree(n.m.base))
}

// liveHandle is an open file of a live tree.
type liveHandle struct {
	node   *liveNode
	h      *worktree.Handle
	writer bool
	track  *openFile
}

// PassthroughFd says which file the kernel may read and write instead of asking us.
func (h *liveHandle) PassthroughFd() (int, bool) {
	return h.node.m.kernel.offer(&h.node.serving, h.h.Spool())
}

// Read serves read(2) and page faults of a lazy file.
func (h *liveHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.node.m.decoded.Add(1)
	n, err := h.h.ReadAt(h.node.m.base, dest, off)
	if err != nil && err != io.EOF {
		return nil, h.node.fail("read", "", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write serves write(2) and write-back of mapped pages of a lazy file.
func (h *liveHandle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	h.node.dirtied()
	n, err := h.h.WriteAt(h.node.m.base, data, off)
	if n == 0 && err != nil {
		return 0, h.node.fail("write", "", err)
	}
	return uint32(n), 0
}

// Flush serves each close(2) of a file opened for writing.
func (h *liveHandle) Flush(context.Context) syscall.Errno {
	h.track.flush()
	return 0
}

// Allocate serves fallocate(2).
func (h *liveHandle) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	if int64(off) < 0 || int64(size) < 0 || int64(off+size) < 0 {
		return syscall.EFBIG
	}
	h.node.dirtied()
	return h.node.fail("fallocate", "", h.h.Allocate(h.node.m.base, mode, int64(off), int64(size)))
}

// Lseek serves lseek(2) with SEEK_DATA and SEEK_HOLE. ENXIO past the end.
func (h *liveHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if int64(off) < 0 {
		return 0, syscall.ENXIO
	}
	pos, err := h.h.Seek(h.node.m.base, int64(off), int(whence))
	if err != nil {
		return 0, h.node.fail("lseek", "", err)
	}
	return uint64(pos), 0
}

// Release serves the last close(2) and munmap(2).
func (h *liveHandle) Release(context.Context) syscall.Errno {
	if c := h.node.serving.leave(h.track); c != nil {
		h.node.m.closeAll([]io.Closer{c})
	}
	return 0
}
