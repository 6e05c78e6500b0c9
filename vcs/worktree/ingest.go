package worktree

import (
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/oid"
	"coral/vcs/object"
)

const (
	// tinyFile is the size up to which the spool copy of an ingested file is dropped when things are quiet: its content is inline in the manifest
	// (object.MaxInline), so reading it costs no more than the manifest does, and an inode of the disk is saved.
	tinyFile = 4096

	// commitChunk is how many files of a batch are journalled under one hold of the tree's lock: at 3 µs a record, and some 8 µs
	// to ask for the lease of a small copy that is dropped, one to two milliseconds.
	commitChunk = 256
)

// ingest stores the file of a job and puts it into the batch.
func (q *queue) ingest(j *job) {
	t, n := j.t, j.n
	t.mu.Lock()
	if !t.ingestable(n) {
		t.forgetJob(n)
		t.mu.Unlock()
		q.finish(j)
		return
	}
	x := n.x
	gen, spool, path, prev := x.gen, x.spool, n.path(), n.id
	x.pins++
	label := t.branch + ":" + path
	t.mu.Unlock()
	q.mu.Lock()
	j.label = label
	q.mu.Unlock()

	manifest, stat, same, err := t.storeSpool(q.ctx, spool, path, prev)

	t.mu.Lock()
	x.pins--
	switch {
	case !t.ingestable(n):
		t.forgetJob(n)
		t.mu.Unlock()
		q.finish(j)
	case err != nil && x.gen == gen: // with another generation, it may be a reading that was cut short by a truncate
		t.mu.Unlock()
		q.fail(j, fmt.Errorf("%s: %w", label, err))
	case x.gen != gen || !same:
		t.mu.Unlock()
		q.requeue(j)
	default:
		x.pending = manifest
		t.mu.Unlock()
		q.done(j, ingested{gen: gen, stat: stat})
	}
}

// ingestable says whether a file is dirty and at rest. t.mu is held.
func (t *Tree) ingestable(n *node) bool {
	return t.closed == nil && n.nlink > 0 && n.dirty() && !n.x.lost && n.x.writers == 0
}

// forgetJob ends a file's stay in the queue; one that lost its last name meanwhile goes. t.mu is held.
func (t *Tree) forgetJob(n *node) {
	if n.x == nil {
		return
	}
	n.x.job = nil
	n.x.pending = oid.ID{}
	if n.nlink == 0 {
		if t.inodes[n.ino] == n {
			t.discard(n)
		}
		return
	}
	n.slim()
}

// storeSpool ingests a spool file as it is. same says that it did not change meanwhile, as far as size and times tell.
func (t *Tree) storeSpool(ctx context.Context, id spoolID, path string, prev oid.ID) (manifest oid.ID, stat spoolStat, same bool, err error) {
	f, err := t.set.spool.open(id, false)
	if err != nil {
		return oid.ID{}, stat, false, err
	}
	defer f.Close()
	var before, after unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &before); err != nil {
		return oid.ID{}, stat, false, fmt.Errorf("stat spool file %s: %w", id, err)
	}
	if head := t.headManifest(ctx, path); !head.IsZero() {
		prev = head
	}
	manifest, _, err = t.set.deps.Ingest(ctx, spooled{f, t.set.spool, id, beside{t, path}}, before.Size, path, prev)
	if err != nil {
		return oid.ID{}, stat, false, err
	}
	if err := unix.Fstat(int(f.Fd()), &after); err != nil {
		return oid.ID{}, stat, false, fmt.Errorf("stat spool file %s: %w", id, err)
	}
	return manifest, statOf(&before), statOf(&before) == statOf(&after), nil
}

// spooled is an open spool file that can be opened again after it was ingested: content.Reopener. Its id is never another file's.
type spooled struct {
	*os.File
	spool *spool
	id    spoolID
	beside
}

// Reopen opens the file anew; the caller closes it.
func (f spooled) Reopen() (*os.File, error) { return f.spool.open(f.id, false) }

// headManifest returns the manifest that path has in the head commit; zero if it has none, or cannot be found out: it is only a hint.
func (t *Tree) headManifest(ctx context.Context, path string) oid.ID {
	t.mu.RLock()
	id := t.head
	t.mu.RUnlock()
	kind := object.Dir
	for _, name := range splitAll(path) {
		if id.IsZero() || kind != object.Dir {
			return oid.ID{}
		}
		tree, err := t.set.deps.Tree(ctx, id)
		if err != nil {
			return oid.ID{}
		}
		e, ok := findEntry(tree, name)
		if !ok {
			return oid.ID{}
		}
		id, kind = e.ID, e.Kind
	}
	if kind != object.File {
		return oid.ID{}
	}
	return id
}

// findEntry looks a name up in a tree.
func findEntry(tree *object.Tree, name string) (*object.Entry, bool) {
	i := sort.Search(len(tree.Entries), func(i int) bool { return tree.Entries[i].Name >= name })
	if i == len(tree.Entries) || tree.Entries[i].Name != name {
		return nil, false
	}
	return &tree.Entries[i], true
}

// done puts a stored file into the batch.
func (q *queue) done(j *job, r ingested) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j.state, j.result = jobDone, r
	if len(q.batch) == 0 {
		q.batchFrom = time.Now()
	}
	q.batch = append(q.batch, j)
	q.batchSize += r.stat.size
}

