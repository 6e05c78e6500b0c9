package worktree

import (
	"context"
	"fmt"

	"coral/internal/errs"
)

// Rename moves a name, replacing what is there when that is legal: a file by a file, an empty directory by a directory. With RenameNoReplace
// nothing is replaced; with RenameExchange the two change places. Two names of one inode stay as they are.
func (t *Tree) Rename(ctx context.Context, dir Ino, name string, newDir Ino, newName string, flags uint32) error {
	now := clock()
	err := t.update(ctx, func() error {
		switch flags {
		case 0, RenameNoReplace:
			return t.rename(dir, name, newDir, newName, flags == RenameNoReplace, now)
		case RenameExchange:
			return t.exchange(dir, name, newDir, newName, now)
		}
		return fmt.Errorf("flags %#x: %w", flags, errs.Invalid)
	})
	return opError(err, "rename", name)
}

// rename is Rename without flags. t.mu is held.
func (t *Tree) rename(dir Ino, name string, newDir Ino, newName string, noReplace bool, now int64) error {
	d, n, err := t.renameSource(dir, name)
	if err != nil {
		return err
	}
	to, old, err := t.renameTarget(newDir, newName)
	if err != nil {
		return err
	}
	if old != nil && noReplace {
		return errs.Exist
	}
	if n.isDir() && to.under(n) {
		return fmt.Errorf("into a directory below itself: %w", errs.Invalid)
	}
	if old != nil {
		if old == n {
			return nil
		}
		if old.isDir() && d.under(old) {
			return errs.NotEmpty
		}
		if err := t.mayReplace(n, old); err != nil {
			return err
		}
	}
	if err := t.log(&record{kind: recRename, time: now, path: join(d.path(), name), path2: join(to.path(), newName)}); err != nil {
		return err
	}
	if old != nil {
		t.remove(to, newName, old)
		t.unnamed(old, now)
	}
	t.move(d, name, to, newName, n)
	n.ctime = now
	n.flags |= flagTouched
	d.stamp(now)
	to.stamp(now)
	return nil
}

func (t *Tree) renameSource(dir Ino, name string) (*node, *node, error) {
	d, err := t.dir(dir)
	if err != nil {
		return nil, nil, err
	}
	n, err := t.child(d, name)
	return d, n, err
}

// renameTarget finds the directory a name goes to and what has that name there, nil if nothing.
func (t *Tree) renameTarget(dir Ino, name string) (*node, *node, error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	d, err := t.dir(dir)
	if err != nil {
		return nil, nil, err
	}
	if d.is(flagRemoved) {
		return nil, nil, fmt.Errorf("directory was removed: %w", errs.NotFound)
	}
	return d, d.children[name], nil
}

// mayReplace says whether n may take the place of old.
func (t *Tree) mayReplace(n, old *node) error {
	switch {
	case !n.isDir() && old.isDir():
		return errs.IsDir
	case n.isDir() && !old.isDir():
		return errs.NotDir
	case !n.isDir():
		return nil
	}
	if err := t.loaded(old); err != nil {
		return err
	}
	if len(old.children) > 0 {
		return errs.NotEmpty
	}
	return nil
}

// move gives n, which has the name name in d, the free name newName in to instead.
func (t *Tree) move(d *node, name string, to *node, newName string, n *node) {
	delete(d.children, name)
	t.place(d, name, to, newName, n)
	d.flags |= flagShaped
	d.markChanged()
}

// place enters n under its new name; the old one has been taken out of d's children or is another's now.
func (t *Tree) place(d *node, name string, to *node, newName string, n *node) {
	if to.children == nil {
		to.children = map[string]*node{}
	}
	to.children[newName] = n
	if n.isDir() {
		n.parent, n.name = to, newName
		d.subdirs--
		to.subdirs++
	} else {
		n.moveLink(d, name, to, newName)
	}
	to.flags |= flagShaped
	to.markChanged()
}

// exchange swaps two names. t.mu is held.
func (t *Tree) exchange(dir Ino, name string, newDir Ino, newName string, now int64) error {
	d, n, err := t.renameSource(dir, name)
	if err != nil {
		return err
	}
	to, m, err := t.renameSource(newDir, newName)
	switch {
	case err != nil:
		return err
	case n == m:
		return nil
	case n.isDir() && to.under(n), m.isDir() && d.under(m):
		return fmt.Errorf("exchange with a directory below itself: %w", errs.Invalid)
	}
	if err := t.log(&record{kind: recExchange, time: now, path: join(d.path(), name), path2: join(to.path(), newName)}); err != nil {
		return err
	}
	t.place(d, name, to, newName, n)
	t.place(to, newName, d, name, m)
	for _, x := range []*node{n, m} {
		x.ctime = now
		x.flags |= flagTouched
	}
	d.stamp(now)
	to.stamp(now)
	return nil
}
