package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// round is what one Sync makes durable.
type round struct {
	changes  uint64
	packs    []*pack.Writer
	rows     map[uint64]index.Pack
	newNames bool
	next     uint64
	records  map[oid.ID]objstore.Info
	hints    map[string][]byte
}

// Sync implements objstore.Writer. Calls that wait for one another share its work.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.writable(); err != nil {
		return err
	}
	want := s.changes.Load()
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if want > 0 && s.synced >= want {
		return nil
	}
	return s.sync()
}

// sync does one round. The token is held.
func (s *Store) sync() error {
	r := s.begin()
	if len(r.packs) == 0 && len(r.records) == 0 && len(r.hints) == 0 {
		s.synced = r.changes
		return nil
	}
	if err := s.syncPacks(r); err != nil {
		s.undo(r)
		return s.fail(fmt.Errorf("sync: %w", err))
	}
	s.env.step("packs synced")
	if err := s.commit(r); err != nil {
		s.undo(r)
		return s.writeError(fmt.Errorf("sync: %w", err))
	}
	s.env.step("index committed")
	return s.done(r)
}

// begin takes what is to be made durable. Everything in r.records lies before the sizes in r.rows.
func (s *Store) begin() *round {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	r := &round{changes: s.changes.Load(), rows: map[uint64]index.Pack{}, newNames: s.newNames, next: s.next}
	r.packs = slices.Clone(s.sealed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.active; w != nil && s.rows[w.Number()].Length != w.Size() {
		r.packs = append(r.packs, w)
	}
	for _, w := range r.packs {
		row := s.rows[w.Number()]
		row.Length, row.Frames, row.Salt, row.Sealed = w.Size(), w.Frames(), w.Salt(), slices.Contains(s.sealed, w)
		r.rows[w.Number()] = row
	}
	r.records, s.pending, s.flushing = s.pending, map[oid.ID]objstore.Info{}, s.pending
	r.hints, s.hints, s.hintsOut = s.hints, map[string][]byte{}, s.hints
	return r
}

func (s *Store) syncPacks(r *round) error {
	for _, w := range r.packs {
		if err := w.Sync(); err != nil {
			return err
		}
		if err := linked(w.Linked, s.packPath(w.Number())); err != nil {
			return err
		}
	}
	if r.newNames {
		if err := s.env.fs.SyncDir(s.packDir); err != nil {
			return err
		}
	}
	return linked(s.ix.Linked, s.indexPath())
}

// commit writes the round to the index.
func (s *Store) commit(r *round) error {
	infos := slices.SortedFunc(maps.Values(r.records), byID)
	return s.ix.Update(func(tx *index.Tx) error {
		for _, info := range infos {
			if err := tx.Put(info); err != nil {
				return err
			}
		}
		for n, row := range r.rows {
			if err := tx.PutPack(n, row); err != nil {
				return err
			}
		}
		for _, key := range slices.Sorted(maps.Keys(r.hints)) {
			if err := tx.SetHint([]byte(key), r.hints[key]); err != nil {
				return err
			}
		}
		return tx.SetNextPack(r.next)
	})
}

func byID(a, b objstore.Info) int { return slices.Compare(a.ID[:], b.ID[:]) }

// done publishes a round that is durable.
func (s *Store) done(r *round) error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if r.newNames && s.next == r.next {
		s.newNames = false
	}
	var err error
	for _, w := range r.packs {
		if i := slices.Index(s.sealed, w); i >= 0 && r.rows[w.Number()].Sealed {
			s.sealed = slices.Delete(s.sealed, i, i+1)
			err = errors.Join(err, w.Close())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.rows, r.rows)
	s.flushing, s.hintsOut = nil, nil
	s.synced = r.changes
	return err
}

// undo gives the records of a failed round back. What was set since stays.
func (s *Store) undo(r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(r.records, s.pending)
	maps.Copy(r.hints, s.hints)
	s.pending, s.flushing = r.records, nil
	s.hints, s.hintsOut = r.hints, nil
}

// Hint returns the value last set for key, or nil. Hints are small and best effort: a rebuilt index has lost them.
func (s *Store) Hint(key []byte) []byte {
	s.mu.RLock()
	v, ok := s.hints[string(key)]
	if !ok {
		v, ok = s.hintsOut[string(key)]
	}
	s.mu.RUnlock()
	if ok {
		return slices.Clone(v)
	}
	if s.ix == nil {
		return nil
	}
	return s.ix.Hint(key)
}

// SetHint remembers value for key; it becomes durable with the next Sync. Values longer than index.MaxHint are not kept.
func (s *Store) SetHint(key, value []byte) {
	if s.writable() != nil || len(value) > index.MaxHint {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.hints[string(key)]; !ok && len(s.hints) >= maxPending {
		return // nobody syncs: best effort ends here
	}
	s.hints[string(key)] = slices.Clone(value)
	s.changes.Add(1)
}
