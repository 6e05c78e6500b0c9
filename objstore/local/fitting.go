package local

import (
	"context"
	"errors"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// need is one use of a record by another that must stay deeper: child is decoded with base.
type need struct {
	child objstore.Info // as the index has it
	base  oid.ID
}

// fitting finds which moves keep the invariant: in the store as it is after all of them that fit, every record is deeper than what it is decoded with.
// One that does not fit may take others with it, so it looks until none falls out.
func (r *Replacer) fitting(ctx context.Context) (keep []bool, err error) {
	keep = make([]bool, len(r.moves))
	grows := false
	for i, m := range r.moves {
		now, err := r.s.lookup(m.to.ID)
		if err != nil && !errors.Is(err, errs.NotFound) {
			return nil, err
		}
		keep[i] = err == nil && now == m.from
		grows = grows || keep[i] && m.to.Depth > m.from.Depth
	}
	var needs []need
	if grows {
		if needs, err = r.needs(ctx); err != nil {
			return nil, err
		}
	}
	for changed := true; changed; {
		changed = false
		for i, m := range r.moves {
			if keep[i] && !m.to.Base.IsZero() {
				depth, ok, err := r.depthAfter(m.to.Base, keep)
				if err != nil {
					return nil, err
				}
				if !ok || depth >= m.to.Depth {
					keep[i], changed = false, true
				}
			}
		}
		for _, n := range needs {
			if i, ok := r.at[n.child.ID]; ok && keep[i] {
				continue // it is decoded otherwise then
			}
			if i, ok := r.at[n.base]; ok && keep[i] && r.moves[i].to.Depth >= n.child.Depth {
				keep[i], changed = false, true
			}
		}
	}
	return keep, nil
}

// needs returns every use of a record that would get deeper.
func (r *Replacer) needs(ctx context.Context) (out []need, err error) {
	grows := func(id oid.ID) bool {
		i, ok := r.at[id]
		return ok && r.moves[i].to.Depth > r.moves[i].from.Depth
	}
	err = r.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if info.Depth == 0 {
			return true, nil
		}
		if grows(info.Base) {
			out = append(out, need{info, info.Base})
		}
		if r.refs == nil {
			return true, nil
		}
		more, err := r.refs(info)
		for _, id := range more {
			if id != info.Base && grows(id) {
				out = append(out, need{info, id})
			}
		}
		return true, err
	})
	return out, err
}

// depthAfter returns the depth that a record has after the moves; ok is false if it is not stored.
func (r *Replacer) depthAfter(id oid.ID, keep []bool) (depth uint8, ok bool, err error) {
	if i, moved := r.at[id]; moved && keep[i] {
		return r.moves[i].to.Depth, true, nil
	}
	info, err := r.s.lookup(id)
	if errors.Is(err, errs.NotFound) {
		return 0, false, nil
	}
	return info.Depth, err == nil && r.s.Has(id), err
}
