package vcs

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
)

// BisectStep is where a search for the first bad commit is.
type BisectStep struct {
	Next     oid.ID   // to be tested; zero if there is nothing more to test
	Left     int      // commits that may be the first bad one, the known bad one included
	Suspects []oid.ID // if Next is zero: the first bad commit or, where commits that cannot be tested are in the way, those it is one of; newest first
}

// Steps estimates how many tests are left.
func (s BisectStep) Steps() int {
	if s.Left < 2 {
		return 0
	}
	return bits.Len(uint(s.Left - 1))
}

// Bisect chooses what to test next between a commit that is known to be bad and its ancestors that are known to be good: the commit that halves what is
// left, whichever way its test ends, merges included. Where no good commit is an ancestor of the bad one, that is first the commit at which they parted. Skipped
// commits are not chosen. A bad commit that is an ancestor of a good one is errs.Conflict.
func (r *Repo) Bisect(ctx context.Context, bad oid.ID, good []oid.ID, skipped map[oid.ID]bool) (BisectStep, error) {
	s, err := r.bisect(ctx, bad, good, skipped)
	if err != nil {
		return BisectStep{}, fmt.Errorf("bisect: %w", err)
	}
	return s, nil
}

func (r *Repo) bisect(ctx context.Context, bad oid.ID, good []oid.ID, skipped map[oid.ID]bool) (BisectStep, error) {
	all, err := r.ancestors(ctx, []oid.ID{bad}, nil)
	if err != nil {
		return BisectStep{}, err
	}
	above := map[oid.ID]bool{}
	for _, id := range all {
		above[id] = true
	}
	fine, err := r.ancestors(ctx, good, nil)
	if err != nil {
		return BisectStep{}, err
	}
	known := map[oid.ID]bool{}
	for _, id := range fine {
		known[id] = true
	}
	switch {
	case slices.Contains(good, bad):
		return BisectStep{}, fmt.Errorf("%s is marked good and bad: %w", bad.Short(), errs.Conflict)
	case known[bad]:
		return BisectStep{}, fmt.Errorf("bad %s is an ancestor of a good commit, which may have mended it: mark other ones: %w", bad.Short(), errs.Conflict)
	}
	left, err := r.ancestors(ctx, []oid.ID{bad}, known)
	if err != nil {
		return BisectStep{}, err
	}
	if !slices.ContainsFunc(good, func(id oid.ID) bool { return above[id] }) {
		// The good ones are on other branches: where these left is to be tested first.
		if i := slices.IndexFunc(all, func(id oid.ID) bool { return known[id] }); i >= 0 && !skipped[all[i]] {
			return BisectStep{Next: all[i], Left: len(left)}, nil
		}
	}
	weight, err := r.weights(ctx, left)
	if err != nil {
		return BisectStep{}, err
	}
	step := BisectStep{Left: len(left)}
	best := 0
	for _, id := range left {
		if w := weight[id]; id != bad && !skipped[id] && min(w, len(left)-w) > best {
			best, step.Next = min(w, len(left)-w), id
		}
	}
	if step.Next.IsZero() {
		step.Suspects = left
	}
	return step, nil
}

// ancestors returns the roots and all that can be reached from them without passing a commit of but, children before their parents.
func (r *Repo) ancestors(ctx context.Context, roots []oid.ID, but map[oid.ID]bool) ([]oid.ID, error) {
	type frame struct {
		id   oid.ID
		rest []oid.ID // parents that were not looked at
	}
	seen := map[oid.ID]bool{}
	var out []oid.ID
	for _, root := range roots {
		stack := []frame{}
		push := func(id oid.ID) error {
			if seen[id] || but[id] {
				return nil
			}
			seen[id] = true
			n, err := r.Graph.Node(ctx, id)
			stack = append(stack, frame{id, n.Parents})
			return err
		}
		if err := push(root); err != nil {
			return nil, err
		}
		for len(stack) > 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			top := &stack[len(stack)-1]
			if len(top.rest) == 0 {
				out = append(out, top.id) // after all its ancestors
				stack = stack[:len(stack)-1]
				continue
			}
			p := top.rest[0]
			top.rest = top.rest[1:]
			if err := push(p); err != nil {
				return nil, err
			}
		}
	}
	slices.Reverse(out)
	return out, nil
}

// weights counts, for each commit of a list with children first, those of the list that are it or its ancestors. What is a bad commit's share of
// the blame adds up along a strand; only below a merge is it counted.
func (r *Repo) weights(ctx context.Context, list []oid.ID) (map[oid.ID]int, error) {
	in := make(map[oid.ID][]oid.ID, len(list)) // parents that are in the list
	for _, id := range list {
		in[id] = nil
	}
	for _, id := range list {
		n, err := r.Graph.Node(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, p := range n.Parents {
			if _, ok := in[p]; ok {
				in[id] = append(in[id], p)
			}
		}
	}
	weight := make(map[oid.ID]int, len(list))
	for _, id := range slices.Backward(list) {
		switch parents := in[id]; len(parents) {
		case 0:
			weight[id] = 1
		case 1:
			weight[id] = weight[parents[0]] + 1
		default:
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			weight[id] = reach(in, id)
		}
	}
	return weight, nil
}

// reach counts what can be reached from id.
func reach(in map[oid.ID][]oid.ID, id oid.ID) int {
	seen := map[oid.ID]bool{id: true}
	for stack := []oid.ID{id}; len(stack) > 0; {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, p := range in[top] {
			if !seen[p] {
				seen[p] = true
				stack = append(stack, p)
			}
		}
	}
	return len(seen)
}
