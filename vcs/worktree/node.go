package worktree

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"coral/internal/oid"
	"coral/vcs/object"
)

// Type bits, shorter than syscall's.
const (
	typeMask = syscall.S_IFMT
	typeDir  = syscall.S_IFDIR
	typeReg  = syscall.S_IFREG
	typeLink = syscall.S_IFLNK
	permMask = 0o7777
)

// Flags of a node.
const (
	flagLoaded  = 1 << iota // dir: children are there
	flagChanged             // dir: what is below differs from id
	flagTouched             // something was done to it that the commit cannot bring back
	flagShaped              // dir: names were added or removed since it was loaded
	flagRemoved             // dir: it has no name any more
)

// node is an inode. Everything but atime is guarded by Tree.mu. It is kept small: what most inodes lack is in x.
type node struct {
	ino      Ino
	mode     uint32
	uid, gid uint32
	nlink    uint32 // of a non-directory: its names
	subdirs  int32  // of a directory: directories in it, -1 if not known
	flags    uint8
	name     string // its name, or the first of several; see extra.more
	parent   *node  // directory of that name; nil for the root and for what has no name
	size     int64
	mtime    int64 // ns; of a file open for writing, the spool file knows better
	ctime    int64
	atime    atomic.Int64
	id       oid.ID // directory: tree whose content it has unless flagChanged. File: manifest; while dirty, the last one
	gen      uint64 // directory: counts changes at and below it
	children map[string]*node
	x        *extra
}

// link is a name of an inode.
type link struct {
	dir  *node
	name string
}

// extra is what few inodes have.
type extra struct {
	more   []link // names beyond the first
	target string // of a symlink
	rdev   uint32
	xattrs map[string][]byte

	spool     spoolID // the 1:1 file; 0: none
	dirty     bool    // the spool file is the truth (state C)
	synced    bool    // a clean spool file whose content is durable
	lost      bool    // dirty, and the spool file has vanished: reading it is an error
	nameable  bool    // made without a name: Link may give it one
	blocks    int64   // of the spool file, while it is not open for writing
	ctimeBase int64   // ctime of the spool file that our own copying caused
	ctimeNews bool    // ctime came from the spool file and is not in the journal
	gen       uint64  // counts writers and truncations: content with the same gen is the same
	seq       uint64  // journal.seq of the record that made the spool file, or the last name, superfluous
	writers   int     // open handles that may write
	pins      int     // others that need the spool file
	open      []*Handle
	latch     chan struct{} // closed when the copy up in work is done
	job       *job          // in the ingest queue
	pending   oid.ID        // manifest that waits for its batch to be committed

	// For the spool quota; guarded by Set.cleanMu.
	listed  bool  // in Set.clean
	counted bool  // clean, with a spool copy
	clean   int64 // bytes it counts for
}

func (n *node) is(flag uint8) bool { return n.flags&flag != 0 }
func (n *node) isDir() bool        { return n.mode&typeMask == typeDir }
func (n *node) isReg() bool        { return n.mode&typeMask == typeReg }
func (n *node) isSymlink() bool    { return n.mode&typeMask == typeLink }

// isSpecial says whether a commit cannot hold it.
func (n *node) isSpecial() bool { return !n.isDir() && !n.isReg() && !n.isSymlink() }

func (n *node) spoolID() spoolID {
	if n.x == nil {
		return 0
	}
	return n.x.spool
}

func (n *node) dirty() bool   { return n.x != nil && n.x.dirty }
func (n *node) writers() bool { return n.x != nil && n.x.writers > 0 }

// busy says whether a handle or somebody else needs the spool file.
func (n *node) busy() bool { return n.x != nil && len(n.x.open)+n.x.pins > 0 }

// named says whether a path leads to it.
func (n *node) named() bool {
	if n.isDir() {
		return !n.is(flagRemoved)
	}
	return n.nlink > 0
}

// ext returns the node's extra, making one.
func (n *node) ext() *extra {
	if n.x == nil {
		n.x = &extra{}
	}
	return n.x
}

