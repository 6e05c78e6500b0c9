package fs

import (
	"context"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// base is what every node has.
type base struct {
	fusefs.Inode
	m *Mount
}

// Statfs serves statfs(2) and df: the repository's disk.
func (b *base) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.m.repo.Dir, &st); err != nil {
		return b.m.fail("statfs", b.m.repo.Dir, err)
	}
	out.FromStatfsT(&st)
	return 0
}

// CopyFileRange serves copy_file_range(2): ENOSYS makes the kernel copy by itself from now on, without asking again.
func (b *base) CopyFileRange(context.Context, fusefs.FileHandle, uint64, *fusefs.Inode, fusefs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// readOnly is a node whose changes all fail with EROFS. Without these the library would fail them with ENOTSUP, or
// say that they succeeded.
type readOnly struct{ base }

// readOnly returns what a new read-only node embeds.
func (m *Mount) readOnly() readOnly { return readOnly{base{m: m}} }

func (*readOnly) Fsync(context.Context, fusefs.FileHandle, uint32) syscall.Errno { return 0 }

func (*readOnly) Setattr(context.Context, fusefs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (*readOnly) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (*readOnly) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (*readOnly) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (*readOnly) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (*readOnly) Symlink(context.Context, string, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (*readOnly) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (*readOnly) Unlink(context.Context, string) syscall.Errno { return syscall.EROFS }
func (*readOnly) Rmdir(context.Context, string) syscall.Errno  { return syscall.EROFS }

func (*readOnly) Rename(context.Context, string, fusefs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EROFS
}

func (*readOnly) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.EROFS
}
func (*readOnly) Removexattr(context.Context, string) syscall.Errno { return syscall.EROFS }

// child is a node of ours that is not live: it knows what stat(2) says of it and for how long that holds.
type child interface {
	fusefs.InodeEmbedder
	attr(out *fuse.Attr)
	ttl() time.Duration
}

// enter makes a child known under a directory and fills the answer to LOOKUP.
func (b *base) enter(ctx context.Context, c child, k key, mode uint32, ttl time.Duration, out *fuse.EntryOut) *fusefs.Inode {
	c.attr(&out.Attr)
	out.SetEntryTimeout(ttl)
	out.SetAttrTimeout(c.ttl())
	return b.NewInode(ctx, c, k.stable(mode))
}

// getattr answers GETATTR for a child.
func getattr(c child, out *fuse.AttrOut) syscall.Errno {
	c.attr(&out.Attr)
	out.SetTimeout(c.ttl())
	return 0
}

// owned fills the attributes of a node that belongs to who mounted.
func (m *Mount) owned(out *fuse.Attr, mode uint32, size int64, mtime time.Time) {
	out.Mode = mode
	out.Nlink = 1
	out.Size = uint64(max(size, 0))
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = 4096
	out.Uid, out.Gid = m.uid, m.gid
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	out.SetTimes(&mtime, &mtime, &mtime)
}

// writes says whether open(2) flags ask to change the file.
func writes(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}
