package vcs

import (
	"container/heap"
	"context"
	"time"

	"coral/internal/oid"
	"coral/vcs/object"
)

// Log walks first parents (all parents if all, in time order, newest first, no parent before a child that led to it) from id and
// calls fn until it returns false.
func (r *Repo) Log(ctx context.Context, id oid.ID, all bool, fn func(oid.ID, *object.Commit) bool) error {
	if all {
		return r.eachCommit(ctx, []oid.ID{id}, nil, func(id oid.ID, c *object.Commit) (bool, error) { return fn(id, c), nil })
	}
	for !id.IsZero() {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		if !fn(id, c) || len(c.Parents) == 0 {
			return nil
		}
		id = c.Parents[0]
	}
	return nil
}

// Walk calls fn once for every commit that can be reached from the roots over all parents, newest first and no parent before a child that led to it, until it returns
// false or an error. Zero roots are passed over.
func (r *Repo) Walk(ctx context.Context, roots []oid.ID, fn func(oid.ID, *object.Commit) (bool, error)) error {
	return r.eachCommit(ctx, roots, nil, fn)
}

// eachCommit calls fn once for every commit that can be reached from the roots, newest first, until it returns false or an error. A commit that
// cannot be read is given to bad (nil: ends the walk); zero roots are passed over.
func (r *Repo) eachCommit(ctx context.Context, roots []oid.ID, bad func(oid.ID, error) error, fn func(oid.ID, *object.Commit) (bool, error)) error {
	seen := map[oid.ID]bool{{}: true}
	var q commitQueue
	push := func(id oid.ID) error {
		if seen[id] {
			return nil
		}
		seen[id] = true
		c, err := r.Objects.Commit(ctx, id)
		if err != nil {
			if bad == nil || ctx.Err() != nil {
				return err
			}
			return bad(id, err)
		}
		heap.Push(&q, queued{id, c.Time})
		return nil
	}
	for _, id := range roots {
		if err := push(id); err != nil {
			return err
		}
	}
	for q.Len() > 0 {
		id := heap.Pop(&q).(queued).id
		c, err := r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		if more, err := fn(id, c); err != nil || !more {
			return err
		}
		for _, p := range c.Parents {
			if err := push(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// queued is a commit whose children were seen. It does not hold the commit: a history may be long and its messages large.
type queued struct {
	id   oid.ID
	time time.Time
}

// commitQueue is a heap, newest first; commits of one time in order of their ids, so that a walk is the same each time.
type commitQueue []queued

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q commitQueue) Len() int { return len(q) }
func (q commitQueue) Less(i, j int) bool {
	if !q[i].time.Equal(q[j].time) {
		return q[i].time.After(q[j].time)
	}
	return string(q[i].id[:]) < string(q[j].id[:])
}
func (q commitQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *commitQueue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *commitQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// tips returns every commit that a name points to: branches, tags and HEAD.
func (r *Repo) tips() ([]oid.ID, error) {
	branches, err := r.Refs.Branches()
	if err != nil {
		return nil, err
	}
	tags, err := r.Refs.Tags()
	if err != nil {
		return nil, err
	}
	head, err := r.Refs.Head()
	if err != nil {
		return nil, err
	}
	ids := []oid.ID{head.Commit}
	for _, b := range branches {
		ids = append(ids, b.ID)
	}
	for _, t := range tags {
		ids = append(ids, t.ID)
	}
	return ids, nil
}
