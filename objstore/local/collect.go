package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// CollectResult says what Collect did.
type CollectResult struct {
	Dropped        int64 // records
	FreedBytes     int64
	PacksRemoved   int // files unlinked
	PacksRewritten int // of these, how many had records that were moved
}

// usage is what Collect knows of one pack.
type usage struct {
	n         uint64
	size      int64 // of the file
	data      int64 // bytes of frames
	live      int64 // of these, bytes of records that stay
	records   int64 // live ones
	dead      int64
	candidate bool
}

// collector is one run of Collect.
type collector struct {
	s     *Store
	live  func(oid.ID) bool
	extra map[oid.ID]bool // dead, but needed by something dead that stays where it is
	packs map[uint64]*usage
	res   CollectResult

	w     *pack.Writer   // being filled
	done  []*pack.Writer // full, of the current batch
	moves []move
	old   []*usage // packs whose records are all in moves
	bytes int64    // copied in the current batch
	tried bool     // the transaction of the current batch was begun
}

type move struct{ from, to objstore.Info }

// Collect drops the records for which live is false, by rewriting the packs in which at least a quarter is dead (all packs with any dead record if full)
// and then removing the old ones. The caller guarantees that no Put happens meanwhile and that live is closed under bases and sources. Readers are not disturbed.
// Safe under kill -9 at any point. With dryRun it only counts.
//
// A pack in which a live record is damaged is left as it is. A dead record in a pack that is not rewritten stays stored, and so does what it needs.
func (s *Store) Collect(ctx context.Context, live func(oid.ID) bool, full, dryRun bool) (CollectResult, error) {
	if err := s.writable(); err != nil && !dryRun {
		return CollectResult{}, fmt.Errorf("collect: %w", err)
	}
	if !s.sweep.TryLock() {
		return CollectResult{}, fmt.Errorf("collect: a check or another collect is running: %w", errs.Busy)
	}
	defer s.sweep.Unlock()
	if err := s.lock(ctx); err != nil {
		return CollectResult{}, err
	}
	defer s.unlock()
	c := &collector{s: s, live: live, extra: map[oid.ID]bool{}, packs: map[uint64]*usage{}}
	if err := c.run(ctx, full, dryRun); err != nil {
		return c.res, fmt.Errorf("collect: %w", err)
	}
	return c.res, nil
}

func (c *collector) run(ctx context.Context, full, dryRun bool) error {
	s := c.s
	if !dryRun {
		if err := s.writable(); err != nil {
			return err
		}
		if err := s.sync(); err != nil {
			return err
		}
		if err := s.ix.Verify(); err != nil { // what a damaged index does not know would be deleted
			return err
		}
	}
	if err := c.measure(ctx, full); err != nil {
		return err
	}
	if err := c.keepBases(ctx); err != nil {
		return err
	}
	if dryRun {
		c.count()
		return nil
	}
	if !c.anything() {
		return nil
	}
	if err := c.release(ctx); err != nil {
		return err
	}
	if err := c.drop(ctx); err != nil {
		return err
	}
	err := c.rewrite(ctx)
	return errors.Join(err, c.abandon())
}

// measure finds the live bytes of every pack and chooses the packs to rewrite.
func (c *collector) measure(ctx context.Context, full bool) error {
	if err := c.sizes(); err != nil {
		return err
	}
	err := c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		u := c.packs[info.Pack]
		switch {
		case u == nil: // its pack is missing: nothing to rewrite
		case c.live(info.ID):
			u.live += info.Stored + pack.HeaderSize
			u.records++
		default:
			u.dead++
		}
		return true, nil
	})
	for _, u := range c.packs {
		garbage := u.data - u.live
		u.candidate = garbage > 0 && (full || garbage*4 >= u.data)
	}
	return err
}

// sizes finds the packs and how many bytes of frames they have.
func (c *collector) sizes() error {
	nums, err := listPacks(c.s.env.fs, c.s.packDir, true)
	if err != nil {
		return err
	}
	for _, n := range nums {
		r, release, err := c.s.files.acquire(n)
		if errors.Is(err, errs.Corrupt) {
			continue // nothing in it can be moved
		}
		if err != nil {
			return err
		}
		size, err := r.Size()
		end := size
		if err == nil {
			end, _, err = r.End(size)
		}
		release()
		if err != nil {
			return err
		}
		c.packs[n] = &usage{n: n, size: size, data: max(0, end-pack.FileHeaderSize)}
	}
	return nil
}

// stays reports whether a record is kept.
func (c *collector) stays(info objstore.Info) bool {
	u := c.packs[info.Pack]
	return u == nil || !u.candidate || c.live(info.ID) || c.extra[info.ID]
}

// keepBases extends what is kept to the bases and sources of dead records in packs that are not rewritten, so that no record that the index has is ever without
// what it needs.
func (c *collector) keepBases(ctx context.Context) error {
	return c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if info.Base.IsZero() || !c.stays(info) || c.live(info.ID) {
			return true, nil
		}
		return true, c.keepNeeds(ctx, info)
	})
}

