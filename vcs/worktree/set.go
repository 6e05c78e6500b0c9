package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Set is all live trees of one repository and the ingest queue they share. It must be closed. Safe for concurrent use, as are Tree and Handle.
type Set struct {
	dir   string // the repository's .coral
	deps  Deps
	opts  Options
	spool *spool
	inos  atomic.Uint64
	queue *queue

	writing atomic.Int64 // handles open for writing
	changed atomic.Int64 // when a user last changed a name or attribute, ns
	tiny    atomic.Bool  // there may be spool copies of tiny files to drop

	mu     sync.Mutex
	trees  map[string]*Tree
	broken map[string]error // branches whose journal could not be replayed
	lost   []string
	closed bool

	cleanMu    sync.Mutex // after Tree.mu
	clean      []cleanFile
	cleanFiles int
	cleanBytes int64

	stop    chan struct{}
	timer   sync.WaitGroup
	reclaim sync.Mutex // one makeRoom at a time frees space
}

// cleanFile is a file that had a clean spool copy (state B) when it was entered.
type cleanFile struct {
	t *Tree
	n *node
	x *extra
}

// Open opens the live trees under dir (dir/live/<escaped branch>/journal, dir/spool/) and replays their journals: a torn tail is ignored, spool files that no
// journal knows are listed in lost+found, nothing is deleted silently. Dirty files are queued for ingest again. A branch whose journal cannot be replayed
// does not keep the others from opening: Tree returns its error.
func Open(ctx context.Context, dir string, deps Deps, opts Options) (*Set, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Set{dir: dir, deps: deps, opts: opts.withDefaults(), trees: map[string]*Tree{}, broken: map[string]error{}, stop: make(chan struct{})}
	s.inos.Store(1) // 0 is none, 1 is FUSE's root
	s.queue = newQueue(s)
	var err error
	if s.spool, err = openSpool(filepath.Join(dir, "spool"), s.opts.SpoolReserve, opts.ReadOnly); err != nil {
		return nil, err
	}
	if err := s.recover(ctx); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("open live trees: %w", err)
	}
	if !opts.ReadOnly {
		s.tiny.Store(true) // what a killed process had ingested and not come round to dropping
		s.queue.start()
		s.timer.Add(1)
		go s.tick()
	}
	return s, nil
}

// tick syncs journals at the short timer and compacts those that have grown.
func (s *Set) tick() {
	defer s.timer.Done()
	tk := time.NewTicker(s.opts.SyncInterval)
	defer tk.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tk.C:
		}
		for _, t := range s.all() {
			if err := t.sync(); err != nil && !errors.Is(err, os.ErrClosed) {
				s.opts.Logger.Error("live tree", "op", "sync", "err", err)
			}
			t.compactIfGrown(context.Background())
		}
		if s.tiny.Load() && s.quiet() {
			s.tiny.Store(false)
			s.dropTinyCopies()
		}
	}
}

// quiet says that no spool file was made for a while. Files are not deleted while others are made: ext4 without a journal (and others, to a lesser degree) looks
// for an inode that was not freed in the last minute, and took 1.0 ms to make a file instead of 0.4.
func (s *Set) quiet() bool { return time.Duration(clock()-s.spool.made.Load()) >= s.opts.TinyDelay }

// all returns the trees in order of their branches.
func (s *Set) all() []*Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Tree, 0, len(s.trees))
	for _, t := range s.trees {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Tree) int { return int(int64(a.root.ino) - int64(b.root.ino)) })
	return list
}

// Close stops the queue after the file in work (or at once when ctx ends), syncs the journals and closes. Handles must have been closed. Nothing needs to have been ingested.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.timer.Wait()
	s.queue.close(ctx)
	if s.tiny.Load() && ctx.Err() == nil {
		s.dropTinyCopies()
	}
	var first error
	for _, t := range s.all() {
		t.mu.Lock()
		t.closed = errClosed
		t.mu.Unlock()
		if t.j == nil {
			continue
		}
		if err := t.sync(); err != nil && first == nil {
			first = err
		}
	}
	return errJoin(first, s.closeFiles())
}

func (s *Set) closeFiles() error {
	var first error
	for _, t := range s.trees {
		if t.j != nil {
			if err := t.j.close(); err != nil && first == nil {
				first = err
			}
		}
	}
	return errJoin(first, s.spool.close())
}

