package worktree

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// dirSize is what directories show as their size.
const dirSize = 4096

// attr returns a node's attributes. t.mu is held, at least for reading. Kernel passthrough hides writes from us, so size and times of a file that
// is open for writing come from its spool file. (fstat takes no lock that a write holds.)
func (t *Tree) attr(n *node) (Attr, error) {
	a := Attr{Ino: n.ino, Mode: n.mode, UID: n.uid, GID: n.gid, Nlink: n.nlink, Size: n.size, Blocks: (n.size + 511) / 512}
	mtime, ctime := n.mtime, n.ctime
	switch {
	case n.isDir():
		if n.subdirs < 0 {
			return a, &loadError{d: n, count: true}
		}
		a.Size, a.Blocks = dirSize, dirSize/512
		a.Nlink = 2 + uint32(n.subdirs)
		if n.is(flagRemoved) {
			a.Nlink = 0
		}
	case n.isSpecial():
		if n.x != nil {
			a.Rdev = n.x.rdev
		}
	case n.spoolID() != 0:
		a.Blocks, a.Writing = n.x.blocks, n.writers()
		if h := n.x.writer(); h != nil {
			var st unix.Stat_t
			if unix.Fstat(int(h.file.Load().Fd()), &st) == nil {
				a.Size, a.Blocks, mtime = st.Size, st.Blocks, st.Mtim.Nano()
				if c := st.Ctim.Nano(); c != n.x.ctimeBase && c > ctime {
					ctime = c
				}
			}
		}
	}
	a.Atime, a.Mtime, a.Ctime = time.Unix(0, n.atime.Load()), time.Unix(0, mtime), time.Unix(0, ctime)
	return a, nil
}

// Getattr returns an inode's attributes.
func (t *Tree) Getattr(ctx context.Context, ino Ino) (Attr, error) {
	var a Attr
	err := t.view(ctx, func() error {
		n, err := t.get(ino)
		if err == nil {
			a, err = t.attr(n)
		}
		return err
	})
	return a, opError(err, "getattr", "")
}

// State says where a file's content is now.
func (t *Tree) State(ctx context.Context, ino Ino) (FileState, error) {
	var s FileState
	err := t.view(ctx, func() error {
		n, err := t.get(ino)
		if err == nil && n.isReg() {
			s = FileState{Manifest: n.id, Spool: n.spoolID() != 0, Dirty: n.dirty()}
			if s.Dirty {
				s.Manifest = [32]byte{}
			}
		}
		return err
	})
	return s, opError(err, "state", "")
}

// Setattr changes attributes. As in Linux, changing the owner clears set-user-id and set-group-id of what is not a directory (unless set.Mode says what
// they shall be), and so does setting the size, which also sets mtime, even to the size that it has, as ftruncate(2) does.
func (t *Tree) Setattr(ctx context.Context, ino Ino, set SetAttr) (Attr, error) {
	if set.Size != nil {
		if err := t.truncate(ctx, ino, *set.Size); err != nil {
			return Attr{}, opError(err, "truncate", "")
		}
	}
	var a Attr
	now := clock()
	err := t.update(ctx, func() error {
		n, err := t.get(ino)
		if err == nil {
			err = t.setattr(n, set, now)
		}
		if err == nil {
			a, err = t.attr(n)
		}
		return err
	})
	return a, opError(err, "setattr", "")
}

// nanos converts a time, cut to what fits: the years 1677 to 2262.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s >= math.MaxInt64/1_000_000_000:
		return math.MaxInt64
	case s <= math.MinInt64/1_000_000_000:
		return math.MinInt64
	}
	return t.UnixNano()
}

// setattr is Setattr without the size. t.mu is held.
func (t *Tree) setattr(n *node, set SetAttr, now int64) error {
	if n.isDir() && n.subdirs < 0 { // attr will want it: ask before anything is changed
		return &loadError{d: n, count: true}
	}
	r := record{kind: recSetattr, time: now, mode: n.mode, uid: n.uid, gid: n.gid, ctime: now}
	if set.UID != nil || set.GID != nil {
		r.mask |= setOwner
		r.uid, r.gid = or(set.UID, n.uid), or(set.GID, n.gid)
		if !n.isDir() && set.Mode == nil && dropSuid(n.mode) != n.mode {
			r.mask |= setMode
			r.mode = dropSuid(n.mode)
		}
	}
	if set.Mode != nil {
		r.mask |= setMode
		r.mode = n.mode&typeMask | *set.Mode&permMask
	}
	if set.Atime != nil {
		r.mask |= setAtime
		r.atime = nanos(*set.Atime)
	}
	if set.Mtime != nil {
		r.mask |= setMtime
		r.mtime = nanos(*set.Mtime)
	}
	if r.mask == 0 {
		return nil
	}
	r.mask |= setCtime
	if n.isReg() && n.x != nil && n.x.spool != 0 && r.mask&(setAtime|setMtime) != 0 {
		return t.setSpoolTimes(n, &r)
	}
	return t.logSetattr(n, &r)
}

