package worktree

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
)

// openWrite opens a regular file for writing: after it, the spool file is the truth (state C).
func (t *Tree) openWrite(ctx context.Context, ino Ino, flags int) (*Handle, error) {
	if t.set.opts.ReadOnly {
		return nil, errs.ReadOnly
	}
	h := &Handle{t: t, write: true, append: flags&syscall.O_APPEND != 0}
	trunc := flags&syscall.O_TRUNC != 0
	for h.n == nil {
		var wait chan struct{}
		var up, behind *node
		var id oid.ID
		var copied spoolID
		err := t.update(ctx, func() error {
			wait, up, behind = nil, nil, nil
			n, err := t.get(ino)
			if err != nil {
				return err
			}
			if !n.isReg() {
				return notRegular(n)
			}
			x := n.ext()
			switch {
			case x.latch != nil:
				wait = x.latch
			case x.lost && !trunc:
				return lostError(n)
			case x.spool == 0 || x.lost:
				x.latch = make(chan struct{})
				x.pins++
				up, id = n, n.id
			case !x.dirty && !trunc && !x.synced:
				x.pins++
				behind, copied = n, x.spool
			default:
				if err := t.setDirty(n); err != nil {
					return err
				}
				t.register(n, h)
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, err
		case wait != nil:
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for copy up: %w", ctx.Err())
			}
		case behind != nil:
			if err := t.syncCopy(behind, copied); err != nil {
				return nil, err
			}
		case up != nil:
			if err := t.copyUp(ctx, up, id, trunc, h); err != nil {
				return nil, err
			}
		}
	}
	return h, t.openSpoolOf(ctx, h, trunc)
}

// openSpoolOf opens the spool file of a registered writer, unless copy up has.
func (t *Tree) openSpoolOf(ctx context.Context, h *Handle, trunc bool) error {
	if h.file.Load() == nil {
		t.mu.RLock()
		id := h.n.x.spool
		t.mu.RUnlock()
		f, err := t.set.spool.open(id, true)
		if err != nil {
			return errJoin(err, h.Close())
		}
		h.file.Store(f)
	}
	if !trunc {
		return nil
	}
	err := t.killPriv(ctx, h.n)
	if err == nil {
		err = h.file.Load().Truncate(0)
	}
	if err != nil {
		return errJoin(err, h.Close())
	}
	return nil
}

// syncCopy makes the content of a clean spool copy durable. It has to be before a record says that the copy is the truth: what was there is
// acknowledged, by a snapshot say, and must outlast a power cut right after the file was opened for writing. The caller has pinned n.
func (t *Tree) syncCopy(n *node, id spoolID) error {
	f, err := t.set.spool.open(id, true)
	if err == nil {
		err = errJoin(unix.Fdatasync(int(f.Fd())), f.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n.x.pins--
	if err != nil {
		err = fmt.Errorf("sync spool file %s: %w", id, err)
	} else if n.x.spool == id && !n.x.dirty {
		n.x.synced = true
	}
	if n.nlink == 0 {
		t.discard(n)
	}
	return err
}

// setDirty moves a file from B to C. t.mu is held.
func (t *Tree) setDirty(n *node) error {
	x := n.x
	if x.dirty {
		return nil
	}
	if n.named() {
		if err := t.log(&record{kind: recDirty, time: clock(), path: n.path(), spool: x.spool}); err != nil {
			return err
		}
	}
	t.leaveClean(n)
	x.dirty, x.synced = true, false
	n.flags |= flagTouched
	n.markEntries()
	return nil
}

// copyUp moves a file from A to C and registers h as its writer. The caller holds the inode's latch and a pin; both are given back.
func (t *Tree) copyUp(ctx context.Context, n *node, manifest oid.ID, trunc bool, h *Handle) error {
	id := t.set.spool.alloc()
	f, err := t.fillSpool(ctx, id, n, manifest, trunc)
	t.mu.Lock()
	defer t.mu.Unlock()
	close(n.x.latch)
	n.x.latch = nil
	n.x.pins--
	delete(t.filling, id)
	if err == nil {
		err = t.writable()
	}
	if err == nil {
		err = t.adopt(n, id, f, trunc)
	}
	if err == nil {
		h.file.Store(f)
		t.register(n, h)
		return nil
	}
	if f != nil {
		f.Close()
		err = errJoin(err, t.set.spool.remove(id))
	}
	if n.nlink == 0 {
		t.discard(n)
	} else {
		n.slim()
	}
	return err
}

// fillSpool makes a spool file with the content of a manifest, or an empty one. It is journalled as scrap first: a crash before the record that
// makes it the file's content must not leave something that looks like lost data.
func (t *Tree) fillSpool(ctx context.Context, id spoolID, n *node, manifest oid.ID, trunc bool) (*os.File, error) {
	size := int64(0)
	var content Content
	if !trunc && !manifest.IsZero() {
		var err error
		if content, err = t.set.deps.Open(ctx, manifest); err != nil {
			return nil, err
		}
		size = content.Size()
	}
	if err := t.set.makeRoom(size); err != nil {
		return nil, err
	}
	err := t.update(ctx, func() error {
		t.filling[id] = true
		return t.log(&record{kind: recDoomed, time: clock(), spool: id})
	})
	if err != nil {
		return nil, err
	}
	f, err := t.set.spool.create(id)
	if err != nil {
		return nil, err
	}
	if content == nil {
		return f, nil
	}
	if err := content.Materialize(ctx, f, false); err != nil {
		return f, fmt.Errorf("copy up: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return f, fmt.Errorf("copy up: %w", err)
	}
	if st.Size != size {
		return f, &errs.CorruptError{Where: "copy of manifest " + manifest.Short(), Offset: -1, Detail: fmt.Sprintf("%d bytes instead of %d", st.Size, size)}
	}
	// What is copied is acknowledged content: it must not depend on a copy that a power cut tears (syncCopy).
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return f, fmt.Errorf("copy up: %w", err)
	}
	return f, nil
}

// adopt makes the filled spool file the truth of n. t.mu is held.
func (t *Tree) adopt(n *node, id spoolID, f *os.File, trunc bool) error {
	if !trunc { // opening alone must not change the times
		atime := n.atime.Load()
		if err := t.set.spool.utimes(id, &atime, &n.mtime); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("copy up: %w", err)
	}
	if n.named() {
		if err := t.log(&record{kind: recDirty, time: clock(), path: n.path(), spool: id}); err != nil {
			return err
		}
	}
	x := n.x
	x.spool, x.dirty, x.lost, x.synced = id, true, false, false
	if x.ctimeBase = st.Ctim.Nano(); trunc {
		x.ctimeBase = 0
	}
	n.learn(&st)
	n.flags |= flagTouched
	n.markEntries()
	return nil
}

// truncate changes a file's size.
func (t *Tree) truncate(ctx context.Context, ino Ino, size int64) error {
	if size < 0 {
		return fmt.Errorf("size %d: %w", size, errs.Invalid)
	}
	flags := syscall.O_WRONLY
	if size == 0 {
		flags |= syscall.O_TRUNC
	}
	h, err := t.openWrite(ctx, ino, flags)
	if err != nil {
		return err
	}
	if size > 0 {
		if err = t.killPriv(ctx, h.n); err == nil {
			err = h.file.Load().Truncate(size)
		}
	}
	return errJoin(err, h.Close())
}
