package worktree

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// Handle is an open file. While any handle of an inode is open, the inode's spool file, once there, is neither replaced nor dropped, so its
// descriptor may back a passthrough. Its methods may be called from several goroutines, but none during or after Close.
type Handle struct {
	t       *Tree
	n       *node
	write   bool
	append  bool
	content Content // of a reading handle opened when there was no spool file
	closed  atomic.Bool
	lateMu  sync.Mutex
	file    atomic.Pointer[os.File]
}

// Open opens a regular file. flags are open(2)'s (O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_APPEND). Opening for write copies a committed file up to a
// spool file and journals that it is dirty, before it returns.
func (t *Tree) Open(ctx context.Context, ino Ino, flags int) (*Handle, error) {
	var h *Handle
	var err error
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		h, err = t.openWrite(ctx, ino, flags)
	} else {
		h, err = t.openRead(ctx, ino)
	}
	if err != nil {
		return nil, opError(err, "open", "")
	}
	return h, nil
}

func (t *Tree) openRead(ctx context.Context, ino Ino) (*Handle, error) {
	h := &Handle{t: t}
	var spool spoolID
	var manifest [32]byte
	for {
		t.mu.Lock()
		n, err := t.get(ino)
		switch {
		case err != nil:
		case t.closed != nil:
			err = t.closed
		case !n.isReg():
			err = notRegular(n)
		case n.x != nil && n.x.lost:
			err = lostError(n)
		default:
			t.register(n, h)
			spool, manifest = n.x.spool, n.id
		}
		t.mu.Unlock()
		if need, ok := err.(*loadError); ok {
			if err = t.load(ctx, need); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		break
	}
	var err error
	if spool != 0 {
		var f *os.File
		if f, err = t.set.spool.open(spool, false); err == nil {
			h.file.Store(f)
		}
	} else {
		h.content, err = t.set.deps.Open(ctx, manifest)
	}
	if err != nil {
		return nil, errJoin(err, h.Close())
	}
	return h, nil
}

// register enters a handle. t.mu is held.
func (t *Tree) register(n *node, h *Handle) {
	h.n = n
	x := n.ext()
	x.open = append(x.open, h)
	t.handles++
	if h.write {
		x.writers++
		t.set.writing.Add(1)
		x.gen++
	}
}

func lostError(n *node) error {
	return &errs.CorruptError{Where: "spool file " + n.x.spool.String() + " of " + n.path(), Offset: -1, Detail: "it is gone"}
}

// Create makes and opens a regular file; if name exists it is errs.Exist.
func (t *Tree) Create(ctx context.Context, dir Ino, name string, mode, uid, gid uint32, flags int) (Attr, *Handle, error) {
	err := t.view(ctx, func() error { // so that no spool file is made for nothing
		if err := t.writable(); err != nil {
			return err
		}
		_, err := t.freeName(dir, name)
		return err
	})
	if err != nil {
		return Attr{}, nil, opError(err, "create", name)
	}
	r := &record{kind: recCreate, mode: typeReg | mode&permMask, uid: uid, gid: gid}
	a, h, err := t.createSpooled(ctx, r, flags, func() (*node, error) { return t.make(dir, name, r) })
	return a, h, opError(err, "create", name)
}

// CreateUnnamed makes and opens a regular file with no name (O_TMPFILE); Link may give it one unless flags has O_EXCL.
func (t *Tree) CreateUnnamed(ctx context.Context, mode, uid, gid uint32, flags int) (Attr, *Handle, error) {
	r := &record{kind: recDoomed, mode: typeReg | mode&permMask, uid: uid, gid: gid}
	a, h, err := t.createSpooled(ctx, r, flags, func() (*node, error) {
		if err := t.log(r); err != nil {
			return nil, err
		}
		n := t.newNode(r.mode, uid, gid, r.time)
		n.ext().spool, n.x.dirty, n.x.gen = r.spool, true, 1
		n.x.nameable = flags&syscall.O_EXCL == 0
		return n, nil
	})
	return a, h, opError(err, "create unnamed", "")
}

// createSpooled makes a spool file, then the inode by makeNode (under the lock), and a handle of it.
func (t *Tree) createSpooled(ctx context.Context, r *record, flags int, makeNode func() (*node, error)) (Attr, *Handle, error) {
	if t.set.opts.ReadOnly {
		return Attr{}, nil, errs.ReadOnly
	}
	if err := t.set.makeRoom(0); err != nil {
		return Attr{}, nil, err
	}
	sp := t.set.spool
	r.spool = sp.alloc()
	f, err := sp.create(r.spool)
	if err != nil {
		return Attr{}, nil, err
	}
	h := &Handle{t: t, write: flags&syscall.O_ACCMODE != syscall.O_RDONLY, append: flags&syscall.O_APPEND != 0}
	h.file.Store(f)
	var a Attr
	r.time, err = birth(f)
	if err != nil {
		f.Close()
		return Attr{}, nil, errJoin(err, sp.remove(r.spool))
	}
	err = t.update(ctx, func() error {
		n, err := makeNode()
		if err != nil {
			return err
		}
		t.register(n, h)
		a, err = t.attr(n)
		return err
	})
	if err != nil {
		f.Close()
		return Attr{}, nil, errJoin(err, sp.remove(r.spool))
	}
	return a, h, nil
}

// Ino returns the inode's number.
func (h *Handle) Ino() Ino { return h.n.ino }

// Spool returns the 1:1 spool file (read-write for a handle opened for writing), or nil if the content is only in the store.
// It belongs to the worktree and stays open until Close.
func (h *Handle) Spool() *os.File { return h.file.Load() }

// source returns the spool file that holds the content now; nil if h.content does. A reading handle that was opened before the file was copied up
// gets its own descriptor when it is first needed.
func (h *Handle) source() (*os.File, error) {
	if f := h.file.Load(); f != nil || h.closed.Load() {
		return f, nil
	}
	h.t.mu.RLock()
	id := h.n.spoolID()
	h.t.mu.RUnlock()
	if id == 0 {
		return nil, nil
	}
	h.lateMu.Lock()
	defer h.lateMu.Unlock()
	if f := h.file.Load(); f != nil {
		return f, nil
	}
	f, err := h.t.set.spool.open(id, false)
	if err == nil {
		h.file.Store(f)
	}
	return f, err
}

// ReadAt reads the inode's present content, wherever it is. n < len(p) only at end of file (err nil or io.EOF).
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if h.closed.Load() {
		return 0, fmt.Errorf("read: %w", os.ErrClosed)
	}
	f, err := h.source()
	if err != nil {
		return 0, err
	}
	h.touchAtime()
	if f == nil {
		if off >= h.content.Size() {
			return 0, io.EOF
		}
		return h.content.ReadAt(ctx, p, off)
	}
	return f.ReadAt(p, off)
}

