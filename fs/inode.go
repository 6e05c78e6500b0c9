package fs

import (
	"encoding/binary"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"coral/internal/oid"
)

// key identifies an inode that is not a live one: a hash of where it stands. Live inodes have the worktree's numbers.
type key [16]byte

// newKey hashes a kind of node and what tells it from others of its kind.
func newKey(kind string, parts ...string) key {
	b := []byte(kind)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return sumKey(b)
}

// child returns the key of name in the directory that k identifies.
func (k key) child(name string) key {
	var a [16 + 256]byte
	b := append(a[:0], k[:]...)
	return sumKey(append(b, name...))
}

// path returns the key of a slash-separated path below k.
func (k key) path(path string) key {
	for name := range strings.SplitSeq(path, "/") {
		k = k.child(name)
	}
	return k
}

func sumKey(b []byte) key {
	sum := oid.Sum(b)
	return key(sum[:len(key{})])
}

// treeKey is the key of the root of a committed tree, from which those of its files are derived: a file with one path in one
// tree is one inode, however it was reached, so its pages are cached once.
func treeKey(root oid.ID) key { return newKey("tree", string(root[:])) }

// stable returns the identity of k: an inode number of 63 hashed bits with the top bit set, which live inodes never
// have, and 32 more bits as generation (the kernel keeps no more), so that two inodes are never taken for one.
func (k key) stable(mode uint32) fusefs.StableAttr {
	ino := binary.LittleEndian.Uint64(k[:8]) | 1<<63
	if ino == ^uint64(0) { // reserved by the library
		ino--
	}
	return fusefs.StableAttr{Mode: mode & syscall.S_IFMT, Ino: ino, Gen: uint64(binary.LittleEndian.Uint32(k[8:12]))}
}

// rootIno is the inode number of the mount's root.
const rootIno = 1
