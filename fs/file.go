package fs

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
)

// fileNode is a regular file of a commit.
type fileNode struct {
	readOnly
	manifest oid.ID
	size     int64
	mode     uint32 // permission bits, none to write
	mtime    time.Time
	serving  serving
}

func newFile(m *Mount, e object.Entry) *fileNode {
	return &fileNode{
		readOnly: m.readOnly(),
		manifest: e.ID, size: e.Size, mode: e.Mode & 0o7777 &^ 0o222, mtime: e.MTime,
	}
}

func (n *fileNode) attr(out *fuse.Attr) {
	n.m.owned(out, syscall.S_IFREG|n.mode, n.size, n.mtime)
}
func (n *fileNode) ttl() time.Duration { return forever }

// Getattr serves stat(2): from the tree's entry.
func (n *fileNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open serves open(2): EROFS for writing. A file that is not open yet is served by passthrough if it is, or can soon be,
// whole on disk.
func (n *fileNode) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		return nil, 0, syscall.EROFS
	}
	h := &fileHandle{node: n, file: n.m.materialised(n)}
	if h.file == nil {
		c, err := n.m.repo.Content.Open(n.m.base, n.manifest)
		if err != nil {
			return nil, 0, n.m.fail("open", n.manifest.Short(), err)
		}
		h.content = c
	}
	h.track = n.m.track(h)
	_, _, loose := n.serving.enter(h.file != nil && n.m.passthrough.Load())
	n.m.closeAll(loose)
	return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// Getxattr serves getxattr(2): user.coral.*, from the manifest.
func (n *fileNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return n.m.fileXattr(n.manifest, name, dest)
}

// Listxattr serves listxattr(2): nothing, as our own attributes are not listed.
func (n *fileNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// fileHandle is an open file of a commit.
type fileHandle struct {
	node    *fileNode
	file    *os.File      // the whole content, or nil
	content *content.File // set if file is nil
	track   *openFile
	end     atomic.Int64            // of the last read
	jumps   atomic.Int32            // short reads that began elsewhere
	whole   atomic.Pointer[os.File] // of a lazy file: what was materialised behind it, once it is read at random
}

// PassthroughFd says which file the kernel may read instead of asking us.
func (h *fileHandle) PassthroughFd() (int, bool) {
	return h.node.m.kernel.offer(&h.node.serving, h.file)
}

// Read serves read(2) and page faults of a lazy file.
func (h *fileHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.node.m.decoded.Add(1)
	var n int
	var err error
	if f := h.wholeFile(off, len(dest)); f != nil {
		n, err = f.ReadAt(dest, off)
	} else {
		n, err = h.content.ReadAt(h.node.m.base, dest, off)
	}
	if err != nil && err != io.EOF {
		return nil, h.node.m.fail("read", h.node.manifest.Short(), err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// wholeFile returns the whole content on disk, for a read of n bytes at off; nil if the file is to be decoded. A file that is read at random gets one behind.
func (h *fileHandle) wholeFile(off int64, n int) *os.File {
	if h.file != nil {
		return h.file
	}
	if f := h.whole.Load(); f != nil {
		return f
	}
	if was := h.end.Swap(off + int64(n)); was == off || n >= content.LongRead {
		return nil
	}
	m := h.node.m
	switch jumps := h.jumps.Add(1); {
	case m.cache == nil || jumps < randomReads:
		return nil
	case jumps == randomReads:
		m.later.hurry(h.node)
		return nil
	}
	f, ok := m.cache.Open(h.node.manifest)
	if !ok {
		return nil
	}
	if !h.whole.CompareAndSwap(nil, f) {
		f.Close()
		return h.whole.Load()
	}
	return f
}

// Release serves the last close(2) and munmap(2).
func (h *fileHandle) Release(context.Context) syscall.Errno {
	if c := h.node.serving.leave(h.track); c != nil {
		h.node.m.closeAll([]io.Closer{c})
	}
	return 0
}

// Close implements io.Closer for the Mount.
func (h *fileHandle) Close() error {
	if f := h.whole.Load(); f != nil {
		return f.Close()
	}
	if h.file != nil {
		return h.file.Close()
	}
	return nil
}