// commit makes a batch durable: the store, then the records that say that the files are clean, then the journals.
func (q *queue) commit(batch []*job) {
	if err := q.set.deps.Sync(q.ctx); err != nil {
		for _, j := range batch {
			j.t.mu.Lock()
			if j.n.x != nil {
				j.n.x.pending = oid.ID{}
			}
			j.t.mu.Unlock()
			q.fail(j, fmt.Errorf("%s: %w", j.label, err))
		}
		return
	}
	byTree := map[*Tree][]*job{}
	for _, j := range batch {
		byTree[j.t] = append(byTree[j.t], j)
	}
	for t, jobs := range byTree {
		q.commitTree(t, jobs)
	}
}

// commitTree moves the files of one tree from C to B.
func (q *queue) commitTree(t *Tree, jobs []*job) {
	clean := make([]*job, 0, len(jobs))
	for len(jobs) > 0 {
		chunk := jobs[:min(commitChunk, len(jobs))]
		jobs = jobs[len(chunk):]
		again := make([]bool, len(chunk))
		errors := make([]error, len(chunk))
		t.mu.Lock()
		for i, j := range chunk {
			again[i], errors[i] = t.setClean(j)
		}
		t.mu.Unlock()
		for i, j := range chunk {
			switch {
			case errors[i] != nil:
				q.fail(j, fmt.Errorf("%s: %w", j.label, errors[i]))
			case again[i]:
				q.requeue(j)
			default:
				clean = append(clean, j)
			}
		}
	}
	if err := t.sync(); err != nil {
		for _, j := range clean {
			q.fail(j, fmt.Errorf("%s: %w", j.label, err))
		}
		return
	}
	if t.set.opts.TinyDelay < 0 {
		t.dropTiny(clean)
	} else {
		t.set.tiny.Store(true)
	}
	t.set.enforceQuota() // before a drain returns
	for _, j := range clean {
		q.finish(j)
	}
}

// setClean moves a file from C to B, unless somebody has written to it since it was read: then, if it is at rest, it has to be read again. t.mu is held.
func (t *Tree) setClean(j *job) (again bool, err error) {
	n, x := j.n, j.n.x
	if x == nil || x.job != j {
		return false, nil
	}
	manifest := x.pending
	x.pending = oid.ID{}
	if !t.ingestable(n) {
		t.forgetJob(n)
		return false, nil
	}
	if x.gen != j.result.gen {
		return true, nil
	}
	if x.ctimeNews { // else it would go back at a restart: what is clean is not asked its spool file's ctime
		if err := t.log(&record{kind: recSetattr, time: n.ctime, path: n.path(), mode: n.mode, uid: n.uid, gid: n.gid, mask: setCtime, ctime: n.ctime}); err != nil {
			return false, err
		}
		x.ctimeNews = false
	}
	r := &record{kind: recIngested, time: clock(), path: n.path(), spool: x.spool, id: manifest, stat: j.result.stat}
	if err := t.log(r); err != nil {
		return false, err
	}
	n.id, n.size, n.mtime, x.ctimeBase = manifest, r.stat.size, r.stat.mtime, r.stat.ctime
	x.dirty, x.synced, x.job = false, false, nil
	x.seq = t.j.seq.Load()
	t.enterClean(n)
	n.markEntries()
	return false, nil
}

// dropTiny drops the spool copies of small files that have just been journalled as clean, durably.
func (t *Tree) dropTiny(jobs []*job) {
	for len(jobs) > 0 {
		chunk := jobs[:min(commitChunk, len(jobs))]
		jobs = jobs[len(chunk):]
		t.mu.Lock()
		for _, j := range chunk {
			if n := j.n; n.size <= tinyFile {
				t.dropCopy(n)
			}
		}
		t.mu.Unlock()
	}
	t.emptyTrash()
}

// outlived says whether a clean copy is not what was ingested any more: a process that outlived the daemon it had opened it from wrote to it, and closed it
// by now. Then it is dirty. t.mu is held.
func (t *Tree) outlived(n *node) bool {
	x := n.x
	st, err := t.set.spool.stat(x.spool)
	if err != nil || statOf(&st) == (spoolStat{size: n.size, mtime: n.mtime, ctime: x.ctimeBase}) {
		return err != nil
	}
	t.set.opts.Logger.Warn("a file was written to by a process that outlived its daemon", "path", t.branch+":"+n.path())
	if err := t.setDirty(n); err != nil {
		t.set.opts.Logger.Error("live tree", "op", "dirty", "path", t.branch+":"+n.path(), "err", err)
		return true
	}
	n.learn(&st)
	x.gen++
	t.set.queue.add(t, n, true)
	return true
}

// dropCopy moves a file from B to A if nobody has it open, not even a process that a former daemon left with it, and returns the bytes that frees. t.mu is held.
func (t *Tree) dropCopy(n *node) int64 {
	x := n.x
	if x == nil || x.dirty || x.spool == 0 || n.nlink == 0 || n.busy() || x.seq > t.j.synced.Load() {
		return 0
	}
	if t.set.spool.openForWriting(x.spool) {
		return 0
	}
	if t.outlived(n) {
		return 0
	}
	freed := x.blocks * 512
	t.dropSpool(n)
	n.slim()
	return freed
}
