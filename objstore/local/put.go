package local

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/objstore"
	"coral/objstore/pack"
)

// Bounds on what waits for a Sync. Past one of them Put syncs by itself.
const (
	maxPending = 1 << 16 // records, or hints: about 15 MB
	maxSealed  = 4       // sealed packs that are not synced, and their descriptors
)

// Put implements objstore.Writer. The base of rec must have been put before: Put refuses a record that could not be decoded.
func (s *Store) Put(ctx context.Context, rec objstore.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := validate(rec); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	if s.Has(rec.ID) {
		return nil
	}
	if err := s.checkBase(rec); err != nil {
		return err
	}
	if old, err := s.lookup(rec.ID); err == nil && old.Depth < rec.Depth {
		return nil // in the place of a damaged one, it might break the chains above it
	}
	full, err := s.append(ctx, pack.FrameOf(rec), rec.Payload)
	if err != nil {
		return fmt.Errorf("put %s %s: %w", rec.Kind, rec.ID.Short(), err)
	}
	if full {
		// The record is stored whatever comes of this; a failure that matters comes again from the caller's own Sync.
		if err := s.Sync(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("put %s %s: %w", rec.Kind, rec.ID.Short(), err)
		}
	}
	return nil
}

// checkBase wants the base of rec to be stored already, and recovery relies on that order.
func (s *Store) checkBase(rec objstore.Record) error {
	if rec.Base.IsZero() {
		return nil
	}
	base, err := s.lookup(rec.Base)
	if err == nil && !s.Has(rec.Base) {
		err = fmt.Errorf("its pack %s is missing: %w", pack.Name(base.Pack), errs.NotFound)
	}
	if err != nil {
		return fmt.Errorf("put %s %s: its base %s: %w", rec.Kind, rec.ID.Short(), rec.Base.Short(), err)
	}
	if rec.Depth <= base.Depth {
		return fmt.Errorf("put %s %s: depth %d over a base of depth %d: %w", rec.Kind, rec.ID.Short(), rec.Depth, base.Depth, errs.Invalid)
	}
	return nil
}

func validate(rec objstore.Record) error {
	switch {
	case rec.ID.IsZero() || rec.Kind < objstore.Blob || rec.Kind > objstore.Tag:
		return fmt.Errorf("put record %s of kind %d: %w", rec.ID.Short(), rec.Kind, errs.Invalid)
	case len(rec.Payload) > objstore.MaxPayload || rec.RawSize < 0 || rec.RawSize > pack.MaxRaw:
		return fmt.Errorf("put %s %s: payload of %d bytes for %d raw: %w", rec.Kind, rec.ID.Short(), len(rec.Payload), rec.RawSize, errs.TooLarge)
	case rec.Base.IsZero() != (rec.Depth == 0) || rec.Base == rec.ID:
		return fmt.Errorf("put %s %s: depth %d with base %s: %w", rec.Kind, rec.ID.Short(), rec.Depth, rec.Base.Short(), errs.Invalid)
	}
	return nil
}

// append writes one frame to the active pack and makes it visible. full says that it is time to sync.
func (s *Store) append(ctx context.Context, f pack.Frame, payload []byte) (full bool, err error) {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.writable(); err != nil {
		return false, err
	}
	if _, ok := s.unindexed(f.ID); ok && !s.isDamaged(f.ID) {
		return false, nil // another goroutine was faster
	}
	if err := s.openActive(); err != nil {
		return false, s.writeError(err)
	}
	off, err := s.active.Append(f, payload)
	if err != nil {
		return false, s.writeError(err)
	}
	s.mu.Lock()
	s.pending[f.ID] = f.Info(s.active.Number(), off)
	full = len(s.pending) >= maxPending
	s.mu.Unlock()
	s.changes.Add(1)
	if s.isDamaged(f.ID) {
		s.log.Info("a damaged record is stored again", "op", "put", "id", f.ID.Short())
		s.healed(f.ID)
	}
	if s.active.Size() >= s.packSize || s.active.Frames() >= pack.MaxFrames {
		if err := s.sealActive(ctx); err != nil && !errors.Is(err, errs.NoSpace) && ctx.Err() == nil {
			return false, s.fail(err)
		} // a full disk may have room for the directory later: the next Put tries again
	}
	return full || len(s.sealed) >= maxSealed, nil
}

// writeError makes err permanent unless it is only that the disk is full.
func (s *Store) writeError(err error) error {
	if errors.Is(err, errs.NoSpace) {
		return err
	}
	return s.fail(err)
}

// openActive makes sure that there is an active pack with a name. appendMu is held.
func (s *Store) openActive() error {
	if s.active != nil {
		return linked(s.active.Linked, s.packPath(s.active.Number()))
	}
	if r := s.resume; r != nil {
		s.resume = nil
		w, err := pack.Resume(s.env.fs, s.packDir, r.n, r.size, r.frames)
		if err == nil {
			s.active = w
			return nil
		}
		s.log.Warn("a new pack is begun, as the last one cannot be appended to", "op", "put", "path", s.packPath(r.n), "err", err)
	}
	w, err := s.createPack()
	s.active = w
	return err
}

// createPack begins a pack. appendMu is held.
func (s *Store) createPack() (*pack.Writer, error) {
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	w, err := pack.Create(s.env.fs, s.packDir, s.next, binary.LittleEndian.Uint64(salt[:]))
	if err != nil {
		return nil, err
	}
	s.next++
	s.newNames = true
	return w, nil
}

// sealActive ends the active pack. appendMu is held.
func (s *Store) sealActive(ctx context.Context) error {
	if err := s.active.Seal(ctx); err != nil {
		return err
	}
	s.sealed = append(s.sealed, s.active)
	s.active = nil
	return nil
}

// linked returns an error if the open file at path has no name any more: somebody removed the repository.
func linked(fn func() (bool, error), path string) error {
	ok, err := fn()
	if err == nil && !ok {
		err = fmt.Errorf("%s was removed while open: %w", path, errs.NotFound)
	}
	return err
}
