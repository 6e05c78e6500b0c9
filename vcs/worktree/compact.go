package worktree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"coral/internal/oid"
	"coral/vcs/object"
)

// When a journal is written anew: past one of these, and twice what the last compaction left.
const (
	compactBytes   = 4 << 20
	compactRecords = 20000
	// Rebase also compacts when the journal has four times what compaction would leave, estimated at recordEstimate bytes for each file
	// that needs a record, but not below compactFloor: an fsync of a new file costs more than replaying that.
	recordEstimate = 120
	compactFloor   = 256 << 10
)

// Rebase tells that the branch's head is now a commit of tree root, which Snapshot returned: the journal is compacted against it when that pays.
func (t *Tree) Rebase(ctx context.Context, root oid.ID) error {
	t.mu.Lock()
	err := t.writable()
	t.head = root
	pays := err == nil && t.compactionPays()
	t.mu.Unlock()
	if err != nil || !pays {
		return err
	}
	t.compactMu.Lock()
	defer t.compactMu.Unlock()
	return t.compact(ctx, root, t.Branch())
}

// compactionPays guesses whether compaction would leave much less than there is. t.mu is held.
func (t *Tree) compactionPays() bool {
	size := t.j.size
	switch {
	case size <= compactFloor:
		return t.j.records > compactRecords
	case size > 2*t.j.compacted && (size > compactBytes || t.j.records > compactRecords):
		return true
	}
	left := int64(0)
	for _, n := range t.inodes {
		if n.spoolID() != 0 || n.uid != t.set.opts.UID || n.gid != t.set.opts.GID || n.isSpecial() {
			left += recordEstimate
		}
	}
	return size > 4*left
}

// compactIfGrown compacts against the present base, which is not the head's tree when nothing was committed for long.
func (t *Tree) compactIfGrown(ctx context.Context) {
	t.mu.RLock()
	grown := t.closed == nil && t.j.size > 2*t.j.compacted && t.j.size > t.j.notBefore && (t.j.size > compactBytes || t.j.records > compactRecords)
	t.mu.RUnlock()
	if !grown {
		return
	}
	t.compactMu.Lock()
	defer t.compactMu.Unlock()
	t.mu.RLock()
	base, branch := t.base, t.branch
	t.mu.RUnlock()
	if err := t.compact(ctx, base, branch); err != nil {
		t.set.opts.Logger.Warn("journal is not compacted", "ref", branch, "err", err)
		t.mu.Lock()
		t.j.notBefore = 2 * t.j.size
		t.mu.Unlock()
	}
}

// compactor writes the records that lead from a base tree to the present state.
type compactor struct {
	t       *Tree
	base    oid.ID
	trees   map[oid.ID]*object.Tree
	missing []oid.ID // trees of the base that have to be loaded first
	body    []byte
	records int
	seqAt   uint64 // journal.seq when it was collected
	grafts  []oid.ID
	linked  map[*node]string // inodes with several names: the path that was written first
}

// compact replaces the journal by one with the given base that leads to the same state. compactMu is held. Changes go on meanwhile: they are
// written to the old journal and kept aside for the new one. If it fails, the old journal stays.
func (t *Tree) compact(ctx context.Context, base oid.ID, branch string) error {
	c := &compactor{t: t, base: base, trees: map[oid.ID]*object.Tree{}}
	var tee []byte
	for {
		t.mu.Lock()
		if err := t.writable(); err != nil {
			t.mu.Unlock()
			return err
		}
		c.collect()
		if len(c.missing) == 0 {
			t.tee = &tee
			t.mu.Unlock()
			break
		}
		t.mu.Unlock()
		for _, id := range c.missing {
			tree, err := t.set.deps.Tree(ctx, id)
			if err != nil {
				return fmt.Errorf("compact journal: %w", err)
			}
			c.trees[id] = tree
		}
	}
	err := t.replaceJournal(c, branch)
	t.mu.Lock()
	t.tee = nil
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("compact journal: %w", err)
	}
	t.emptyTrash()
	return nil
}

// replaceJournal writes what c collected and switches over.
func (t *Tree) replaceJournal(c *compactor, branch string) error {
	j := t.j
	f, size, err := writeJournalTemp(j.path, header{baseTime: t.baseTime, base: c.base, branch: branch}, c.body)
	if err != nil {
		return err
	}
	c.body = nil
	old, err := t.switchJournal(c, f, size)
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return err
	}
	return old.Close()
}

// switchJournal appends what came meanwhile and puts the new file in the place of the old one. With syncMu held, no record can become durable in the
// old file only: so what is appended after the last fsync of the new one is not owed to anybody.
func (t *Tree) switchJournal(c *compactor, f *os.File, size int64) (old *os.File, err error) {
	j := t.j
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	catchUp := func() error {
		tail := *t.tee
		*t.tee = nil
		_, err := f.WriteAt(tail, size)
		size += int64(len(tail))
		return err
	}
	t.mu.Lock()
	upTo := j.seq.Load()
	err = catchUp()
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := errJoin(t.set.spool.syncDir(), f.Sync()); err != nil {
		return nil, err
	}
	t.mu.Lock()
	err = catchUp()
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err == nil {
		old, j.f, j.room = j.f, f, 0
		j.records = c.records + int(j.seq.Load()-c.seqAt)
		j.size, j.compacted, j.notBefore = size, size, 0
		t.base, t.grafts = c.base, c.grafts
	}
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(j.path)); err != nil {
		j.failed.Store(&err) // which of the two a power failure would leave is not known
		return old, nil
	}
	j.synced.Store(upTo)
	return old, nil
}