// touchAtime is touchAtime of the inode.
func (h *Handle) touchAtime() {
	h.t.mu.RLock()
	touchAtime(h.n)
	h.t.mu.RUnlock()
}

// WriteAt writes p at off, or at the end if the handle was opened with O_APPEND.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil // no privilege is dropped, no time changes
	}
	f, err := h.writable(ctx, int64(len(p)))
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	if !h.append {
		return f.WriteAt(p, off)
	}
	done := 0
	for done < len(p) {
		n, err := unix.Pwritev2(int(f.Fd()), [][]byte{p[done:]}, 0, unix.RWF_APPEND)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("write %s: %w", f.Name(), err)
		}
		done += n
	}
	return done, nil
}

// writable returns the file to change, privileges dropped and room made for grow more bytes (negative: it frees some).
func (h *Handle) writable(ctx context.Context, grow int64) (*os.File, error) {
	f := h.file.Load()
	switch {
	case h.closed.Load():
		return nil, os.ErrClosed
	case !h.write || f == nil:
		return nil, fmt.Errorf("not open for writing: %w", syscall.EBADF)
	}
	if grow >= 0 {
		if err := h.t.set.makeRoom(grow); err != nil {
			return nil, err
		}
	}
	return f, h.t.killPriv(ctx, h.n)
}

// Allocate is fallocate(2).
func (h *Handle) Allocate(ctx context.Context, mode uint32, off, length int64) error {
	grow := length
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_COLLAPSE_RANGE) != 0 {
		grow = -1
	}
	f, err := h.writable(ctx, grow)
	if err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	for {
		err := unix.Fallocate(int(f.Fd()), mode, off, length)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("allocate: %w", err)
		}
	}
}

// Seek is lseek(2) with SEEK_DATA or SEEK_HOLE only. Content in the store has no holes but the end.
func (h *Handle) Seek(ctx context.Context, off int64, whence int) (int64, error) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE || h.closed.Load() {
		return 0, fmt.Errorf("seek: whence %d: %w", whence, errs.Invalid)
	}
	f, err := h.source()
	if err != nil {
		return 0, err
	}
	if f != nil {
		pos, err := unix.Seek(int(f.Fd()), off, whence)
		if err != nil {
			return 0, fmt.Errorf("seek: %w", err)
		}
		return pos, nil
	}
	size := h.content.Size()
	switch {
	case off < 0 || off >= size:
		return 0, fmt.Errorf("seek: %w", syscall.ENXIO)
	case whence == unix.SEEK_DATA:
		return off, nil
	}
	return size, nil
}

// Fsync makes the data, and everything needed to find it after a power cut, durable.
func (h *Handle) Fsync(ctx context.Context) error {
	if h.closed.Load() {
		return fmt.Errorf("fsync: %w", os.ErrClosed)
	}
	f, err := h.source()
	if err == nil && f != nil {
		err = f.Sync()
	}
	if err == nil && !h.t.set.opts.ReadOnly {
		err = h.t.sync()
	}
	return opError(err, "fsync", "")
}

// Close releases the handle. After the last writer's Close the file is queued for ingest. A second Close does nothing.
func (h *Handle) Close() error {
	if h.closed.Swap(true) {
		return nil
	}
	f := h.file.Load()
	t, n := h.t, h.n
	t.mu.Lock()
	x := n.x
	x.open = slices.DeleteFunc(x.open, func(o *Handle) bool { return o == h })
	if len(x.open) == 0 {
		x.open = nil
	}
	t.handles--
	if h.write {
		x.writers--
		t.set.writing.Add(-1)
		if x.writers == 0 {
			t.settle(n, f)
		}
	}
	switch {
	case n.nlink == 0:
		t.discard(n)
	case x.dirty && x.writers == 0:
		t.set.queue.add(t, n, h.write)
	default:
		n.slim()
	}
	t.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// settle takes size and times of a file whose last writer has gone from its spool file. t.mu is held.
func (t *Tree) settle(n *node, f *os.File) {
	var st unix.Stat_t
	var err error
	if f != nil {
		err = unix.Fstat(int(f.Fd()), &st)
	} else {
		st, err = t.set.spool.stat(n.x.spool)
	}
	if err != nil {
		t.set.opts.Logger.Warn("stat of a spool file", "path", n.path(), "err", err)
		return
	}
	n.learn(&st)
}
