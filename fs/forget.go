package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/vcs/worktree"
)

// forgetBatch is how many nodes the kernel has forgotten before the worktree is told. 1024 nodes are about 0.5 MB.
const forgetBatch = 1024

// liveNodes is the one node for each live inode that the kernel knows, or is being told of.
//
// The library alone cannot tell when an inode's memory may be freed: between a Lookup that returned a node and its
// registration, another request may forget the same inode. So every request that makes nodes known holds gate for
// reading from before the worktree is asked until the node is registered, and inodes are forgotten with gate held for writing.
type liveNodes struct {
	gate sync.RWMutex

	mu        sync.Mutex
	nodes     map[worktree.Ino]*liveNode
	forgotten []*liveNode
}

func (l *liveNodes) init() { l.nodes = map[worktree.Ino]*liveNode{} }

// forget notes that the kernel may have forgotten n. It says when enough have gathered for sweep.
func (l *liveNodes) forget(n *liveNode) (enough bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgotten = append(l.forgotten, n)
	return len(l.forgotten) >= forgetBatch
}

// sweep tells the worktree which inodes the kernel has forgotten. It waits for requests that make nodes known.
func (l *liveNodes) sweep() {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	batch := l.forgotten
	l.forgotten = nil
	gone := batch[:0]
	for _, n := range batch {
		//lint:ignore SA1019 OnForget alone cannot tell whether the node was made known again since; with the gate closed, this can
		if l.nodes[n.ino] == n && n.Forgotten() {
			delete(l.nodes, n.ino)
			gone = append(gone, n)
		}
	}
	l.mu.Unlock()
	for _, n := range gone {
		n.tree.Forget(n.ino)
	}
}

// The requests that make nodes known.

func (k *kernel) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Lookup(cancel, h, name, out)
}

func (k *kernel) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Mkdir(cancel, in, name, out)
}

func (k *kernel) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Mknod(cancel, in, name, out)
}

func (k *kernel) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Symlink(cancel, h, target, name, out)
}

func (k *kernel) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Link(cancel, in, name, out)
}

func (k *kernel) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Create(cancel, in, name, out)
}

func (k *kernel) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.Tmpfile(cancel, in, out)
}

func (k *kernel) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	k.m.live.gate.RLock()
	defer k.m.live.gate.RUnlock()
	return k.RawFileSystem.ReadDirPlus(cancel, in, out)
}
