package fs

import (
	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"coral/internal/oid"
)

// At is the one tree that a mount shows at its root: a live tree if Branch is set, else that of Commit. The zero At shows the repository: branches/,
// commits/, tags/ and history/. A mount of one tree has no control directory; commands find the repository by -R.
type At struct {
	Branch string
	Commit oid.ID
}

// IsZero reports whether the mount shows the whole repository.
func (a At) IsZero() bool { return a.Branch == "" && a.Commit.IsZero() }

// makeRoot returns the node at the mountpoint, and its inode number: a live tree keeps the one it has in its table.
func (m *Mount) makeRoot() (fusefs.InodeEmbedder, uint64, error) {
	switch at := m.opts.At; {
	case at.Branch != "":
		tree, err := m.repo.LiveTree(m.base, at.Branch)
		if err != nil {
			return nil, 0, err
		}
		n := &liveNode{base: base{m: m}, tree: tree, ino: tree.Root()}
		m.live.nodes[n.ino] = n
		return n, uint64(n.ino), nil
	case !at.Commit.IsZero():
		snap, err := m.snapshot(at.Commit)
		if err != nil {
			return nil, 0, err
		}
		k := treeKey(snap.tree)
		return &treeNode{readOnly: m.readOnly(), snap: snap, tree: snap.tree, place: k, key: k, root: true}, rootIno, nil
	}
	return &rootNode{readOnly: m.readOnly()}, rootIno, nil
}
