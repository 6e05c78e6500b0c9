package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// ErrMoved is returned by Switch when the tree is not (or no longer) what the caller took it for: snapshot it again and see. It is an errs.Busy.
var ErrMoved = fmt.Errorf("it is being changed: %w", errs.Busy)

// Switch makes the tree what the committed tree to says, in one step, if it is exactly what Snapshot returned as from; else ErrMoved. What both have in
// common keeps its inodes; the rest gets new ones, so that handles go on reading what they opened. A file that is open for writing is errs.Busy.
//
// commit (may be nil) is called when nothing can fail any more but commit itself and a rename: if it fails nothing has changed. It runs with the tree's lock
// held and must not call the tree: while it moves a ref, nobody may see the new branch with the old files or change what is about to go. So this is the one
// place where Tree.mu is held over disk writes, those of one small transaction. mark names the switch: if commit makes it durable with what it does, and the
// process dies before the rename, the next Open asks Options.Switched and finishes the switch; if commit notes nothing, the rename decides.
// On return the switch is durable.
func (t *Tree) Switch(ctx context.Context, from, to oid.ID, commit func(mark string) error) error {
	if err := t.switchTo(ctx, from, to, commit); err != nil {
		return fmt.Errorf("live tree %s: %w", t.Branch(), err)
	}
	return nil
}

func (t *Tree) switchTo(ctx context.Context, from, to oid.ID, commit func(mark string) error) error {
	p := &switchPlan{t: t, ctx: ctx, now: clock(), from: from, to: to}
	was, err := p.entries(from)
	if err != nil {
		return err
	}
	p.fromEmpty = len(was) == 0
	if err := p.dir(from, to, ""); err != nil {
		return err
	}
	t.compactMu.Lock()
	defer t.compactMu.Unlock()
	seq, err := p.prepare()
	if err != nil {
		return err
	}
	next, err := t.writeNext(p.body)
	if err != nil {
		return err
	}
	if err := p.apply(next, seq, commit); err != nil {
		return err
	}
	t.emptyTrash()
	return nil
}

// switchPlan leads from one committed tree to another.
type switchPlan struct {
	t   *Tree
	ctx context.Context // of the one call that it lives for
	now int64

	from, to  oid.ID
	fromEmpty bool // a tree that nothing was ever in has no id

	steps   []switchStep
	body    []byte // their records
	records int
	grafts  []oid.ID
}

// switchStep is one path that changes. Steps are in such an order that each finds its directory.
type switchStep struct {
	path string
	e    *object.Entry // what it becomes; nil: nothing
	into bool          // a directory on both sides: its entry's mode and id count, its content is other steps'
}

func (p *switchPlan) add(s switchStep, recs ...*record) {
	p.steps = append(p.steps, s)
	for _, r := range recs {
		p.record(r)
	}
}

func (p *switchPlan) record(r *record) {
	p.body = appendRecord(p.body, r)
	p.records++
}

// dir plans the way from one directory to another.
func (p *switchPlan) dir(from, to oid.ID, path string) error {
	if from == to {
		return nil
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	a, err := p.entries(from)
	if err != nil {
		return err
	}
	b, err := p.entries(to)
	if err != nil {
		return err
	}
	names := false // whether the directory's own times change
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			names = true
			gone := join(path, a[0].Name)
			p.add(switchStep{path: gone}, &record{kind: recDrop, time: p.now, path: gone})
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			names = true
			err = p.entry(&b[0], path)
			b = b[1:]
		default:
			var replaced bool
			replaced, err = p.both(&a[0], &b[0], path)
			names = names || replaced
			a, b = a[1:], b[1:]
		}
		if err != nil {
			return err
		}
	}
	if names {
		p.record(&record{kind: recSetattr, time: p.now, path: path, mask: setMtime | setCtime, mtime: p.now, ctime: p.now})
	}
	return nil
}

func (p *switchPlan) entries(id oid.ID) ([]object.Entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	tree, err := p.t.set.deps.Tree(p.ctx, id)
	if err != nil {
		return nil, err
	}
	return tree.Entries, nil
}

// both plans for a name on both sides and says whether it becomes another inode.
func (p *switchPlan) both(a, b *object.Entry, path string) (replaced bool, err error) {
	mode := a.Mode&permMask == b.Mode&permMask
	if a.Kind != object.Dir || b.Kind != object.Dir {
		if a.Kind == b.Kind && a.ID == b.ID && a.Target == b.Target && mode && a.MTime.Equal(b.MTime) {
			return false, nil
		}
		return true, p.entry(b, path)
	}
	if a.ID == b.ID && mode {
		return false, nil
	}
	at := join(path, b.Name)
	p.add(switchStep{path: at, e: b, into: true})
	if !mode {
		p.record(&record{kind: recSetattr, time: p.now, path: at, mode: typeDir | b.Mode&permMask, mask: setMode | setCtime, ctime: p.now})
	}
	return false, p.dir(a.ID, b.ID, at)
}