func (s *Set) liveDir() string { return filepath.Join(s.dir, "live") }
func (s *Set) branchDir(branch string) string {
	return filepath.Join(s.liveDir(), escapeBranch(branch))
}
func (s *Set) journalPath(branch string) string { return filepath.Join(s.branchDir(branch), "journal") }

// Tree returns the live tree of branch; if it has none yet, one that starts as root (a tree id; zero: empty).
func (s *Set) Tree(ctx context.Context, branch string, root oid.ID) (*Tree, error) {
	if err := checkBranch(branch); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("live tree %s: %w", branch, errClosed)
	}
	if t := s.trees[branch]; t != nil {
		return t, nil
	}
	if err := s.broken[branch]; err != nil {
		return nil, fmt.Errorf("live tree %s: %w", branch, err)
	}
	t := newTree(s, header{baseTime: clock(), base: root, branch: branch})
	if !s.opts.ReadOnly {
		j, err := s.newJournal(branch, header{baseTime: t.baseTime, base: root, branch: branch})
		if err != nil {
			return nil, fmt.Errorf("live tree %s: %w", branch, err)
		}
		t.j = j
	}
	s.trees[branch] = t
	return t, nil
}

// newJournal makes the directory and the empty journal of a branch, durably.
func (s *Set) newJournal(branch string, h header) (*journal, error) {
	dir := s.branchDir(branch)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, size, err := createJournal(filepath.Join(dir, "journal"), h, nil)
	if err != nil {
		return nil, err
	}
	if err := errJoin(syncDir(s.liveDir()), syncDir(s.dir)); err != nil {
		f.Close()
		return nil, err
	}
	return &journal{path: filepath.Join(dir, "journal"), f: f, size: size, compacted: size}, nil
}

// Branches lists the branches that have a live tree, those whose journal is damaged included, sorted: what a crash between a change of refs and
// Remove or Rename leaves behind can be found by it.
func (s *Set) Branches() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for b := range s.trees {
		list = append(list, b)
	}
	for b := range s.broken {
		list = append(list, b)
	}
	slices.Sort(list)
	return list
}

// Remove deletes the live tree of branch and all that was not committed. errs.Busy while handles are open in it. Without a live tree it does nothing.
func (s *Set) Remove(ctx context.Context, branch string) error {
	return s.RemoveWith(ctx, []string{branch}, nil)
}

// RemoveWith deletes the live trees of branches, as Remove does, together with what commit (may be nil) makes durable, refs say: it is called when none of the trees
// takes changes any more, may look at them, and must not call the set. If it fails, all trees are as they were. After it the trees are gone for all who ask; one
// whose files a crash or the disk keeps from being removed is listed by Branches at the next start.
func (s *Set) RemoveWith(ctx context.Context, branches []string, commit func() error) (err error) {
	what := strings.Join(branches, ", ")
	if s.opts.ReadOnly {
		return fmt.Errorf("remove live tree %s: %w", what, errs.ReadOnly)
	}
	branches = slices.Compact(slices.Sorted(slices.Values(branches)))
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []*Tree
	defer func() {
		for _, t := range idle {
			if err != nil {
				t.mu.Lock()
				t.closed = nil
				t.mu.Unlock()
			}
			t.compactMu.Unlock()
		}
	}()
	for _, b := range branches {
		t := s.trees[b]
		if t == nil {
			continue
		}
		if err := t.lockIdle(ctx, "removed"); err != nil {
			return fmt.Errorf("remove live tree %s: %w", b, err)
		}
		idle = append(idle, t)
	}
	if commit != nil {
		if err := commit(); err != nil {
			return err
		}
	}
	for _, b := range branches {
		err := s.removeLocked(b)
		switch {
		case err == nil:
		case commit == nil:
			return fmt.Errorf("remove live tree %s: %w", b, err)
		default: // what it belongs to is gone, and that is durable
			s.opts.Logger.Error("removed live tree: it stays on the disk", "branch", b, "err", err)
		}
	}
	return nil
}

// removeLocked removes the live tree of a branch, if it has one, that lockIdle has locked. mu is held.
func (s *Set) removeLocked(branch string) error {
	t := s.trees[branch]
	if t == nil {
		return s.removeBroken(branch)
	}
	if err := s.removeDir(branch); err != nil {
		return err
	}
	delete(s.trees, branch)
	return t.j.close()
}