// keepNeeds keeps what info needs, and so on downwards.
func (c *collector) keepNeeds(ctx context.Context, info objstore.Info) error {
	for todo := []objstore.Info{info}; len(todo) > 0; {
		info := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		ids, err := c.s.needs(ctx, info)
		if err != nil && !errors.Is(err, errs.Corrupt) {
			return err
		}
		for _, id := range ids {
			need, err := c.s.lookup(id)
			if err != nil && !errors.Is(err, errs.NotFound) {
				return err
			}
			if err != nil || need.Depth >= info.Depth {
				continue // damaged already
			}
			if c.stays(need) {
				continue // and so does what it needs: it is live, or was or will be seen
			}
			c.extra[need.ID] = true
			u := c.packs[need.Pack]
			u.live += need.Stored + pack.HeaderSize
			u.records++
			u.dead--
			todo = append(todo, need)
		}
	}
	return nil
}

// anything reports whether there is a pack to rewrite.
func (c *collector) anything() bool {
	for _, u := range c.packs {
		if u.candidate {
			return true
		}
	}
	return false
}

// count fills the result of a dry run.
func (c *collector) count() {
	for _, u := range c.packs {
		if u.candidate {
			c.res.Dropped += u.dead
			c.tally(u)
			c.res.FreedBytes += u.data - u.live
		}
	}
}

func (c *collector) tally(u *usage) {
	c.res.PacksRemoved++
	if u.records > 0 {
		c.res.PacksRewritten++
	}
}

// release seals the active pack if it is to be rewritten, so that nothing is appended to it.
func (c *collector) release(ctx context.Context) error {
	s := c.s
	s.appendMu.Lock()
	var err error
	if r := s.resume; r != nil && c.candidate(r.n) {
		s.resume = nil
	}
	sealed := s.active != nil && c.candidate(s.active.Number())
	if sealed {
		if err = s.sealActive(ctx); err != nil {
			err = s.writeError(err)
		}
	}
	s.appendMu.Unlock()
	if err != nil || !sealed {
		return err
	}
	return s.sync()
}

func (c *collector) candidate(n uint64) bool { return c.packs[n] != nil && c.packs[n].candidate }

// drop takes the records that are not kept out of the index, deltas before their bases, and marks the packs that hold them as
// having frames nobody should miss. From here on a crash costs only space.
func (c *collector) drop(ctx context.Context) error {
	if err := c.s.update(c.loosen); err != nil {
		return err
	}
	depths, err := c.deepest(ctx)
	for d := depths; d >= 0 && err == nil; d-- {
		err = c.dropDepth(ctx, uint8(d))
	}
	c.s.env.step("dropped")
	return err
}

// loosen marks the candidates' rows.
func (c *collector) loosen(tx *index.Tx) error {
	for n, u := range c.packs {
		row, ok, err := tx.Pack(n)
		if err != nil {
			return err
		}
		if row.Loose = true; ok && u.candidate {
			if err := tx.PutPack(n, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// deepest returns the depth of the deepest record to drop, or -1.
func (c *collector) deepest(ctx context.Context) (depth int, err error) {
	depth = -1
	err = c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if int(info.Depth) > depth && !c.stays(info) {
			depth = int(info.Depth)
		}
		return true, nil
	})
	return depth, err
}

func (c *collector) dropDepth(ctx context.Context, depth uint8) error {
	var ids []oid.ID
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		err := c.s.update(func(tx *index.Tx) error {
			for _, id := range ids {
				if err := tx.Delete(id); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			c.res.Dropped += int64(len(ids))
		}
		ids = ids[:0]
		return err
	}
	err := c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if info.Depth != depth || c.stays(info) {
			return true, nil
		}
		if ids = append(ids, info.ID); len(ids) < maxPending {
			return true, nil
		}
		return true, flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// update runs one index transaction and makes readers see it.
func (s *Store) update(fn func(tx *index.Tx) error) error {
	err := s.ix.Update(fn)
	s.infos.clear()
	if err != nil {
		return s.writeError(err)
	}
	rows, err := s.ix.Packs()
	if err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	s.rows = rows
	s.mu.Unlock()
	return nil
}

// rewrite moves what is kept out of the candidates, those with least of it first: they give space for the others.
func (c *collector) rewrite(ctx context.Context) error {
	var order []*usage
	for _, u := range c.packs {
		if u.candidate {
			order = append(order, u)
		}
	}
	slices.SortFunc(order, func(a, b *usage) int { return cmp.Or(cmp.Compare(a.live, b.live), cmp.Compare(a.n, b.n)) })
	for _, u := range order {
		before := len(c.moves)
		err := c.copyPack(ctx, u)
		switch {
		case errors.Is(err, errs.Corrupt):
			c.s.log.Error("a damaged pack is not collected", "op", "collect", "path", c.s.packPath(u.n), "err", err)
			c.moves = c.moves[:before]
			continue
		case err != nil:
			return err
		}
		c.old = append(c.old, u)
		if c.bytes >= c.s.packSize || len(c.moves) >= maxPending {
			if err := c.commit(ctx); err != nil {
				return err
			}
		}
	}
	return c.commit(ctx)
}
