package local

import (
	"context"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/pack"
)

// Has reports whether id is stored. An id that the index cannot be asked for is not, nor is one whose pack was missing at Open or whose record was
// found damaged: putting it again makes it whole.
func (s *Store) Has(id oid.ID) bool {
	info, err := s.lookup(id)
	if err != nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.lost[info.Pack] && !s.damaged[id]
}

// Stat implements objstore.Reader.
func (s *Store) Stat(id oid.ID) (objstore.Info, error) {
	info, err := s.lookup(id)
	if err != nil {
		return info, fmt.Errorf("record %s: %w", id.Short(), err)
	}
	return info, nil
}

// lookup finds id in pending, the cache, or the index.
func (s *Store) lookup(id oid.ID) (objstore.Info, error) {
	if info, ok := s.unindexed(id); ok {
		return info, nil
	}
	info, ok, epoch := s.infos.get(id)
	if ok {
		return info, nil
	}
	if s.ix == nil {
		return info, errs.NotFound
	}
	info, err := s.ix.Get(id)
	if err == nil {
		s.infos.put(info, epoch)
	}
	return info, err
}

// unindexed finds id among what is not in the index yet.
func (s *Store) unindexed(id oid.ID) (objstore.Info, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	info, ok := s.pending[id]
	if !ok {
		info, ok = s.flushing[id]
	}
	return info, ok
}

// Get implements objstore.Reader.
func (s *Store) Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error) {
	info, err := s.Stat(id)
	if err != nil {
		return info, nil, err
	}
	var payload []byte
	info, err = s.read(info, func(r *pack.Reader, at objstore.Info) error {
		payload, err = r.ReadFrame(ctx, at)
		return err
	})
	if errors.Is(err, errs.Corrupt) {
		s.suspect(id)
	}
	return info, payload, err
}

// ReadPayload implements objstore.Reader. It works with an info from before a Collect that moved the record.
func (s *Store) ReadPayload(ctx context.Context, info objstore.Info, p []byte, off int64) error {
	if off < 0 || off > info.Stored || int64(len(p)) > info.Stored-off {
		return fmt.Errorf("read %d bytes at %d of the payload of %s, which has %d: %w", len(p), off, info.ID.Short(), info.Stored, errs.Invalid)
	}
	_, err := s.read(info, func(r *pack.Reader, at objstore.Info) error {
		return r.ReadPayload(ctx, p, at.Offset+off)
	})
	return err
}

// read calls fn with the pack of info, or with that to which the record has moved since. It returns the info that was used.
func (s *Store) read(info objstore.Info, fn func(r *pack.Reader, at objstore.Info) error) (objstore.Info, error) {
	for first := true; ; first = false {
		r, release, err := s.files.acquire(info.Pack)
		if err == nil {
			err = fn(r, info)
			release()
			return info, err
		}
		if !errors.Is(err, errs.NotFound) {
			return info, err
		}
		if now, lerr := s.lookup(info.ID); first && lerr == nil && now.Pack != info.Pack && now.Stored == info.Stored {
			info = now
			continue
		}
		return info, &errs.CorruptError{Where: "pack " + pack.Name(info.Pack), Offset: info.Offset,
			Detail: fmt.Sprintf("the file is missing, and with it %s %s", info.Kind, info.ID.Short())}
	}
}
