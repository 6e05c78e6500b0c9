package worktree

import (
	"context"
	"fmt"
	"os"
	"sync"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// Tree is the live tree of one branch. All its methods may be called from several goroutines. Names are checked: at most 255 bytes,
// not empty, ".", "..", no "/" or NUL. Errors are classes of internal/errs. Every change is in the journal (written, not synced) when the method returns.
type Tree struct {
	set    *Set
	root   *node
	snapMu sync.Mutex

	compactMu sync.Mutex
	mu        sync.RWMutex
	branch    string
	inodes    map[Ino]*node
	ranges    rangeTable
	j         *journal // nil in a read-only set and during replay
	base      oid.ID   // the journal's base tree
	baseTime  int64
	head      oid.ID   // tree of the branch's head, as far as we know: where Ingest looks for earlier versions
	grafts    []oid.ID // trees that records of the journal refer to
	handles   int
	specials  int       // nodes that a commit cannot hold
	trash     []trashed // spool files to remove once the journal is synced that far
	removed   []Ino     // removed directories that the kernel may still know
	closed    error     // why no change is accepted any more

	filling map[spoolID]bool // spool files that copy up is filling

	replay *replay // while the journal is replayed
	tee    *[]byte // while it is compacted: what is appended meanwhile
}

// trashed is a spool file that is superfluous once journal record seq is synced.
type trashed struct {
	id  spoolID
	seq uint64
}

// newTree returns a tree that is as base says.
func newTree(s *Set, h header) *Tree {
	t := &Tree{set: s, branch: h.branch, base: h.base, baseTime: h.baseTime, head: h.base, inodes: map[Ino]*node{}, filling: map[spoolID]bool{}}
	t.root = &node{ino: Ino(s.inos.Add(1)), mode: typeDir | 0o755, uid: s.opts.UID, gid: s.opts.GID, subdirs: -1, id: h.base, mtime: h.baseTime, ctime: h.baseTime}
	t.root.atime.Store(h.baseTime)
	t.inodes[t.root.ino] = t.root
	return t
}

// Branch returns the branch's name.
func (t *Tree) Branch() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.branch
}

// Root returns the inode of the tree's root directory.
func (t *Tree) Root() Ino { return t.root.ino }

// loadError says that fn of update or view needs a directory from the store first.
type loadError struct {
	d     *node
	count bool // the number of its sub-directories suffices
}

func (e *loadError) Error() string { return fmt.Sprintf("directory %d is not loaded", e.d.ino) }

// update runs fn under the lock, again after each directory that it asks for. fn must not have changed anything when it asks.
func (t *Tree) update(ctx context.Context, fn func() error) error {
	for {
		t.mu.Lock()
		err := t.writable()
		if err == nil {
			err = fn()
		}
		t.mu.Unlock()
		need, ok := err.(*loadError)
		if !ok {
			return err
		}
		if err := t.load(ctx, need); err != nil {
			return err
		}
	}
}

// view is update for readers.
func (t *Tree) view(ctx context.Context, fn func() error) error {
	for {
		t.mu.RLock()
		err := fn()
		t.mu.RUnlock()
		need, ok := err.(*loadError)
		if !ok {
			return err
		}
		if err := t.load(ctx, need); err != nil {
			return err
		}
	}
}

func (t *Tree) writable() error {
	switch {
	case t.closed != nil:
		return fmt.Errorf("live tree %s: %w", t.branch, t.closed)
	case t.set.opts.ReadOnly && t.replay == nil:
		return fmt.Errorf("live tree %s: %w", t.branch, errs.ReadOnly)
	}
	return nil
}

