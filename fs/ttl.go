package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/vcs/worktree"
)

// How long the kernel may keep what it was told.
const (
	forever = 24 * time.Hour // of what cannot change
	settled = time.Minute    // of what changes through the mount, or with a notification
	brief   = time.Second    // of what changes without either
)

// liveTTL is how long the kernel may keep a name of an inode of a live tree and what it was told of the inode. Names and attributes change by requests,
// which the kernel sees, and by commands, of which it is notified. Without either change
//
//   - everything, when the repository has other mounts;
//   - size and times of a file that is open for writing, by a mapping, which passthrough hides from us and the kernel does not connect with the inode;
//   - directories, by what is done below them (and their names stay when notifications are sent: notifier.sendTree).
func (m *Mount) liveTTL(a *worktree.Attr) (entry, attr time.Duration) {
	switch {
	case m.shared.Load():
		return 0, 0
	case a.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		return brief, brief
	case a.Writing:
		return settled, brief
	}
	return settled, settled
}

// fillEntry fills the answer to a request that makes a live inode known.
func (m *Mount) fillEntry(out *fuse.EntryOut, a worktree.Attr) {
	fillLive(&out.Attr, a)
	entry, attr := m.liveTTL(&a)
	out.SetEntryTimeout(entry)
	out.SetAttrTimeout(attr)
}

// fillAttr fills the answer to GETATTR and SETATTR.
func (m *Mount) fillAttr(out *fuse.AttrOut, a worktree.Attr) {
	fillLive(&out.Attr, a)
	_, attr := m.liveTTL(&a)
	out.SetTimeout(attr)
}

// writer is what liveHandle closes when it was opened for writing. The kernel may hold attributes of before, for as long as settled: after brief, if it is
// still open, and when it is closed, if it has changed the file, the kernel is told to ask again. Most are open for less and many change nothing by a mapping,
// but that is not known.
type writer struct {
	n    *liveNode
	h    *worktree.Handle
	told worktree.Attr // when it was opened
}

// Close implements io.Closer.
func (w *writer) Close() error {
	err := w.h.Close()
	a, aerr := w.n.tree.Getattr(w.n.m.base, w.n.ino)
	if aerr == nil && (a.Size != w.told.Size || a.Blocks != w.told.Blocks || !a.Mtime.Equal(w.told.Mtime) || !a.Ctime.Equal(w.told.Ctime)) {
		w.n.m.notify.stale(w.n)
	}
	return err
}

// writerOpened notes a file that was opened for writing.
func (n *notifier) writerOpened(f *openFile, node *liveNode) {
	n.staleMu.Lock()
	n.young = append(n.young, youngWriter{f, node})
	first := len(n.young) == 1
	n.staleMu.Unlock()
	if first {
		poke(n.aging)
	}
}

// youngWriter is a file that was opened for writing less than brief ago.
type youngWriter struct {
	f    *openFile
	node *liveNode
}

// stale asks for the kernel to be told that what it holds of the inode's attributes may be wrong.
func (n *notifier) stale(node *liveNode) {
	n.staleMu.Lock()
	n.staleNodes = append(n.staleNodes, node)
	n.staleMu.Unlock()
	poke(n.stales)
}

// sendStale tells the kernel of the inodes that stale was called for.
func (n *notifier) sendStale() {
	n.staleMu.Lock()
	nodes := n.staleNodes
	n.staleNodes = nil
	n.staleMu.Unlock()
	for _, node := range nodes {
		n.sendAttr(node.EmbeddedInode())
	}
}

// age tells the kernel of the files that have been open for writing for a while.
func (n *notifier) age() {
	n.staleMu.Lock()
	young := n.young
	n.young = nil
	n.staleMu.Unlock()
	for _, w := range young {
		if w.f.open() {
			n.sendAttr(w.node.EmbeddedInode())
		}
	}
}
