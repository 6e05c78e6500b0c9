package worktree

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
)

// enterClean counts a file that has become clean and has a spool copy. t.mu is held.
func (t *Tree) enterClean(n *node) {
	s, x := t.set, n.x
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	x.counted, x.clean = true, x.blocks*512
	s.cleanBytes += x.clean
	s.cleanFiles++
	if !x.listed {
		x.listed = true
		s.clean = append(s.clean, cleanFile{t, n, x})
	}
	if len(s.clean) > 2*s.cleanFiles+1024 {
		s.clean = slices.DeleteFunc(s.clean, func(c cleanFile) bool {
			c.x.listed = c.x.counted
			return !c.x.counted
		})
	}
}

// leaveClean undoes enterClean; the entry in the list goes when it comes up. t.mu is held.
func (t *Tree) leaveClean(n *node) {
	s, x := t.set, n.x
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if x.counted {
		s.cleanBytes -= x.clean
		s.cleanFiles--
		x.counted, x.clean = false, 0
	}
}

// enforceQuota drops the oldest clean copies until they are within the quota.
func (s *Set) enforceQuota() {
	if s.opts.SpoolQuota >= 0 {
		s.dropOldest(s.opts.SpoolQuota)
	} else {
		s.dropOldest(0)
	}
}

// dropOldest drops clean copies, the oldest first, until at most limit bytes are left or all that are not open are gone.
func (s *Set) dropOldest(limit int64) (freed int64) {
	s.cleanMu.Lock()
	tries := len(s.clean)
	s.cleanMu.Unlock()
	trees := map[*Tree]bool{}
	for ; tries > 0; tries-- {
		s.cleanMu.Lock()
		if s.cleanBytes <= limit || len(s.clean) == 0 {
			s.cleanMu.Unlock()
			break
		}
		c := s.clean[0]
		s.clean = s.clean[1:]
		s.cleanMu.Unlock()
		freed += s.dropClean(c)
		trees[c.t] = true
	}
	for t := range trees {
		t.emptyTrash()
	}
	return freed
}

// dropClean drops one copy; a file that is open goes back to the end of the list.
func (s *Set) dropClean(c cleanFile) int64 {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	freed := int64(0)
	if c.t.closed == nil && c.n.x == c.x {
		freed = c.t.dropCopy(c.n)
	}
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	if c.x.listed = c.x.counted; c.x.counted {
		s.clean = append(s.clean, c)
	}
	return freed
}

// dropTinyCopies drops the copies of small files that a killed process had ingested and not come round to dropping.
func (s *Set) dropTinyCopies() {
	s.cleanMu.Lock()
	list := slices.Clone(s.clean)
	s.cleanMu.Unlock()
	for _, c := range list {
		c.t.mu.Lock()
		if c.t.closed == nil && c.n.x == c.x && c.n.size <= tinyFile {
			c.t.dropCopy(c.n)
		}
		c.t.mu.Unlock()
	}
	for _, t := range s.all() {
		t.emptyTrash()
	}
}

// DropSpool removes the spool copies of ingested files that no handle has open and returns the bytes freed (`coral cache drop`).
func (s *Set) DropSpool(ctx context.Context) (int64, error) {
	if s.opts.ReadOnly {
		return 0, fmt.Errorf("drop spool copies: %w", errs.ReadOnly)
	}
	for _, t := range s.all() {
		if err := t.sync(); err != nil {
			return 0, err
		}
	}
	return s.dropOldest(-1), nil
}

// makeRoom says whether n more bytes may be written to the spool. Before it refuses (errs.NoSpace), what is superfluous is removed. No lock is held.
func (s *Set) makeRoom(n int64) error {
	err := s.spool.room(n)
	if !errors.Is(err, errs.NoSpace) {
		return err
	}
	s.reclaim.Lock()
	defer s.reclaim.Unlock()
	for _, t := range s.all() {
		t.sync() // its error, if it has one, comes up at the write that asked
	}
	s.cleanMu.Lock()
	limit := s.cleanBytes - n - s.opts.SpoolReserve
	s.cleanMu.Unlock()
	s.dropOldest(max(limit, -1))
	s.spool.checked.Store(0)
	return s.spool.room(n)
}

// Spool returns sizes of the spool.
func (s *Set) Spool() SpoolStats {
	s.cleanMu.Lock()
	st := SpoolStats{CleanBytes: s.cleanBytes}
	s.cleanMu.Unlock()
	s.mu.Lock()
	st.LostFound = append(st.LostFound, s.lost...)
	s.mu.Unlock()
	s.spool.list(func(id spoolID) {
		var x unix.Stat_t
		if unix.Fstatat(s.spool.dirfd, id.String(), &x, unix.AT_SYMLINK_NOFOLLOW) == nil {
			st.Files++
			st.Bytes += x.Blocks * 512
		}
	}, nil)
	return st
}

// Roots calls fn for every manifest and every tree that a live tree refers to: gc's roots. Journals are synced first, so that what a power failure
// would bring back is covered too. The caller holds the queue by Pause.
func (s *Set) Roots(ctx context.Context, manifest func(oid.ID) error, tree func(oid.ID) error) error {
	s.mu.Lock()
	for branch, err := range s.broken {
		s.mu.Unlock()
		return fmt.Errorf("roots of live tree %s: %w", branch, err) // what it refers to is not known, so nothing may be collected
	}
	s.mu.Unlock()
	for _, t := range s.all() {
		if !s.opts.ReadOnly {
			if err := t.sync(); err != nil {
				return err
			}
		}
		manifests, trees := t.roots()
		for _, id := range manifests {
			if err := manifest(id); err != nil {
				return err
			}
		}
		for _, id := range trees {
			if err := tree(id); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// roots collects what a tree refers to, in memory and in the records of its journal.
func (t *Tree) roots() (manifests, trees []oid.ID) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	seen := map[oid.ID]bool{{}: true}
	add := func(list *[]oid.ID, id oid.ID) {
		if !seen[id] {
			seen[id] = true
			*list = append(*list, id)
		}
	}
	add(&trees, t.base)
	for _, id := range t.grafts {
		add(&trees, id)
	}
	for _, n := range t.inodes {
		switch {
		case n.isReg():
			add(&manifests, n.id)
			if n.x != nil {
				add(&manifests, n.x.pending)
			}
		case n.isDir() && !n.is(flagChanged|flagRemoved):
			add(&trees, n.id)
		}
	}
	return manifests, trees
}
