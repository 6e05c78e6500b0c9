package local

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// rangeBatch is how many records are read from the index at a time: no transaction is open while they are used.
const rangeBatch = 512

// each calls fn for every record from the id from on, in id order, until it returns false or an error. No lock and no transaction is held over fn.
func (s *Store) each(ctx context.Context, from oid.ID, fn func(objstore.Info) (bool, error)) error {
	fresh := s.pendingFrom(from)
	var batch []objstore.Info
	for more := s.ix != nil; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more {
			var err error
			if batch, err = s.ix.Range(batch[:0], from, rangeBatch); err != nil {
				return err
			}
			more = len(batch) == rangeBatch
			if more {
				from, more = successor(batch[len(batch)-1].ID)
			}
		} else {
			batch = nil
		}
		// Of fresh, what sorts before the end of the batch; all of it after the last batch.
		k := len(fresh)
		if more {
			k, _ = slices.BinarySearchFunc(fresh, from, func(i objstore.Info, id oid.ID) int { return slices.Compare(i.ID[:], id[:]) })
		}
		if ok, err := merge(fresh[:k], batch, fn); !ok || err != nil {
			return err
		}
		if fresh = fresh[k:]; !more {
			return nil
		}
	}
}

// merge calls fn for the records of both sorted lists in order, once where both have an id.
func merge(fresh, batch []objstore.Info, fn func(objstore.Info) (bool, error)) (bool, error) {
	for len(fresh) > 0 || len(batch) > 0 {
		var info objstore.Info
		switch c := compareHeads(fresh, batch); {
		case c < 0:
			info, fresh = fresh[0], fresh[1:]
		case c > 0:
			info, batch = batch[0], batch[1:]
		default:
			info, fresh, batch = fresh[0], fresh[1:], batch[1:]
		}
		if ok, err := fn(info); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func compareHeads(a, b []objstore.Info) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return byID(a[0], b[0])
}

// successor returns the id after id; ok is false after the last.
func successor(id oid.ID) (next oid.ID, ok bool) {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]++
		if id[i] != 0 {
			return id, true
		}
	}
	return id, false
}

// pendingFrom returns what is not in the index, sorted, from the id from on.
func (s *Store) pendingFrom(from oid.ID) []objstore.Info {
	s.mu.RLock()
	out := make([]objstore.Info, 0, len(s.pending)+len(s.flushing))
	for _, info := range s.pending {
		out = append(out, info)
	}
	for id, info := range s.flushing {
		if _, ok := s.pending[id]; !ok {
			out = append(out, info)
		}
	}
	s.mu.RUnlock()
	out = slices.DeleteFunc(out, func(i objstore.Info) bool { return slices.Compare(i.ID[:], from[:]) < 0 })
	slices.SortFunc(out, byID)
	return out
}

// ForEach calls fn for every record of kind (0: every kind), in id order, until fn returns an error, which it returns. It holds no lock over fn.
// A record put or collected meanwhile may or may not be seen.
func (s *Store) ForEach(ctx context.Context, kind objstore.Kind, fn func(objstore.Info) error) error {
	if s.closed.Load() {
		return fmt.Errorf("store %s: %w", s.dir, fs.ErrClosed)
	}
	return s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if kind != 0 && info.Kind != kind {
			return true, nil
		}
		return true, fn(info)
	})
}

// Prefix returns up to limit ids of the given kind (0: every kind) that begin with the hex digits of prefix (at least 4), in order.
func (s *Store) Prefix(kind objstore.Kind, prefix string, limit int) ([]oid.ID, error) {
	digits := strings.ToLower(prefix)
	if len(digits) < 4 || len(digits) > 2*oid.Size {
		return nil, fmt.Errorf("id prefix %q: want 4 to %d hex digits: %w", prefix, 2*oid.Size, errs.Invalid)
	}
	raw, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2))
	if err != nil {
		return nil, fmt.Errorf("id prefix %q: not hex: %w", prefix, errs.Invalid)
	}
	var from oid.ID
	copy(from[:], raw)
	var out []oid.ID
	err = s.each(context.Background(), from, func(info objstore.Info) (bool, error) {
		if len(out) >= limit || !strings.HasPrefix(info.ID.String(), digits) {
			return false, nil
		}
		if kind == 0 || info.Kind == kind {
			out = append(out, info.ID)
		}
		return len(out) < limit, nil
	})
	return out, err
}
