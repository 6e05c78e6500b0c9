package vcs

import (
	"bytes"
	"container/heap"
	"context"
	"slices"
	"time"

	"coral/internal/oid"
)

// What a walk for merge bases knows of a commit.
const (
	fromA = 1 << iota // an ancestor of the first, or it
	fromB             // of the second
	stale             // of a common ancestor
)

// MergeBases returns the best common ancestors of two commits: those that are not ancestors of others. There are several after criss-cross
// merges; the newest comes first. None if the histories have nothing in common. The walk takes commits newest first, as git does (paint_down_to_common), and
// goes no further than needed; clocks that ran backwards cost it time, not its result: candidates are compared with each other in the end.
func (r *Repo) MergeBases(ctx context.Context, a, b oid.ID) ([]oid.ID, error) {
	if a == b {
		return []oid.ID{a}, nil
	}
	w := &baseWalk{r: r, flags: map[oid.ID]uint8{}}
	if err := w.push(ctx, a, fromA); err != nil {
		return nil, err
	}
	if err := w.push(ctx, b, fromB); err != nil {
		return nil, err
	}
	var found []queued
	for w.open > 0 {
		q := w.pop()
		f := w.flags[q.id]
		if f&(fromA|fromB) == fromA|fromB && f&stale == 0 {
			found = append(found, q)
			f |= stale
			w.flags[q.id] = f
		}
		n, err := r.Graph.Node(ctx, q.id)
		if err != nil {
			return nil, err
		}
		for _, p := range n.Parents {
			if err := w.push(ctx, p, f); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(found, func(x, y queued) int {
		if c := y.time.Compare(x.time); c != 0 {
			return c
		}
		return bytes.Compare(x.id[:], y.id[:])
	})
	var ids []oid.ID
	for _, q := range found {
		if !slices.Contains(ids, q.id) {
			ids = append(ids, q.id)
		}
	}
	return r.independent(ctx, ids)
}

// baseWalk is a walk from two commits at once.
type baseWalk struct {
	r     *Repo
	flags map[oid.ID]uint8
	q     commitQueue
	open  int // entries of q that are not stale
	in    map[oid.ID]int
}

// push adds flags to a commit, and has it looked at (again) if that is news.
func (w *baseWalk) push(ctx context.Context, id oid.ID, f uint8) error {
	was, known := w.flags[id]
	if known && was|f == was {
		return nil
	}
	n, err := w.r.Graph.Node(ctx, id)
	if err != nil {
		return err
	}
	if w.in == nil {
		w.in = map[oid.ID]int{}
	}
	w.flags[id] = was | f
	if k := w.in[id]; k > 0 { // it waits in the queue: once is enough
		if was&stale == 0 && f&stale != 0 {
			w.open--
		}
		return nil
	}
	w.in[id] = 1
	heap.Push(&w.q, queued{id, time.Unix(0, n.Time)})
	if w.flags[id]&stale == 0 {
		w.open++
	}
	return nil
}

func (w *baseWalk) pop() queued {
	q := heap.Pop(&w.q).(queued)
	w.in[q.id] = 0
	if w.flags[q.id]&stale == 0 {
		w.open--
	}
	return q
}

// independent leaves out what is an ancestor of another.
func (r *Repo) independent(ctx context.Context, ids []oid.ID) ([]oid.ID, error) {
	if len(ids) < 2 {
		return ids, nil
	}
	var out []oid.ID
	for i, id := range ids {
		redundant := false
		for j, other := range ids {
			if i == j {
				continue
			}
			is, err := r.IsAncestor(ctx, id, other)
			if err != nil {
				return nil, err
			}
			redundant = redundant || is
		}
		if !redundant {
			out = append(out, id)
		}
	}
	return out, nil
}

// IsAncestor reports whether a is b, or an ancestor of it.
func (r *Repo) IsAncestor(ctx context.Context, a, b oid.ID) (bool, error) {
	seen := map[oid.ID]bool{b: true}
	todo := []oid.ID{b}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		if id == a {
			return true, nil
		}
		todo = todo[:len(todo)-1]
		n, err := r.Graph.Node(ctx, id)
		if err != nil {
			return false, err
		}
		for _, p := range n.Parents {
			if !seen[p] {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	return false, nil
}
