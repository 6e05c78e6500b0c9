package local

import (
	"context"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// Replacer stores records that are there already once more, coded otherwise: on another base, at another depth. What it is given goes to packs of its own;
// nobody sees it before Commit, which makes it durable and then switches the index in one transaction. The frames of before stay where they are, and
// readers that know of them can go on reading them until a Collect frees them.
//
// The invariant of the whole store is kept: the depth of a record is greater than that of its base. Chains therefore end, whatever was replaced and
// wherever a crash came. So a record may only get deeper after what is based on it, and Commit leaves out what would break this.
//
// A Replacer is used by one goroutine. While one is open, Check and Collect are errs.Busy.
type Replacer struct {
	s    *Store
	refs func(objstore.Info) ([]oid.ID, error)

	w     *pack.Writer
	done  []*pack.Writer // full
	moves []move
	at    map[oid.ID]int // in moves
	bytes int64
	tried bool // the index transaction was begun
	ended bool
}

// ReplaceResult says what Commit did.
type ReplaceResult struct {
	Replaced int64
	Before   int64    // stored bytes of what was replaced
	After    int64    // and of what they were replaced by
	Left     []oid.ID // not replaced, since the store has changed so that they do not fit any more
}

// Replace begins a replacement. refs returns what else than its base a record needs to be decoded; nil asks Options.Sources. The Replacer must be closed.
func (s *Store) Replace(refs func(objstore.Info) ([]oid.ID, error)) (*Replacer, error) {
	if err := s.writable(); err != nil {
		return nil, fmt.Errorf("replace: %w", err)
	}
	if !s.sweep.TryLock() {
		return nil, fmt.Errorf("replace: a check or a collect is running: %w", errs.Busy)
	}
	if err := s.ix.Verify(); err != nil {
		s.sweep.Unlock()
		return nil, fmt.Errorf("replace: %w", err)
	}
	if refs == nil && s.sources != nil {
		refs = func(info objstore.Info) ([]oid.ID, error) {
			return sourcesOf(s.sources, info, func(p []byte, off int64) error { return s.ReadPayload(context.Background(), info, p, off) })
		}
	}
	return &Replacer{s: s, refs: refs, at: map[oid.ID]int{}}, nil
}

// Put appends rec, whose id must be stored and whose raw bytes must be the same. Its base must be stored, or be put here, at less depth; that
// is looked at by Commit. Of two records of one id the later one counts.
func (r *Replacer) Put(ctx context.Context, rec objstore.Record) error {
	err := validate(rec)
	if err == nil {
		err = errors.Join(ctx.Err(), r.s.writable())
	}
	if err != nil {
		return err
	}
	if err := r.put(ctx, rec); err != nil {
		return fmt.Errorf("replace %s %s: %w", rec.Kind, rec.ID.Short(), err)
	}
	return nil
}

func (r *Replacer) put(ctx context.Context, rec objstore.Record) error {
	if r.ended {
		return fmt.Errorf("the replacement has ended: %w", errs.Invalid)
	}
	from, err := r.s.lookup(rec.ID)
	if err != nil {
		return err
	}
	if from.Kind != rec.Kind || from.RawSize != rec.RawSize {
		return fmt.Errorf("stored as a %s of %d bytes, not a %s of %d: %w", from.Kind, from.RawSize, rec.Kind, rec.RawSize, errs.Invalid)
	}
	if r.w == nil {
		r.s.appendMu.Lock()
		r.w, err = r.s.createPack()
		r.s.appendMu.Unlock()
		if err != nil {
			return err
		}
	}
	f := pack.FrameOf(rec)
	off, err := r.w.Append(f, rec.Payload)
	if err != nil {
		return err
	}
	m := move{from: from, to: f.Info(r.w.Number(), off)}
	if i, ok := r.at[rec.ID]; ok {
		r.moves[i] = m
	} else {
		r.at[rec.ID] = len(r.moves)
		r.moves = append(r.moves, m)
	}
	r.bytes += f.Size()
	if r.w.Size() >= r.s.packSize || r.w.Frames() >= pack.MaxFrames {
		return r.seal(ctx)
	}
	return nil
}

// Deepen puts the record of id again as it is, also if it was put here, but at another depth.
func (r *Replacer) Deepen(ctx context.Context, id oid.ID, depth uint8) error {
	info, err := r.s.lookup(id)
	if i, ok := r.at[id]; ok {
		info, err = r.moves[i].to, nil
	}
	var payload []byte
	if err == nil {
		info, err = r.s.read(info, func(p *pack.Reader, at objstore.Info) error {
			payload, err = p.ReadFrame(ctx, at)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", id.Short(), err)
	}
	return r.Put(ctx, objstore.Record{Kind: info.Kind, ID: id, Codec: info.Codec, DType: info.DType, Depth: depth, RawSize: info.RawSize, Base: info.Base, Payload: payload})
}

// Pending returns how many records and bytes wait for Commit.
func (r *Replacer) Pending() (records int, bytes int64) { return len(r.moves), r.bytes }

func (r *Replacer) seal(ctx context.Context) error {
	if r.w == nil {
		return nil
	}
	if err := r.w.Seal(ctx); err != nil {
		return err
	}
	r.done, r.w = append(r.done, r.w), nil
	return nil
}

// Commit makes everything put durable and switches the index, and so every reader, to it; then the Replacer can be used again. The caller guarantees that no
// record with a base is put meanwhile. What has gone from the store, has been stored elsewhere, or whose base is gone or too deep, stays as it is and is named as left.
// After an error nothing is switched, or the store refuses to write on as it does not know.
func (r *Replacer) Commit(ctx context.Context) (ReplaceResult, error) {
	var res ReplaceResult
	if r.ended {
		return res, fmt.Errorf("commit replacement: it has ended: %w", errs.Invalid)
	}
	if len(r.moves) == 0 {
		return res, nil
	}
	if err := r.s.lock(ctx); err != nil {
		return res, err
	}
	defer r.s.unlock()
	if err := r.commit(ctx, &res); err != nil {
		return res, fmt.Errorf("commit replacement of %d records: %w", len(r.moves), err)
	}
	return res, nil
}

func (r *Replacer) commit(ctx context.Context, res *ReplaceResult) error {
	s := r.s
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.sync(); err != nil { // what is replaced is in the index then, and so are the bases
		return err
	}
	if err := r.seal(ctx); err != nil {
		return err
	}
	for _, w := range r.done {
		if err := w.Sync(); err != nil {
			return s.fail(err)
		}
	}
	if err := s.env.fs.SyncDir(s.packDir); err != nil {
		return s.fail(err)
	}
	s.env.step("replacements synced")
	keep, err := r.fitting(ctx)
	if err != nil {
		return err
	}
	r.tried = true
	if err := s.update(func(tx *index.Tx) error { return r.switchAll(tx, keep, res) }); err != nil {
		return err
	}
	s.env.step("replacements indexed")
	done := r.done
	r.done, r.moves, r.at, r.bytes, r.tried = nil, nil, map[oid.ID]int{}, 0, false
	for _, w := range done {
		if err := w.Close(); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// switchAll points the index to the new frames.
func (r *Replacer) switchAll(tx *index.Tx, keep []bool, res *ReplaceResult) error {
	*res = ReplaceResult{}
	for i, m := range r.moves {
		now, err := tx.Get(m.to.ID)
		if err != nil && !errors.Is(err, errs.NotFound) {
			return err
		}
		if !keep[i] || err != nil || now != m.from {
			res.Left = append(res.Left, m.to.ID)
			continue
		}
		if err := tx.Put(m.to); err != nil {
			return err
		}
		res.Replaced++
		res.Before += m.from.Stored
		res.After += m.to.Stored
	}
	for _, w := range r.done {
		if err := tx.PutPack(w.Number(), index.Pack{Length: w.Size(), Frames: w.Frames(), Salt: w.Salt(), Sealed: true}); err != nil {
			return err
		}
	}
	r.s.appendMu.Lock()
	defer r.s.appendMu.Unlock()
	return tx.SetNextPack(r.s.next)
}

// Close ends the replacement. What was not committed is removed, unless the index may point to it.
func (r *Replacer) Close() error {
	if r.ended {
		return nil
	}
	r.ended = true
	defer r.s.sweep.Unlock()
	if r.w != nil {
		r.done = append(r.done, r.w)
	}
	return r.s.discard(r.done, r.tried)
}

// discard closes packs that were not committed and, unless their transaction may have reached the disk after all, removes them.
func (s *Store) discard(packs []*pack.Writer, tried bool) error {
	var err error
	for _, w := range packs {
		err = errors.Join(err, w.Close())
		if !tried {
			s.files.drop(w.Number())
			err = errors.Join(err, s.env.fs.Remove(s.packPath(w.Number())))
		}
	}
	return err
}
