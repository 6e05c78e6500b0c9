package worktree

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

const (
	// snapshotRounds is how often Snapshot waits for files that were closed while it waited for others, before it reads them itself.
	snapshotRounds = 3
	// openReads is how often a file that is open for writing is read because it shrank under the reader, or shrank and grew again.
	openReads = 4
)

// Snapshot freezes the tree: ingests what is dirty, writes trees for changed directories only, syncs nothing (the caller does), and does not stop writers.
// All names, modes and times are of one moment; a file that is open for writing is stored as it is read right after it.
// strict refuses (errs.Busy, naming them) when files are open for writing. A file that cannot be stored is an error that names it.
func (t *Tree) Snapshot(ctx context.Context, strict bool, progress func(QueueStatus)) (SnapshotResult, error) {
	t.snapMu.Lock()
	defer t.snapMu.Unlock()
	res, err := t.snapshot(ctx, strict, progress)
	if err != nil {
		return SnapshotResult{}, fmt.Errorf("snapshot of %s: %w", t.Branch(), err)
	}
	return res, nil
}

func (t *Tree) snapshot(ctx context.Context, strict bool, progress func(QueueStatus)) (res SnapshotResult, err error) {
	if err := t.checkStrict(strict); err != nil {
		return res, err
	}
	for round := 1; ; round++ {
		files, bytes, err := t.set.queue.drain(ctx, t, progress)
		if err != nil {
			return res, err
		}
		res.Files += files
		res.Bytes += bytes
		leave, err := t.set.queue.enter(ctx) // from the freeze on, gc must not run: what is frozen may not be referred to for long
		if err != nil {
			return res, err
		}
		f, err := t.freeze(strict)
		if err != nil {
			leave()
			return res, err
		}
		again := f.atRest > 0 && round < snapshotRounds
		if !again {
			err = t.store(ctx, f, &res)
		}
		t.unpin(f)
		leave()
		if !again {
			return res, err
		}
	}
}

// checkStrict refuses early, before anything is waited for.
func (t *Tree) checkStrict(strict bool) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.writable(); err != nil || !strict {
		return err
	}
	var open []string
	for _, n := range t.inodes {
		if n.isReg() && n.nlink > 0 && n.writers() {
			open = append(open, n.path())
		}
	}
	return openError(open)
}

func openError(open []string) error {
	if len(open) == 0 {
		return nil
	}
	slices.Sort(open)
	text := "1 file is open for writing"
	if len(open) > 1 {
		text = fmt.Sprintf("%d files are open for writing", len(open))
	}
	return fmt.Errorf("%s: %s: %w", text, strings.Join(open, ", "), errs.Busy)
}

// frozen is the state of a tree at one moment.
type frozen struct {
	root    *frozenDir // nil: unchanged
	rootID  oid.ID
	files   map[*node]*frozenFile
	order   []*frozenFile
	atRest  int // of files: not open for writing
	skipped []string
	lost    error
}

// frozenDir is a changed directory. Where entries lack an id, dirs or files have the rest.
type frozenDir struct {
	d       *node
	gen     uint64
	entries []object.Entry
	dirs    map[string]*frozenDir
	files   map[string]*frozenFile
	dirty   bool // a file in it, or below, is not settled: it stays changed
	id      oid.ID
}

// frozenFile is a dirty file. Its inode is pinned, so that its spool file stays while it is read.
type frozenFile struct {
	n     *node
	spool spoolID
	path  string
	prev  oid.ID
	open  bool
	entry object.Entry // id, size and mtime, once it is stored
}

// freeze collects what changed. Dirty files in it are pinned until unpin.
func (t *Tree) freeze(strict bool) (*frozen, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.writable(); err != nil {
		return nil, err
	}
	f := &frozen{files: map[*node]*frozenFile{}, rootID: t.root.id}
	if t.root.is(flagChanged) {
		f.root = t.freezeDir(f, t.root, "")
	}
	if t.specials > 0 {
		for _, n := range t.inodes {
			if n.isSpecial() {
				n.links(func(d *node, name string) { f.skipped = append(f.skipped, join(d.path(), name)) })
			}
		}
		slices.Sort(f.skipped)
	}
	err := f.lost
	if strict && err == nil {
		err = openError(f.openPaths())
	}
	for _, x := range f.order {
		if !x.open {
			f.atRest++
		}
	}
	if err != nil {
		return nil, err
	}
	for _, x := range f.order {
		x.n.x.pins++
	}
	return f, nil
}

// unpin lets go of the files of a freeze.
func (t *Tree) unpin(f *frozen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range f.order {
		x.n.x.pins--
		if x.n.nlink == 0 {
			t.discard(x.n)
		} else {
			x.n.slim()
		}
	}
}

func (f *frozen) openPaths() []string {
	var open []string
	for _, x := range f.order {
		if x.open {
			open = append(open, x.path)
		}
	}
	slices.Sort(open)
	return open
}

func (t *Tree) freezeDir(f *frozen, d *node, path string) *frozenDir {
	fd := &frozenDir{d: d, gen: d.gen, entries: make([]object.Entry, 0, len(d.children))}
	for name, n := range d.children {
		if n.isSpecial() {
			continue
		}
		e := object.Entry{Name: name, Kind: n.fileKind(), Mode: n.mode & permMask, ID: n.id}
		switch {
		case n.isDir():
			if n.is(flagChanged) {
				if fd.dirs == nil {
					fd.dirs = map[string]*frozenDir{}
				}
				sub := t.freezeDir(f, n, join(path, name))
				fd.dirs[name] = sub
				fd.dirty = fd.dirty || sub.dirty
			}
		case n.isSymlink():
			e.ID, e.Target, e.Size, e.MTime = oid.ID{}, n.x.target, n.size, time.Unix(0, n.mtime)
		default:
			e.Size, e.MTime = n.size, time.Unix(0, n.mtime)
			if n.dirty() {
				if fd.files == nil {
					fd.files = map[string]*frozenFile{}
				}
				fd.files[name] = f.file(n, join(path, name))
				fd.dirty = true
			}
		}
		fd.entries = append(fd.entries, e)
	}
	return fd
}

