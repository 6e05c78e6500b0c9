package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/worktree"
)

// liveView is a directory of a live tree as a view's source. A file that is open for writing, or not stored yet, has no table of
// tensors: one that would be converted is absent until it is stored (coral sync waits for that), all others are shown as they are.
// Parsing it from the spool file at each lookup would show files that are half written.
type liveView struct {
	m    *Mount
	tree *worktree.Tree
	ino  worktree.Ino
}

// newLiveView makes the view of a directory of a live tree.
func newLiveView(m *Mount, tree *worktree.Tree, ino worktree.Ino) (child, key) {
	return &viewDir{m.readOnly(), &liveView{m, tree, ino}}, liveKey("live dir", ino)
}

// liveKey is the key of a view's node for a live inode, whose number is not used again while the repository is open.
func liveKey(kind string, ino worktree.Ino) key {
	return newKey(kind, string(binary.LittleEndian.AppendUint64(nil, uint64(ino))))
}

// attr shows the directory's own attributes, without write permission.
func (l *liveView) attr(out *fuse.Attr) {
	a, err := l.tree.Getattr(l.m.base, l.ino)
	if err != nil {
		l.m.owned(out, syscall.S_IFDIR|0o555, 0, time.Time{})
		return
	}
	a.Mode &^= 0o222
	fillLive(out, a)
	out.Ino = 0 // it is another inode: the library fills in its number
}

// ttl is 0: the kernel is not told when a live tree changes under a view.
func (l *liveView) ttl() time.Duration { return 0 }

func (l *liveView) item(name string, a worktree.Attr) (viewItem, error) {
	it := viewItem{name: name, mode: a.Mode, mtime: a.Mtime, from: a}
	if a.Mode&syscall.S_IFMT == syscall.S_IFREG {
		st, err := l.tree.State(l.m.base, a.Ino)
		if err != nil {
			return it, err
		}
		it.manifest = st.Manifest
	}
	return it, nil
}

func (l *liveView) list() ([]viewItem, error) {
	entries, err := l.tree.Readdir(l.m.base, l.ino)
	if err != nil {
		return nil, err
	}
	out := make([]viewItem, 0, len(entries))
	for _, e := range entries {
		a, err := l.tree.Getattr(l.m.base, e.Ino)
		if err == nil {
			var it viewItem
			if it, err = l.item(e.Name, a); err == nil {
				out = append(out, it)
			}
		}
		if err != nil && !errors.Is(err, errs.NotFound) { // removed meanwhile
			return nil, err
		}
	}
	return out, nil
}

func (l *liveView) find(name string) (viewItem, bool, error) {
	a, err := l.tree.Lookup(l.m.base, l.ino, name)
	var it viewItem
	if err == nil {
		it, err = l.item(name, a)
	}
	if errors.Is(err, errs.NotFound) {
		return it, false, nil
	}
	return it, err == nil, err
}

func (l *liveView) itself(it viewItem) (child, key) {
	a := it.from.(worktree.Attr)
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return newLiveView(l.m, l.tree, a.Ino)
	case syscall.S_IFLNK:
		target, err := l.tree.Readlink(l.m.base, a.Ino)
		if err != nil {
			target = ""
		}
		return &linkNode{readOnly: l.m.readOnly(), target: target, mtime: a.Mtime}, liveKey("live link", a.Ino)
	}
	return &viewLive{readOnly: l.m.readOnly(), tree: l.tree, ino: a.Ino}, liveKey("live file", a.Ino)
}

// key has the manifest in it: what is converted is another inode when its content has changed, so its pages may be kept.
func (l *liveView) key(it viewItem) key {
	return liveKey("live view", it.from.(worktree.Attr).Ino).child(string(it.manifest[:]))
}

// viewLive is a file of a live tree that a view shows as it is: another inode than in branches/, since it is read-only, but served
// from the same spool file, and in the same way.
type viewLive struct {
	readOnly
	tree    *worktree.Tree
	ino     worktree.Ino
	serving serving
	pages   oid.ID // as in liveNode; guarded by serving.mu
}

func (n *viewLive) fail(op string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return n.m.fail(op, viewsName+"/…/"+n.tree.Branch(), err)
}

func (n *viewLive) attr(out *fuse.Attr) {
	a, err := n.tree.Getattr(n.m.base, n.ino)
	if err != nil {
		n.m.owned(out, syscall.S_IFREG, 0, time.Time{})
		return
	}
	a.Mode &^= 0o222
	fillLive(out, a)
	out.Ino = 0
}

// ttl does not rely on notifications, which views of live trees do not get.
func (n *viewLive) ttl() time.Duration {
	if n.m.shared.Load() {
		return 0
	}
	return brief
}

// Getattr serves stat(2).
func (n *viewLive) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open serves open(2): EROFS for writing.
func (n *viewLive) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		return nil, 0, syscall.EROFS
	}
	h, err := n.tree.Open(n.m.base, n.ino, syscall.O_RDONLY)
	if err != nil {
		return nil, 0, n.fail("open", err)
	}
	var stored oid.ID
	if st, err := n.tree.State(n.m.base, n.ino); err == nil && h.Spool() == nil {
		stored = st.Manifest
	}
	vh := &viewLiveHandle{node: n, h: h}
	vh.track = n.m.track(h)
	pass, _, loose := n.serving.enter(h.Spool() != nil && n.m.passthrough.Load())
	n.m.closeAll(loose)
	reply := uint32(fuse.FOPEN_NOFLUSH)
	if !pass && n.keepPages(stored) {
		reply |= fuse.FOPEN_KEEP_CACHE
	}
	return vh, reply, 0
}

// keepPages says whether the pages that the kernel may hold are of the content that is now served, of that manifest.
func (n *viewLive) keepPages(stored oid.ID) bool {
	n.serving.mu.Lock()
	defer n.serving.mu.Unlock()
	keep := !stored.IsZero() && stored == n.pages
	n.pages = stored
	return keep
}

// Getxattr serves getxattr(2): user.coral.* of what is stored.
func (n *viewLive) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if st, err := n.tree.State(n.m.base, n.ino); err == nil && !st.Manifest.IsZero() && strings.HasPrefix(name, xattrPrefix) {
		return n.m.fileXattr(st.Manifest, name, dest)
	}
	return 0, noXattr(name)
}

// Listxattr serves listxattr(2): nothing, as our own attributes are not listed.
func (n *viewLive) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// viewLiveHandle is an open viewLive.
type viewLiveHandle struct {
	node  *viewLive
	h     *worktree.Handle
	track *openFile
}

// PassthroughFd says which file the kernel may read instead of asking us.
func (h *viewLiveHandle) PassthroughFd() (int, bool) {
	return h.node.m.kernel.offer(&h.node.serving, h.h.Spool())
}

// Read serves read(2) and page faults of a lazy file.
func (h *viewLiveHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.node.m.decoded.Add(1)
	n, err := h.h.ReadAt(h.node.m.base, dest, off)
	if err != nil && err != io.EOF {
		return nil, h.node.fail("read", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Release serves the last close(2) and munmap(2).
func (h *viewLiveHandle) Release(context.Context) syscall.Errno {
	if c := h.node.serving.leave(h.track); c != nil {
		h.node.m.closeAll([]io.Closer{c})
	}
	return 0
}
