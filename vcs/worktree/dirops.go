package worktree

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"coral/internal/errs"
)

const (
	maxLinks  = 65000 // of a file, as ext4 has it
	maxTarget = 4095  // of a symbolic link: PATH_MAX without the NUL
)

// Lookup returns the attributes of a name in a directory.
func (t *Tree) Lookup(ctx context.Context, dir Ino, name string) (Attr, error) {
	var a Attr
	err := t.view(ctx, func() error {
		d, err := t.dir(dir)
		if err != nil {
			return err
		}
		n, err := t.child(d, name)
		if err == nil {
			a, err = t.attr(n)
		}
		return err
	})
	return a, opError(err, "lookup", name)
}

// Readdir lists a directory in order of the names' bytes, without "." and "..". A removed directory is empty.
func (t *Tree) Readdir(ctx context.Context, dir Ino) ([]Dirent, error) {
	var list []Dirent
	err := t.view(ctx, func() error {
		d, err := t.dir(dir)
		if err != nil {
			return err
		}
		list = make([]Dirent, 0, len(d.children))
		for name, n := range d.children {
			list = append(list, Dirent{Name: name, Ino: n.ino, Mode: n.mode & typeMask})
		}
		touchAtime(d)
		return nil
	})
	slices.SortFunc(list, func(a, b Dirent) int { return strings.Compare(a.Name, b.Name) })
	return list, opError(err, "readdir", "")
}

// Readlink returns a symbolic link's target.
func (t *Tree) Readlink(ctx context.Context, ino Ino) (string, error) {
	var target string
	err := t.view(ctx, func() error {
		n, err := t.get(ino)
		if err == nil && !n.isSymlink() {
			err = fmt.Errorf("not a symbolic link: %w", errs.Invalid)
		}
		if err == nil {
			target = n.x.target
		}
		return err
	})
	return target, opError(err, "readlink", "")
}

// freeName finds a directory in which name can be made. t.mu is held.
func (t *Tree) freeName(dir Ino, name string) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	d, err := t.dir(dir)
	switch {
	case err != nil:
		return nil, err
	case d.is(flagRemoved):
		return nil, fmt.Errorf("directory was removed: %w", errs.NotFound)
	case d.children[name] != nil:
		return nil, errs.Exist
	}
	return d, nil
}

// inherit applies a set-group-id directory to what is made in it, as Linux does.
func inherit(d *node, mode, gid uint32) (uint32, uint32) {
	if d.mode&syscall.S_ISGID == 0 {
		return mode, gid
	}
	if mode&typeMask == typeDir {
		mode |= syscall.S_ISGID
	}
	return mode, d.gid
}

// make adds an inode of the kind in r.mode (for r.kind) under a name that must be free.
func (t *Tree) make(dir Ino, name string, r *record) (*node, error) {
	d, err := t.freeName(dir, name)
	if err != nil {
		return nil, err
	}
	if t.replay == nil { // a record has what was inherited then
		r.mode, r.gid = inherit(d, r.mode, r.gid)
	}
	r.path = join(d.path(), name)
	if err := t.log(r); err != nil {
		return nil, err
	}
	n := t.newNode(r.mode, r.uid, r.gid, r.time)
	switch r.kind {
	case recSymlink:
		n.ext().target = string(r.value)
		n.size = int64(len(r.value))
	case recMknod:
		if r.rdev != 0 {
			n.ext().rdev = r.rdev
		}
	case recCreate:
		n.ext().spool, n.x.dirty = r.spool, true
		n.x.gen = 1
	}
	t.insert(d, name, n)
	d.stamp(r.time)
	return n, nil
}

// Mkdir makes a directory.
func (t *Tree) Mkdir(ctx context.Context, dir Ino, name string, mode, uid, gid uint32) (Attr, error) {
	r := &record{kind: recMkdir, time: clock(), mode: typeDir | mode&permMask, uid: uid, gid: gid}
	return t.makeAttr(ctx, "mkdir", dir, name, r)
}

// Symlink makes a symbolic link.
func (t *Tree) Symlink(ctx context.Context, dir Ino, name, target string, uid, gid uint32) (Attr, error) {
	if len(target) > maxTarget {
		return Attr{}, fmt.Errorf("symlink %s: target of %d bytes: %w", name, len(target), errs.NameTooLong)
	}
	if target == "" || strings.ContainsRune(target, 0) {
		return Attr{}, fmt.Errorf("symlink %s: target %q: %w", name, target, errs.Invalid)
	}
	r := &record{kind: recSymlink, time: clock(), mode: typeLink | 0o777, uid: uid, gid: gid, value: []byte(target)}
	return t.makeAttr(ctx, "symlink", dir, name, r)
}