// file enters a dirty file, once for all its names.
func (f *frozen) file(n *node, path string) *frozenFile {
	x := f.files[n]
	if x == nil {
		x = &frozenFile{n: n, spool: n.x.spool, path: path, prev: n.id, open: n.writers()}
		f.files[n] = x
		f.order = append(f.order, x)
		if n.x.lost {
			f.lost = lostError(n)
		}
	}
	return x
}

// store ingests the dirty files of a freeze and writes its trees.
func (t *Tree) store(ctx context.Context, f *frozen, res *SnapshotResult) error {
	res.OpenFiles, res.Skipped = f.openPaths(), f.skipped
	for _, x := range f.order {
		if err := t.storeFrozen(ctx, x); err != nil {
			return fmt.Errorf("%s: %w", x.path, err)
		}
		res.Files++
		res.Bytes += x.entry.Size
	}
	switch {
	case f.root != nil:
		if err := t.storeDir(ctx, f.root); err != nil {
			return err
		}
		res.Root = f.root.id
		t.mu.Lock()
		t.thaw(f.root)
		t.mu.Unlock()
	case f.rootID.IsZero(): // nothing was ever here
		id, err := t.set.deps.PutTree(ctx, &object.Tree{})
		if err != nil {
			return err
		}
		res.Root = id
	default:
		res.Root = f.rootID
	}
	return nil
}

// storeFrozen ingests one dirty file as it is. The file stays dirty: the queue will find the content stored when it comes to it.
func (t *Tree) storeFrozen(ctx context.Context, x *frozenFile) error {
	f, err := t.set.spool.open(x.spool, false)
	if err != nil {
		return err
	}
	defer f.Close()
	for try := 1; ; try++ {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return fmt.Errorf("stat spool file %s: %w", x.spool, err)
		}
		r := frozenSource{f, beside{t, x.path}}
		if try == openReads {
			r.ReaderAt = padded{f, st.Size}
		}
		prev := x.prev
		if head := t.headManifest(ctx, x.path); !head.IsZero() {
			prev = head
		}
		id, _, err := t.set.deps.Ingest(ctx, r, st.Size, x.path, prev)
		if err == nil {
			x.entry = object.Entry{ID: id, Size: st.Size, MTime: time.Unix(0, st.Mtim.Nano())}
			return nil
		}
		var now unix.Stat_t
		if ctx.Err() != nil || try == openReads || unix.Fstat(int(f.Fd()), &now) != nil || statOf(&now) == statOf(&st) {
			return err
		}
	}
}

// frozenSource is a spool file as a snapshot reads it.
type frozenSource struct {
	io.ReaderAt
	beside
}

// padded reads zeros where a file has become shorter than it was.
type padded struct {
	r    io.ReaderAt
	size int64
}

func (p padded) ReadAt(b []byte, off int64) (int, error) {
	if off >= p.size {
		return 0, io.EOF
	}
	want := min(int64(len(b)), p.size-off)
	n, err := p.r.ReadAt(b[:want], off)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		clear(b[n:want])
		n, err = int(want), nil
	}
	if err == nil && int(want) < len(b) {
		err = io.EOF
	}
	return n, err
}

// storeDir writes the trees of a changed directory, from the bottom up.
func (t *Tree) storeDir(ctx context.Context, fd *frozenDir) error {
	for i := range fd.entries {
		e := &fd.entries[i]
		if sub := fd.dirs[e.Name]; sub != nil {
			if err := t.storeDir(ctx, sub); err != nil {
				return err
			}
			e.ID = sub.id
		} else if e.Kind == object.Dir && e.ID.IsZero() {
			id, err := t.set.deps.PutTree(ctx, &object.Tree{})
			if err != nil {
				return err
			}
			e.ID = id
		}
		if x := fd.files[e.Name]; x != nil {
			e.ID, e.Size, e.MTime = x.entry.ID, x.entry.Size, x.entry.MTime
		}
	}
	id, err := t.set.deps.PutTree(ctx, &object.Tree{Entries: sorted(fd.entries)})
	if err != nil {
		return fmt.Errorf("store directory %s: %w", fd.d.path(), err)
	}
	fd.id, fd.entries = id, nil
	return nil
}

// sorted returns entries in order of their names. Entries are large: pointers are sorted in their place (10,000: 2 ms instead of 5).
func sorted(entries []object.Entry) []object.Entry {
	order := make([]*object.Entry, len(entries))
	for i := range entries {
		order[i] = &entries[i]
	}
	slices.SortFunc(order, func(a, b *object.Entry) int { return strings.Compare(a.Name, b.Name) })
	out := make([]object.Entry, len(order))
	for i, e := range order {
		out[i] = *e
	}
	return out
}

// thaw gives the directories that have not changed since their new ids. Any change below a directory raises its generation. t.mu is held.
func (t *Tree) thaw(fd *frozenDir) {
	for _, sub := range fd.dirs {
		t.thaw(sub)
	}
	if !fd.dirty && fd.d.gen == fd.gen {
		fd.d.id = fd.id
		fd.d.flags &^= flagChanged
	}
}
