package local

import (
	"context"
	"errors"
	"slices"

	"coral/internal/errs"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// copyPack appends the records that stay of the pack of u to new packs. errs.Corrupt if one of them cannot be read or found.
func (c *collector) copyPack(ctx context.Context, u *usage) error {
	if u.records == 0 {
		return nil
	}
	r, release, err := c.s.files.acquire(u.n)
	if err != nil {
		return err
	}
	defer release()
	found := int64(0)
	err = r.Scan(ctx, pack.FileHeaderSize, pack.FileHeaderSize+u.data, false, func(e pack.Entry, _ bool) error {
		from := e.Info(u.n, e.Offset)
		now, err := c.s.lookup(e.ID)
		if e.Filler() || errors.Is(err, errs.NotFound) || err == nil && now != from {
			return nil // dropped, or a copy of a record that lies elsewhere
		}
		if err != nil {
			return err
		}
		found++
		payload, err := r.ReadFrame(ctx, from)
		if err != nil {
			return err
		}
		return c.copyFrame(ctx, e.Frame, payload, move{from: from})
	}, nil)
	if err == nil && found != u.records {
		err = &errs.CorruptError{Where: "pack " + pack.Name(u.n), Offset: -1, Detail: "records that the index has are not there"}
	}
	return err
}

func (c *collector) copyFrame(ctx context.Context, f pack.Frame, payload []byte, m move) error {
	if c.w == nil {
		c.s.appendMu.Lock()
		w, err := c.s.createPack()
		c.s.appendMu.Unlock()
		if err != nil {
			return err
		}
		c.w = w
	}
	off, err := c.w.Append(f, payload)
	if err != nil {
		return err
	}
	m.to = f.Info(c.w.Number(), off)
	c.moves = append(c.moves, m)
	c.bytes += f.Size()
	if c.w.Size() >= c.s.packSize || c.w.Frames() >= pack.MaxFrames {
		return c.seal(ctx)
	}
	return nil
}

// seal ends the pack being filled.
func (c *collector) seal(ctx context.Context) error {
	if c.w == nil {
		return nil
	}
	if err := c.w.Seal(ctx); err != nil {
		return err
	}
	c.done, c.w = append(c.done, c.w), nil
	return nil
}

// commit makes the new packs durable, moves the records in one transaction that also condemns the old packs, and removes these.
func (c *collector) commit(ctx context.Context) error {
	if len(c.old) == 0 {
		return nil
	}
	if err := c.seal(ctx); err != nil {
		return err
	}
	s := c.s
	for _, w := range c.done {
		if err := w.Sync(); err != nil {
			return s.fail(err)
		}
	}
	if len(c.done) > 0 {
		if err := s.env.fs.SyncDir(s.packDir); err != nil {
			return s.fail(err)
		}
	}
	s.env.step("new packs synced")
	c.tried = true
	if err := c.s.update(c.moveAll); err != nil {
		return err
	}
	done := c.done
	c.done, c.moves, c.bytes, c.tried = nil, nil, 0, false // they are the store's now: nothing may remove them
	s.env.step("records moved")
	for _, w := range done {
		c.res.FreedBytes -= w.Size()
		if err := w.Close(); err != nil {
			return s.fail(err)
		}
	}
	return c.unlink()
}

func (c *collector) moveAll(tx *index.Tx) error {
	slices.SortFunc(c.moves, func(a, b move) int { return byID(a.to, b.to) })
	for _, m := range c.moves {
		now, err := tx.Get(m.from.ID)
		if err != nil || now != m.from {
			if err != nil && !errors.Is(err, errs.NotFound) {
				return err
			}
			continue
		}
		if err := tx.Put(m.to); err != nil {
			return err
		}
	}
	for _, w := range c.done {
		if err := tx.PutPack(w.Number(), index.Pack{Length: w.Size(), Frames: w.Frames(), Salt: w.Salt(), Sealed: true}); err != nil {
			return err
		}
	}
	for _, u := range c.old {
		row, _, err := tx.Pack(u.n)
		if err != nil {
			return err
		}
		row.Dead = true
		if err := tx.PutPack(u.n, row); err != nil {
			return err
		}
	}
	c.s.appendMu.Lock()
	defer c.s.appendMu.Unlock()
	return tx.SetNextPack(c.s.next)
}

// unlink removes the condemned packs. Readers that have one open keep it.
func (c *collector) unlink() error {
	var gone []uint64
	for _, u := range c.old {
		c.s.files.drop(u.n)
		if err := c.s.env.fs.Remove(c.s.packPath(u.n)); err != nil && !errors.Is(err, errs.NotFound) {
			return err // the row says dead: the next Open tries again
		}
		gone = append(gone, u.n)
		c.res.FreedBytes += u.size
		c.tally(u)
	}
	c.old = nil
	c.s.env.step("old packs removed")
	if err := c.s.forgetPacks(gone); err != nil {
		return c.s.writeError(err)
	}
	return nil
}

// abandon closes the new packs of a batch that was not committed, and removes them unless the transaction may have reached the
// disk after all. What stays is garbage that the next Collect finds.
func (c *collector) abandon() error {
	if c.w != nil {
		c.done = append(c.done, c.w)
	}
	err := c.s.discard(c.done, c.tried)
	c.done, c.w = nil, nil
	return err
}