// Mknod makes a regular file, FIFO, socket or device node (type bits in mode). A commit does not hold the last three.
func (t *Tree) Mknod(ctx context.Context, dir Ino, name string, mode, rdev, uid, gid uint32) (Attr, error) {
	switch mode & typeMask {
	case syscall.S_IFIFO, syscall.S_IFSOCK:
		rdev = 0
	case syscall.S_IFCHR, syscall.S_IFBLK:
	case typeReg, 0:
		a, h, err := t.Create(ctx, dir, name, mode, uid, gid, syscall.O_WRONLY)
		if err != nil {
			return a, err
		}
		return a, h.Close()
	default:
		return Attr{}, fmt.Errorf("mknod %s: mode %o: %w", name, mode, errs.Invalid)
	}
	r := &record{kind: recMknod, time: clock(), mode: mode & (typeMask | permMask), rdev: rdev, uid: uid, gid: gid}
	return t.makeAttr(ctx, "mknod", dir, name, r)
}

func (t *Tree) makeAttr(ctx context.Context, op string, dir Ino, name string, r *record) (Attr, error) {
	var a Attr
	err := t.update(ctx, func() error {
		n, err := t.make(dir, name, r)
		if err == nil {
			a, err = t.attr(n)
		}
		return err
	})
	return a, opError(err, op, name)
}

// Link gives an inode that is not a directory another name.
func (t *Tree) Link(ctx context.Context, ino, dir Ino, name string) (Attr, error) {
	var a Attr
	now := clock()
	err := t.update(ctx, func() error {
		n, err := t.get(ino)
		if err == nil {
			err = t.link(n, dir, name, now)
		}
		if err == nil {
			a, err = t.attr(n)
		}
		return err
	})
	return a, opError(err, "link", name)
}

func (t *Tree) link(n *node, dir Ino, name string, now int64) error {
	d, err := t.freeName(dir, name)
	switch {
	case err != nil:
		return err
	case n.isDir():
		return fmt.Errorf("hard link to a directory: %w", syscall.EPERM)
	case n.nlink == 0 && (n.x == nil || !n.x.nameable):
		return fmt.Errorf("inode has no name: %w", errs.NotFound)
	case n.nlink >= maxLinks:
		return syscall.EMLINK
	}
	path := join(d.path(), name)
	if n.nlink == 0 {
		err = t.logFirstName(n, path, now)
	} else {
		err = t.log(&record{kind: recLink, time: now, path: n.path(), path2: path})
	}
	if err != nil {
		return err
	}
	if n.x != nil {
		n.x.nameable = false
	}
	n.ctime = now
	n.flags |= flagTouched
	t.insert(d, name, n)
	d.stamp(now)
	return nil
}

// logFirstName journals all that a nameless file has become before it got a name.
func (t *Tree) logFirstName(n *node, path string, now int64) error {
	r := &record{kind: recCreate, time: now, path: path, mode: n.mode, uid: n.uid, gid: n.gid, spool: n.x.spool}
	if err := t.log(r); err != nil {
		return err
	}
	for name, value := range n.x.xattrs {
		if err := t.log(&record{kind: recSetxattr, time: now, path: path, name: name, value: value}); err != nil {
			// Half of it is in the journal; take it back, so that the name does not appear after a restart.
			return errJoin(err, t.log(&record{kind: recUnlink, time: now, path: path}))
		}
	}
	return nil
}

// Unlink removes a name of anything but a directory. The inode goes with its last name, or with the last handle after that.
func (t *Tree) Unlink(ctx context.Context, dir Ino, name string) error {
	now := clock()
	return opError(t.update(ctx, func() error { return t.unlink(dir, name, now) }), "unlink", name)
}

func (t *Tree) unlink(dir Ino, name string, now int64) error {
	d, err := t.dir(dir)
	if err != nil {
		return err
	}
	n, err := t.child(d, name)
	if err != nil {
		return err
	}
	if n.isDir() {
		return errs.IsDir
	}
	if err := t.log(&record{kind: recUnlink, time: now, path: join(d.path(), name)}); err != nil {
		return err
	}
	t.remove(d, name, n)
	t.unnamed(n, now)
	d.stamp(now)
	return nil
}

// unnamed does what follows when an inode has lost a name.
func (t *Tree) unnamed(n *node, now int64) {
	n.ctime = now
	n.flags |= flagTouched
	if n.x != nil && t.j != nil {
		n.x.seq = t.j.seq.Load()
	}
	t.discard(n)
}

// Rmdir removes an empty directory.
func (t *Tree) Rmdir(ctx context.Context, dir Ino, name string) error {
	now := clock()
	return opError(t.update(ctx, func() error { return t.rmdir(dir, name, now) }), "rmdir", name)
}

func (t *Tree) rmdir(dir Ino, name string, now int64) error {
	d, err := t.dir(dir)
	if err != nil {
		return err
	}
	n, err := t.child(d, name)
	if err != nil {
		return err
	}
	if err := t.loaded(n); err != nil {
		return err
	}
	if len(n.children) > 0 {
		return errs.NotEmpty
	}
	if err := t.log(&record{kind: recRmdir, time: now, path: join(d.path(), name)}); err != nil {
		return err
	}
	t.remove(d, name, n)
	t.unnamed(n, now)
	d.stamp(now)
	return nil
}