// slim drops an extra that says nothing.
func (n *node) slim() {
	x := n.x
	if x != nil && x.spool == 0 && !x.dirty && !x.nameable && x.target == "" && x.rdev == 0 && len(x.more) == 0 && len(x.xattrs) == 0 &&
		len(x.open) == 0 && x.pins == 0 && x.latch == nil && x.job == nil && x.pending.IsZero() {
		n.x = nil
	}
}

// fileKind is how a commit calls it; 0 for what a commit cannot hold.
func (n *node) fileKind() object.FileKind {
	switch n.mode & typeMask {
	case typeReg:
		return object.File
	case typeDir:
		return object.Dir
	case typeLink:
		return object.Symlink
	}
	return 0
}

// links calls fn for each name.
func (n *node) links(fn func(dir *node, name string)) {
	if n.parent != nil {
		fn(n.parent, n.name)
	}
	if n.x != nil {
		for _, l := range n.x.more {
			fn(l.dir, l.name)
		}
	}
}

// addLink gives a non-directory another name, in its own records only.
func (n *node) addLink(dir *node, name string) {
	n.nlink++
	if n.parent == nil {
		n.parent, n.name = dir, name
		return
	}
	x := n.ext()
	x.more = append(x.more, link{dir, name})
}

// dropLink takes a name away.
func (n *node) dropLink(dir *node, name string) {
	n.nlink--
	if n.parent == dir && n.name == name {
		n.parent, n.name = nil, ""
		if n.x != nil && len(n.x.more) > 0 {
			last := len(n.x.more) - 1
			n.parent, n.name = n.x.more[last].dir, n.x.more[last].name
			n.x.more = n.x.more[:last]
		}
		return
	}
	for i, l := range n.x.more {
		if l.dir == dir && l.name == name {
			n.x.more = append(n.x.more[:i], n.x.more[i+1:]...)
			return
		}
	}
}

// moveLink changes one of its names.
func (n *node) moveLink(dir *node, name string, newDir *node, newName string) {
	if n.parent == dir && n.name == name {
		n.parent, n.name = newDir, newName
		return
	}
	for i, l := range n.x.more {
		if l.dir == dir && l.name == name {
			n.x.more[i] = link{newDir, newName}
			return
		}
	}
}

// path returns one path of the node: "" for the root.
func (n *node) path() string {
	length := 0
	for p := n; p.parent != nil; p = p.parent {
		length += len(p.name) + 1
	}
	if length == 0 {
		return ""
	}
	b := make([]byte, length-1)
	for p, end := n, length-1; p.parent != nil; p = p.parent {
		end -= copy(b[end-len(p.name):], p.name) + 1
		if end >= 0 {
			b[end] = '/'
		}
	}
	return string(b)
}

// under says whether n is dir or below it.
func (n *node) under(dir *node) bool {
	for p := n; p != nil; p = p.parent {
		if p == dir {
			return true
		}
	}
	return false
}

// markChanged notes that what a commit would hold at d or below has changed.
func (d *node) markChanged() {
	for ; d != nil; d = d.parent {
		d.gen++
		d.flags |= flagChanged
	}
}

// markEntries notes that n's own entry has changed, wherever it has a name.
func (n *node) markEntries() {
	n.links(func(dir *node, _ string) { dir.markChanged() })
}

// stamp sets a directory's times after its names changed.
func (d *node) stamp(now int64) {
	d.mtime, d.ctime = now, now
	d.flags |= flagTouched
}

// writer returns a handle that is open for writing.
func (x *extra) writer() *Handle {
	for _, h := range x.open {
		if h.write && h.file.Load() != nil {
			return h
		}
	}
	return nil
}

// learn takes size and times from the spool file's own.
func (n *node) learn(st *unix.Stat_t) {
	n.size, n.mtime, n.x.blocks = st.Size, st.Mtim.Nano(), st.Blocks
	if c := st.Ctim.Nano(); c != n.x.ctimeBase && c > n.ctime {
		n.ctime, n.x.ctimeNews = c, true
	}
}

func statOf(st *unix.Stat_t) spoolStat {
	return spoolStat{size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
}