// lockIdle refuses further changes and handles in t, if none is open, and returns with compactMu held.
func (t *Tree) lockIdle(ctx context.Context, why string) error {
	t.compactMu.Lock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handles > 0 {
		t.compactMu.Unlock()
		return fmt.Errorf("%d files are open: %w", t.handles, errs.Busy)
	}
	t.closed = fmt.Errorf("live tree was %s: %w", why, errs.NotFound)
	return nil
}

// removeDir takes a branch's directory out of the way in one durable step and then removes its spool files and itself.
func (s *Set) removeDir(branch string) error {
	trash := filepath.Join(s.liveDir(), fmt.Sprintf("%s%016x", trashPrefix, s.spool.alloc()))
	if err := os.Rename(s.branchDir(branch), trash); err != nil {
		return err
	}
	if err := syncDir(s.liveDir()); err != nil {
		return err
	}
	if err := s.emptyTrashDir(trash); err != nil {
		s.opts.Logger.Warn("removed live tree: files stay until the next start", "err", err)
	}
	return nil
}

// removeBroken deletes the directory of a branch whose journal could not be replayed. Its spool files stay: they will be listed in lost+found.
func (s *Set) removeBroken(branch string) error {
	if s.broken[branch] == nil {
		return nil
	}
	if err := os.RemoveAll(s.branchDir(branch)); err != nil {
		return fmt.Errorf("remove live tree %s: %w", branch, err)
	}
	delete(s.broken, branch)
	return syncDir(s.liveDir())
}

// Rename renames the live tree of branch. errs.Busy while handles are open in it, errs.Exist if newName has one. Without a live tree it does nothing.
func (s *Set) Rename(ctx context.Context, branch, newName string) error {
	if s.opts.ReadOnly {
		return fmt.Errorf("rename live tree %s: %w", branch, errs.ReadOnly)
	}
	if err := checkBranch(newName); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trees[branch]
	if t == nil || branch == newName {
		return nil
	}
	if s.trees[newName] != nil || s.broken[newName] != nil {
		return fmt.Errorf("rename live tree %s: %s: %w", branch, newName, errs.Exist)
	}
	if err := s.rename(ctx, t, newName); err != nil {
		return fmt.Errorf("rename live tree %s: %w", branch, err)
	}
	delete(s.trees, branch)
	s.trees[newName] = t
	return nil
}

// rename gives the journal the new name in its header, then its directory. A crash between the two is mended by recover: the header decides.
func (s *Set) rename(ctx context.Context, t *Tree, newName string) error {
	t.mu.RLock()
	open := t.handles
	old := t.branch
	t.mu.RUnlock()
	if open > 0 {
		return fmt.Errorf("%d files are open: %w", open, errs.Busy)
	}
	t.compactMu.Lock()
	defer t.compactMu.Unlock()
	if err := t.compact(ctx, t.base, newName); err != nil {
		return err
	}
	if err := os.Rename(s.branchDir(old), s.branchDir(newName)); err != nil {
		return errJoin(err, t.compact(ctx, t.base, old))
	}
	t.mu.Lock()
	t.branch = newName
	t.j.path = s.journalPath(newName)
	t.mu.Unlock()
	return syncDir(s.liveDir())
}

// Pause stops ingest and snapshots (after the file in work) until resume is called: gc runs between. What was ingested before is committed to the journals.
func (s *Set) Pause(ctx context.Context) (resume func(), err error) { return s.queue.pause(ctx) }

// Drain waits until every file that was closed before the call is ingested and durable, reporting progress (may be nil). This is `coral sync`.
// It returns the first ingest error of a file, naming its path.
func (s *Set) Drain(ctx context.Context, progress func(QueueStatus)) error {
	if s.opts.ReadOnly {
		return nil
	}
	if _, _, err := s.queue.drain(ctx, nil, progress); err != nil {
		return err
	}
	for _, t := range s.all() {
		if err := t.sync(); err != nil {
			return err
		}
	}
	return nil
}

// Queue returns the state of the ingest queue.
func (s *Set) Queue() QueueStatus { return s.queue.status() }