// logSetattr journals r, if n has a path, and applies it.
func (t *Tree) logSetattr(n *node, r *record) error {
	if n.named() {
		r.path = n.path()
		if err := t.log(r); err != nil {
			return err
		}
	}
	n.apply(r)
	return nil
}

// setSpoolTimes is logSetattr for a file with a spool file, whose own times must follow. That changes its ctime, so the record of a clean copy is renewed.
// Should the process die between the two, recovery takes the spool file for newer than the manifest and ingests it again: nothing is lost.
func (t *Tree) setSpoolTimes(n *node, r *record) error {
	x := n.x
	var atime, mtime *int64
	if r.mask&setAtime != 0 {
		atime = &r.atime
	}
	if r.mask&setMtime != 0 {
		mtime = &r.mtime
	}
	if err := t.set.spool.utimes(x.spool, atime, mtime); err != nil {
		return err
	}
	st, err := t.set.spool.stat(x.spool)
	if err != nil {
		return err
	}
	if err := t.logSetattr(n, r); err != nil {
		return err
	}
	x.ctimeBase = st.Ctim.Nano()
	n.learn(&st)
	x.gen++ // whoever reads it now must not record stat fields of before
	if x.dirty || !n.named() {
		return nil
	}
	return t.log(&record{kind: recIngested, time: r.time, path: n.path(), spool: x.spool, id: n.id, stat: statOf(&st)})
}

// apply sets what a recSetattr says.
func (n *node) apply(r *record) {
	changed := false
	if r.mask&setMode != 0 {
		changed = n.mode != r.mode
		n.mode = n.mode&typeMask | r.mode&permMask
	}
	if r.mask&setOwner != 0 {
		n.uid, n.gid = r.uid, r.gid
	}
	if r.mask&setAtime != 0 {
		n.atime.Store(r.atime)
	}
	if r.mask&setMtime != 0 {
		changed = changed || n.mtime != r.mtime && !n.isDir()
		n.mtime = r.mtime
	}
	if r.mask&setCtime != 0 {
		n.ctime = r.ctime
	}
	n.flags |= flagTouched
	if changed {
		n.markEntries()
	}
}

// dropSuid is what becomes of a mode when content or owner change: set-user-id goes, set-group-id too where it means a program.
func dropSuid(mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// killPriv clears set-user-id, set-group-id and file capabilities before content is changed.
func (t *Tree) killPriv(ctx context.Context, n *node) error {
	t.mu.RLock()
	needed := dropSuid(n.mode) != n.mode || n.x != nil && n.x.xattrs[capabilityXattr] != nil
	t.mu.RUnlock()
	if !needed {
		return nil
	}
	now := clock()
	return t.update(ctx, func() error {
		if n.x != nil && n.x.xattrs[capabilityXattr] != nil {
			if err := t.removexattr(n, capabilityXattr, now); err != nil {
				return err
			}
		}
		if m := dropSuid(n.mode); m != n.mode {
			return t.setattr(n, SetAttr{Mode: &m}, now)
		}
		return nil
	})
}

// touchAtime moves the access time as relatime does. It is kept in memory only.
func touchAtime(n *node) {
	now, old := clock(), n.atime.Load()
	if old <= n.mtime || old <= n.ctime || now-old > int64(24*time.Hour) {
		n.atime.CompareAndSwap(old, now)
	}
}

// or returns *p, or v if p is nil.
func or(p *uint32, v uint32) uint32 {
	if p != nil {
		return *p
	}
	return v
}

// opError adds the operation and its object to an error.
func opError(err error, op, object string) error {
	switch {
	case err == nil:
		return nil
	case object == "":
		return fmt.Errorf("%s: %w", op, err)
	}
	if _, ok := err.(*notFoundError); ok {
		return err // it names the object; lookups of what is not there are many
	}
	return fmt.Errorf("%s %s: %w", op, object, err)
}

// errJoin returns err, with also added when that failed too.
func errJoin(err, also error) error {
	if also == nil {
		return err
	}
	return errors.Join(err, also)
}

// notRegular is the error of opening or truncating n, which is not a regular file.
func notRegular(n *node) error {
	if n.isDir() {
		return errs.IsDir
	}
	return fmt.Errorf("not a regular file: %w", errs.Invalid)
}