// collect builds the body. t.mu is held.
func (c *compactor) collect() {
	t := c.t
	c.body, c.records, c.grafts, c.missing, c.linked = c.body[:0], 0, nil, nil, map[*node]string{}
	c.seqAt = t.j.seq.Load()
	for _, x := range t.trash {
		c.write(&record{kind: recDoomed, spool: x.id})
	}
	for id := range t.filling {
		c.write(&record{kind: recDoomed, spool: id})
	}
	for _, n := range t.inodes {
		if id := n.spoolID(); id != 0 && n.nlink == 0 {
			c.write(&record{kind: recDoomed, spool: id})
		}
	}
	c.dir(t.root, c.base, "")
	if r := t.root; r.is(flagTouched) || len(c.body) > 0 {
		c.setattr(r, "")
	}
	c.xattrs(t.root, "")
}

func (c *compactor) write(r *record) {
	c.body = appendRecord(c.body, r)
	c.records++
}

// dir writes how the content of d, at path, differs from the tree baseID, which is what replay has at path by now.
func (c *compactor) dir(d *node, baseID oid.ID, path string) {
	if !d.is(flagLoaded) {
		return
	}
	same := !d.is(flagChanged) && d.id == baseID
	base := &object.Tree{}
	if !same && !baseID.IsZero() {
		if base = c.trees[baseID]; base == nil {
			c.missing = append(c.missing, baseID)
			return
		}
	}
	for i := range base.Entries {
		if name := base.Entries[i].Name; d.children[name] == nil {
			c.write(&record{kind: recDrop, path: join(path, name)})
		}
	}
	for name, n := range d.children {
		was, _ := findEntry(base, name)
		c.node(n, was, same, join(path, name))
	}
}

// node writes how n, at path, differs from the entry that replay has there: was (nil: nothing), or, if same, one that equals it.
func (c *compactor) node(n *node, was *object.Entry, same bool, path string) {
	if !n.isDir() && n.nlink > 1 {
		if first, ok := c.linked[n]; ok {
			c.drop(was, same, path)
			c.write(&record{kind: recLink, time: n.ctime, path: first, path2: path})
			return
		}
		c.linked[n] = path
	}
	same = same || was != nil && n.matches(was)
	plain := same && n.uid == c.t.set.opts.UID && n.gid == c.t.set.opts.GID
	switch n.mode & typeMask {
	case typeDir:
		c.subdir(n, was, same, path)
	case typeReg:
		switch {
		case !same || n.spoolID() != 0:
			c.write(n.fileRecord(path))
		case !plain:
			c.setattr(n, path)
		}
	case typeLink:
		if !same {
			c.drop(was, same, path)
			c.write(&record{kind: recSymlink, time: n.ctime, path: path, uid: n.uid, gid: n.gid, value: []byte(n.x.target)})
		}
		if !plain {
			c.setattr(n, path)
		}
	default:
		c.drop(was, same, path)
		a := record{kind: recMknod, time: n.ctime, path: path, mode: n.mode, uid: n.uid, gid: n.gid}
		if n.x != nil {
			a.rdev = n.x.rdev
		}
		c.write(&a)
		c.setattr(n, path)
	}
	c.xattrs(n, path)
}

// subdir writes a directory, what is below it, and then its times, which that changed.
func (c *compactor) subdir(n *node, was *object.Entry, same bool, path string) {
	start := len(c.body)
	isDir := was != nil && was.Kind == object.Dir
	below := n.id // what replay has below path, before the records of c.dir
	switch {
	case same:
	case isDir && n.is(flagLoaded):
		below = was.ID
	case isDir && n.id == was.ID:
	default:
		if n.is(flagChanged) {
			below = oid.ID{}
		}
		c.grafts = append(c.grafts, below)
		r := n.attrRecord(recGraft, path)
		r.id = below
		c.write(r)
	}
	c.dir(n, below, path)
	o := c.t.set.opts
	plain := n.uid == o.UID && n.gid == o.GID && n.mtime == c.t.baseTime && (same || isDir && was.Mode&permMask == n.mode&permMask)
	if !plain || len(c.body) > start {
		c.setattr(n, path)
	}
}

func (c *compactor) drop(was *object.Entry, same bool, path string) {
	if was != nil || same {
		c.write(&record{kind: recDrop, path: path})
	}
}

func (c *compactor) setattr(n *node, path string) { c.write(n.attrRecord(recSetattr, path)) }

func (c *compactor) xattrs(n *node, path string) {
	if n.x == nil {
		return
	}
	for name, value := range n.x.xattrs {
		c.write(&record{kind: recSetxattr, time: n.ctime, path: path, name: name, value: value})
	}
}

// attrRecord returns a record of kind with all attributes.
func (n *node) attrRecord(kind recKind, path string) *record {
	return &record{kind: kind, time: n.ctime, path: path, mode: n.mode, uid: n.uid, gid: n.gid, mask: setAll, atime: n.atime.Load(), mtime: n.mtime, ctime: n.ctime}
}

// fileRecord returns the record of a regular file's whole state.
func (n *node) fileRecord(path string) *record {
	r := n.attrRecord(recFile, path)
	r.id, r.size = n.id, n.size
	if n.x != nil {
		r.spool, r.dirty = n.x.spool, n.x.dirty
		r.stat = spoolStat{size: n.size, mtime: n.mtime, ctime: n.x.ctimeBase}
	}
	return r
}

// matches says whether a commit's entry brings n, apart from its owner and what is below a directory.
func (n *node) matches(e *object.Entry) bool {
	if n.fileKind() != e.Kind || n.dirty() || n.isDir() {
		return false
	}
	if e.MTime.IsZero() || n.mtime != e.MTime.UnixNano() {
		return false
	}
	if n.isSymlink() {
		return n.x.target == e.Target
	}
	return n.id == e.ID && n.mode&permMask == e.Mode&permMask && n.size == e.Size
}