// entry plans that path/e.Name becomes e, whatever is there.
func (p *switchPlan) entry(e *object.Entry, path string) error {
	at := join(path, e.Name)
	if len(at) > maxPath {
		return fmt.Errorf("path of %d bytes: %w", len(at), errs.NameTooLong)
	}
	n := p.t.fromEntry(e, 0)
	switch e.Kind {
	case object.Dir:
		r := n.attrRecord(recGraft, at)
		r.time, r.id = p.now, e.ID
		p.grafts = append(p.grafts, e.ID)
		p.add(switchStep{path: at, e: e}, r)
	case object.Symlink:
		p.add(switchStep{path: at, e: e}, &record{kind: recDrop, time: p.now, path: at},
			&record{kind: recSymlink, time: p.now, path: at, uid: n.uid, gid: n.gid, value: []byte(e.Target)}, n.attrRecord(recSetattr, at))
	default:
		p.add(switchStep{path: at, e: e}, n.fileRecord(at))
	}
	return nil
}

// prepare has every directory loaded that steps go through, checks that the tree may be switched, and returns how many records it has had by then.
func (p *switchPlan) prepare() (seq uint64, err error) {
	t := p.t
	err = t.update(p.ctx, func() error {
		if err := p.switchable(); err != nil {
			return err
		}
		if _, err := p.dirs(); err != nil {
			return err
		}
		seq = t.j.seq.Load()
		return nil
	})
	return seq, err
}

// switchable says whether the tree is at rest, and what the plan starts from. t.mu is held.
func (p *switchPlan) switchable() error {
	t := p.t
	if p := t.j.failed.Load(); p != nil {
		return *p
	}
	var open []string
	for _, n := range t.inodes {
		if n.isReg() && n.nlink > 0 && n.x != nil && (n.x.writers > 0 || n.x.latch != nil) {
			open = append(open, n.path())
		}
	}
	if err := openError(open); err != nil {
		return err
	}
	if t.root.is(flagChanged) || t.root.id != p.from && !(p.fromEmpty && t.root.id.IsZero()) {
		return ErrMoved
	}
	return nil
}

// apply switches journal and memory over. next holds the journal as it was after seq records, and the plan's behind; it is gone if apply fails.
func (p *switchPlan) apply(next *nextJournal, seq uint64, commit func(mark string) error) (err error) {
	defer func() {
		if err != nil {
			next.drop()
		}
	}()
	t, j := p.t, p.t.j
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.writable(); err != nil {
		return err
	}
	if err := p.switchable(); err != nil {
		return err
	}
	if j.seq.Load() != seq {
		return ErrMoved
	}
	dirs, err := p.dirs()
	if need := (*loadError)(nil); errors.As(err, &need) { // forgotten since prepare
		return ErrMoved
	}
	if err != nil {
		return err
	}
	if commit != nil {
		if err := commit(next.mark); err != nil {
			return err
		}
	}
	if err := os.Rename(next.f.Name(), j.path); err != nil {
		err = fmt.Errorf("the branch has moved, its live tree follows when it is opened again: %w", err)
		j.failed.Store(&err) // nothing may be added to what is to be replaced
		next.keep = commit != nil
		return err
	}
	old := j.f
	j.f, j.room, j.size = next.f, 0, next.size
	j.records += p.records
	j.seq.Add(uint64(p.records))
	t.grafts = append(t.grafts, p.grafts...)
	for i, s := range p.steps {
		p.take(s, dirs[i])
	}
	t.root.isNow(p.to)
	for i, s := range p.steps {
		if s.into {
			_, name := splitPath(s.path)
			dirs[i].children[name].isNow(s.e.ID)
		}
	}
	t.head = p.to
	if err := errJoin(syncDir(filepath.Dir(j.path)), old.Close()); err != nil {
		j.failed.Store(&err) // which of the two journals a power failure would leave is not known
		return nil
	}
	j.synced.Store(j.seq.Load())
	return nil
}

// dirs returns the directory of each step; ErrMoved or a loadError if one is not there. t.mu is held.
func (p *switchPlan) dirs() ([]*node, error) {
	dirs := make([]*node, len(p.steps))
	for i, s := range p.steps {
		d, name, err := p.t.walkParent(s.path)
		if errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir) {
			return nil, ErrMoved
		}
		if err != nil {
			return nil, err
		}
		if c := d.children[name]; s.into && (c == nil || !c.isDir()) {
			return nil, ErrMoved
		}
		dirs[i] = d
	}
	return dirs, nil
}

// take does a step in memory. t.mu is held.
func (p *switchPlan) take(s switchStep, d *node) {
	t := p.t
	_, name := splitPath(s.path)
	old := d.children[name]
	if s.into {
		if old.mode&permMask != s.e.Mode&permMask {
			old.mode, old.ctime = typeDir|s.e.Mode&permMask, p.now
			old.flags |= flagTouched
		}
		return
	}
	if old != nil {
		t.drop(d, name, old, p.now)
	}
	if s.e != nil {
		n := t.fromEntry(s.e, Ino(t.set.inos.Add(1)))
		n.nlink = 0 // insert counts its name
		t.inodes[n.ino] = n
		t.insert(d, name, n)
	}
	d.stamp(p.now)
}

// drop takes a name and all that is below it out of the tree, as unlink and rmdir would.
func (t *Tree) drop(d *node, name string, n *node, now int64) {
	for childName, c := range n.children {
		t.drop(n, childName, c, now)
	}
	if n.isDir() {
		n.flags |= flagLoaded // and empty: what was in it must not come back by an inode number that the kernel still has
	}
	t.remove(d, name, n)
	t.unnamed(n, now)
}

// isNow says that the content of a directory is that of a committed tree again.
func (n *node) isNow(id oid.ID) {
	n.id = id
	n.flags &^= flagChanged
}
