package worktree

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"coral/internal/errs"
)

// replay is what a tree keeps while its journal is replayed.
type replay struct {
	doomed map[spoolID]bool // given up by a record
}

// replayFile builds a tree from its journal. The tree is returned along with an error if the header could be read.
func (s *Set) replayFile(ctx context.Context, path string, doomed map[spoolID]bool) (t *Tree, valid int64, records int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer f.Close()
	valid, records, err = readJournal(f, func(h header) error {
		t = newTree(s, h)
		t.replay = &replay{doomed: doomed}
		return checkBranch(h.branch)
	}, func(r *record, _ int64) error {
		if r.spool != 0 {
			s.spool.used(r.spool)
		}
		return t.redo(ctx, r)
	})
	if t != nil {
		t.replay = nil
	}
	return t, valid, records, err
}

// redo applies a record. It uses the same functions as the operations that wrote it; with no journal open, they do not log.
func (t *Tree) redo(ctx context.Context, r *record) error {
	err := t.update(ctx, func() error {
		switch r.kind {
		case recDoomed:
			t.replay.doomed[r.spool] = true
			return nil
		case recMkdir, recCreate, recMknod, recSymlink:
			return t.redoMake(r)
		case recLink, recRename, recExchange:
			return t.redoTwo(r)
		case recUnlink, recRmdir:
			d, name, err := t.walkParent(r.path)
			switch {
			case err != nil:
				return err
			case r.kind == recUnlink:
				return t.unlink(d.ino, name, r.time)
			}
			return t.rmdir(d.ino, name, r.time)
		case recFile, recGraft, recDrop:
			return t.redoState(r)
		}
		return t.redoInode(r)
	})
	if err != nil {
		return fmt.Errorf("redo %s %s: %w", r.kind, r.path, err)
	}
	return nil
}

// walk finds the node of a path.
func (t *Tree) walk(path string) (*node, error) {
	n := t.root
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if err := t.loaded(n); err != nil {
			return nil, err
		}
		c, err := t.child(n, name)
		if err != nil {
			return nil, err
		}
		n = c
	}
	return n, nil
}

func (t *Tree) walkParent(path string) (*node, string, error) {
	dir, name := splitPath(path)
	d, err := t.walk(dir)
	if err != nil {
		return nil, "", err
	}
	return d, name, t.loaded(d)
}

func (t *Tree) redoMake(r *record) error {
	d, name, err := t.walkParent(r.path)
	if err != nil {
		return err
	}
	switch r.kind {
	case recMkdir:
		r.mode = typeDir | r.mode&permMask
	case recCreate:
		r.mode = typeReg | r.mode&permMask
	case recSymlink:
		r.mode = typeLink | 0o777
	default:
		switch r.mode & typeMask {
		case syscall.S_IFIFO, syscall.S_IFSOCK, syscall.S_IFCHR, syscall.S_IFBLK:
		default:
			return fmt.Errorf("mode %o: %w", r.mode, errs.Corrupt)
		}
	}
	if _, err := t.make(d.ino, name, r); err != nil {
		return err
	}
	delete(t.replay.doomed, r.spool)
	return nil
}

func (t *Tree) redoTwo(r *record) error {
	d, name, err := t.walkParent(r.path)
	if err != nil {
		return err
	}
	to, newName, err := t.walkParent(r.path2)
	switch {
	case err != nil:
		return err
	case r.kind == recRename:
		return t.rename(d.ino, name, to.ino, newName, false, r.time)
	case r.kind == recExchange:
		return t.exchange(d.ino, name, to.ino, newName, r.time)
	}
	n, err := t.child(d, name)
	if err != nil {
		return err
	}
	return t.link(n, to.ino, newName, r.time)
}

// redoInode applies records about an inode that has a path.
func (t *Tree) redoInode(r *record) error {
	n, err := t.walk(r.path)
	if err != nil {
		return err
	}
	switch r.kind {
	case recSetattr:
		n.apply(r)
		return nil
	case recSetxattr:
		return t.setxattr(n, r.name, r.value, r.time)
	case recRemovexattr:
		return t.removexattr(n, r.name, r.time)
	}
	if !n.isReg() {
		return fmt.Errorf("not a regular file: %w", errs.Corrupt)
	}
	x := n.ext()
	if x.spool != 0 && x.spool != r.spool {
		t.replay.doomed[x.spool] = true
	}
	delete(t.replay.doomed, r.spool)
	x.spool, x.dirty = r.spool, r.kind == recDirty
	if r.kind == recIngested {
		n.id, n.size, n.mtime, x.ctimeBase = r.id, r.stat.size, r.stat.mtime, r.stat.ctime
	}
	n.flags |= flagTouched
	n.markEntries()
	return nil
}

// redoState applies the records that only compaction writes: they say what is, not what was done, and leave the times of the parent alone.
func (t *Tree) redoState(r *record) error {
	d, name, err := t.walkParent(r.path)
	if err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if old := d.children[name]; old != nil {
		t.removeAll(d, name, old)
	}
	switch r.kind {
	case recDrop:
		d.markChanged()
		return nil
	case recGraft:
		n := t.newNode(typeDir|r.mode&permMask, r.uid, r.gid, r.time)
		n.flags &^= flagLoaded | flagChanged
		n.subdirs, n.id = -1, r.id
		t.grafts = append(t.grafts, r.id)
		n.apply(r)
		t.insert(d, name, n)
		return nil
	}
	n := t.newNode(typeReg|r.mode&permMask, r.uid, r.gid, r.time)
	n.id, n.size = r.id, r.size
	if r.spool != 0 {
		x := n.ext()
		x.spool, x.dirty, x.ctimeBase = r.spool, r.dirty, r.stat.ctime
		delete(t.replay.doomed, r.spool)
	}
	n.apply(r)
	t.insert(d, name, n)
	return nil
}

// removeAll takes a name and all below it out of the tree.
func (t *Tree) removeAll(d *node, name string, n *node) {
	for childName, c := range n.children {
		t.removeAll(n, childName, c)
	}
	t.remove(d, name, n)
	if n.isDir() {
		delete(t.inodes, n.ino)
	} else {
		t.discard(n)
	}
}

// String names a kind in errors.
func (k recKind) String() string {
	names := [...]string{recMkdir: "mkdir", recCreate: "create", recMknod: "mknod", recSymlink: "symlink", recLink: "link", recUnlink: "unlink",
		recRmdir: "rmdir", recRename: "rename", recExchange: "exchange", recSetattr: "setattr", recSetxattr: "setxattr", recRemovexattr: "removexattr",
		recDirty: "dirty", recIngested: "ingested", recDoomed: "doomed", recFile: "file", recGraft: "graft", recDrop: "drop"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}