// load fetches a directory of a commit and installs it, unless somebody else did meanwhile.
func (t *Tree) load(ctx context.Context, need *loadError) error {
	t.mu.RLock()
	d, id, loaded := need.d, need.d.id, need.d.is(flagLoaded)
	t.mu.RUnlock()
	if loaded {
		return nil
	}
	tree := &object.Tree{}
	if !id.IsZero() {
		var err error
		if tree, err = t.set.deps.Tree(ctx, id); err != nil {
			return fmt.Errorf("load directory of %s: %w", t.Branch(), err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.is(flagLoaded) || d.id != id {
		return nil
	}
	if need.count {
		d.subdirs = countDirs(tree)
	} else {
		t.attach(d, tree)
	}
	return nil
}

func countDirs(tree *object.Tree) int32 {
	var n int32
	for i := range tree.Entries {
		if tree.Entries[i].Kind == object.Dir {
			n++
		}
	}
	return n
}

// attach makes the nodes of a directory. t.mu is held.
func (t *Tree) attach(d *node, tree *object.Tree) {
	first := t.ranges.reattach(d.ino, len(tree.Entries))
	if first == 0 {
		n := uint64(len(tree.Entries))
		first = Ino(t.set.inos.Add(n) - n + 1)
	}
	if len(tree.Entries) > 0 {
		d.children = make(map[string]*node, len(tree.Entries))
	}
	for i := range tree.Entries {
		n := t.fromEntry(&tree.Entries[i], first+Ino(i))
		n.parent = d
		d.children[n.name] = n
		t.inodes[n.ino] = n
	}
	d.subdirs = countDirs(tree)
	d.flags |= flagLoaded
	d.flags &^= flagShaped
}

// fromEntry makes the node of a committed file.
func (t *Tree) fromEntry(e *object.Entry, ino Ino) *node {
	n := &node{ino: ino, mode: e.Mode & permMask, uid: t.set.opts.UID, gid: t.set.opts.GID, nlink: 1, name: e.Name, size: e.Size, id: e.ID}
	switch e.Kind {
	case object.Dir:
		n.mode |= typeDir
		n.subdirs, n.nlink, n.size = -1, 0, 0
	case object.Symlink:
		n.mode |= typeLink
		n.x = &extra{target: e.Target}
		n.size = int64(len(e.Target))
	default:
		n.mode |= typeReg
	}
	n.mtime = t.baseTime
	if !e.MTime.IsZero() {
		n.mtime = e.MTime.UnixNano()
	}
	n.ctime = n.mtime
	n.atime.Store(n.mtime)
	return n
}

// get finds an inode. t.mu is held, at least for reading.
func (t *Tree) get(ino Ino) (*node, error) {
	if n := t.inodes[ino]; n != nil {
		return n, nil
	}
	if dir, ok := t.ranges.find(ino); ok {
		d, err := t.get(dir)
		if err != nil {
			return nil, err
		}
		if !d.is(flagLoaded) {
			return nil, &loadError{d: d}
		}
	}
	return nil, fmt.Errorf("inode %d: %w", ino, errs.NotFound)
}

// dir finds a directory and wants it loaded.
func (t *Tree) dir(ino Ino) (*node, error) {
	d, err := t.get(ino)
	if err != nil {
		return nil, err
	}
	return d, t.loaded(d)
}

func (t *Tree) loaded(d *node) error {
	if !d.isDir() {
		return fmt.Errorf("%s: %w", d.path(), errs.NotDir)
	}
	if !d.is(flagLoaded) {
		return &loadError{d: d}
	}
	return nil
}

// child finds a name in a directory.
func (t *Tree) child(d *node, name string) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if n := d.children[name]; n != nil {
		return n, nil
	}
	return nil, notFound(name)
}

// notFoundError is made for each lookup of a name that is not there: it formats only when asked to.
type notFoundError struct{ name string }

func notFound(name string) error { return &notFoundError{name} }

func (e *notFoundError) Error() string { return fmt.Sprintf("%q: %v", e.name, errs.NotFound) }
func (e *notFoundError) Unwrap() error { return errs.NotFound }

// insert puts a node into a directory, as a new name of it. The caller has checked that the name is free.
func (t *Tree) insert(d *node, name string, n *node) {
	if d.children == nil {
		d.children = map[string]*node{}
	}
	d.children[name] = n
	if n.isDir() {
		n.parent, n.name = d, name
		d.subdirs++
	} else {
		n.addLink(d, name)
	}
	d.flags |= flagShaped
	d.markChanged()
}

// remove takes a name out of a directory; what becomes of the node is discard's business.
func (t *Tree) remove(d *node, name string, n *node) {
	delete(d.children, name)
	if n.isDir() {
		n.parent, n.name = nil, ""
		d.subdirs--
	} else {
		n.dropLink(d, name)
	}
	d.flags |= flagShaped
	d.markChanged()
}

// newNode makes an inode that no commit knows.
func (t *Tree) newNode(mode, uid, gid uint32, now int64) *node {
	n := &node{ino: Ino(t.set.inos.Add(1)), mode: mode, uid: uid, gid: gid, mtime: now, ctime: now, flags: flagTouched}
	n.atime.Store(now)
	if n.isDir() {
		n.flags |= flagLoaded | flagChanged
	}
	if n.isSpecial() {
		t.specials++
	}
	t.inodes[n.ino] = n
	return n
}

// discard forgets a node that has no name, and its spool file, unless somebody still has it open.
func (t *Tree) discard(n *node) {
	if n.isDir() {
		n.flags |= flagRemoved
		t.keepRemoved(n.ino)
		return
	}
	if n.nlink > 0 || n.busy() || n.x != nil && n.x.latch != nil {
		return
	}
	delete(t.inodes, n.ino)
	if n.isSpecial() {
		t.specials--
	}
	if n.x != nil && n.x.spool != 0 {
		t.dropSpool(n)
	}
}

// dropSpool gives up a node's spool file. It is removed as soon as the record that allows it (extra.seq) is synced.
func (t *Tree) dropSpool(n *node) {
	t.leaveClean(n)
	if t.replay != nil {
		t.replay.doomed[n.x.spool] = true
	} else {
		t.trash = append(t.trash, trashed{n.x.spool, n.x.seq})
	}
	n.x.spool, n.x.blocks = 0, 0
}

// keepRemoved remembers a removed directory: a process may have it as its working directory. Forget frees it, or, should that never come, 1024 others.
func (t *Tree) keepRemoved(ino Ino) {
	t.removed = append(t.removed, ino)
	if len(t.removed) > 1024 {
		delete(t.inodes, t.removed[0])
		t.removed = t.removed[1:]
	}
}

// log appends a record to the journal. It fails before anything is changed.
func (t *Tree) log(r *record) error {
	if r.kind != recIngested {
		t.set.changed.Store(r.time)
	}
	if t.j == nil {
		return nil // replay
	}
	if len(r.path) > maxPath || len(r.path2) > maxPath {
		return fmt.Errorf("path of %d bytes: %w", max(len(r.path), len(r.path2)), errs.NameTooLong)
	}
	return t.j.append(r, t.tee)
}

// SyncTree makes every change of names and attributes so far durable (fsync of a directory).
func (t *Tree) SyncTree(ctx context.Context) error {
	if t.set.opts.ReadOnly {
		return nil
	}
	return t.sync()
}

// sync makes the journal durable and removes the spool files that are superfluous then.
func (t *Tree) sync() error {
	if err := t.j.sync(t.set.spool); err != nil {
		return fmt.Errorf("sync live tree %s: %w", t.Branch(), err)
	}
	t.emptyTrash()
	return nil
}

// emptyTrash removes spool files whose removal is covered by a synced record.
func (t *Tree) emptyTrash() {
	synced := t.j.synced.Load()
	t.mu.Lock()
	var gone []spoolID
	keep := t.trash[:0]
	for _, x := range t.trash {
		if x.seq <= synced {
			gone = append(gone, x.id)
		} else {
			keep = append(keep, x)
		}
	}
	t.trash = keep
	if len(keep) == 0 {
		t.trash = nil
	}
	t.mu.Unlock()
	for _, id := range gone {
		if err := t.set.spool.discard(id); err != nil {
			t.set.opts.Logger.Warn("spool file stays", "op", "remove", "err", err)
		}
	}
}

// errClosed is why a tree of a closed set refuses changes.
var errClosed = fmt.Errorf("closed: %w", os.ErrClosed)
