package vcs

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
)

// rewrite makes the commit id and all before it anew, parents first, and returns what has taken its place.
func (c *compaction) rewrite(ctx context.Context, id oid.ID) (oid.ID, error) {
	old := make(map[oid.ID]bool, len(c.old))
	for _, o := range c.old {
		old[o] = true
	}
	total := len(c.old) + len(c.kept)
	stack := []oid.ID{id}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		if _, done := c.commits[top]; done {
			stack = stack[:len(stack)-1]
			continue
		}
		commit, err := c.r.Objects.Commit(ctx, top)
		if err != nil {
			return oid.ID{}, err
		}
		ready := true
		for _, p := range commit.Parents {
			if _, done := c.commits[p]; !done {
				stack, ready = append(stack, p), false
			}
		}
		if !ready {
			continue
		}
		stack = stack[:len(stack)-1]
		if c.commits[top], err = c.commit(ctx, top, commit, old[top]); err != nil {
			return oid.ID{}, err
		}
		if c.opts.Progress != nil {
			c.opts.Progress(len(c.commits), total, "")
		}
	}
	return c.commits[id], nil
}

// commit makes one commit anew whose parents are done.
func (c *compaction) commit(ctx context.Context, id oid.ID, was *object.Commit, old bool) (oid.ID, error) {
	next := *was
	next.Labels = maps.Clone(was.Labels)
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	moved, changed := false, false
	next.Parents = nil
	for _, p := range was.Parents {
		next.Parents = append(next.Parents, c.commits[p])
		moved = moved || c.commits[p] != p
	}
	switch {
	case !old:
	case was.Labels[LabelLossy] != "":
		c.res.Already++
	default:
		tree, any, err := c.tree(ctx, id, was.Tree, "", 0)
		if err != nil {
			return oid.ID{}, err
		}
		next.Tree, changed = tree, any
	}
	switch {
	case changed:
		c.res.Lossy++
		next.Labels[LabelLossy], next.Labels[LabelLossyOf] = c.res.Method, id.String()
	case moved && was.Labels[LabelLossy] == "":
		next.Labels[LabelMovedOf] = id.String()
	}
	if c.opts.DryRun || !changed && !moved {
		return id, nil
	}
	return c.r.Objects.PutCommit(ctx, &next)
}

// tree approximates the files of a tree; changed reports whether one was, or would be.
func (c *compaction) tree(ctx context.Context, commit, id oid.ID, dir string, depth int) (next oid.ID, changed bool, err error) {
	if depth > maxDepth {
		return id, false, fmt.Errorf("tree %s: %d directories deep: %w", id.Short(), depth, errs.TooLarge)
	}
	t, err := c.r.tree(ctx, id)
	if err != nil {
		return id, false, err
	}
	var made *object.Tree
	for i := range t.Entries {
		e := &t.Entries[i]
		to, p := e.ID, join(dir, e.Name)
		var any bool
		switch {
		case e.Kind == object.Dir:
			to, any, err = c.tree(ctx, commit, e.ID, p, depth+1)
		case e.Kind == object.File && c.opts.includes(p):
			to, any, err = c.file(ctx, commit, e.ID, p)
		}
		if err != nil {
			return id, false, err
		}
		changed = changed || any
		if to != e.ID {
			if made == nil {
				made = &object.Tree{Entries: slices.Clone(t.Entries)}
			}
			made.Entries[i].ID = to
		}
	}
	if made == nil {
		return id, changed, nil
	}
	next, err = c.r.Objects.PutTree(ctx, made)
	return next, changed, err
}

// file approximates one file, once for each content.
func (c *compaction) file(ctx context.Context, commit, manifest oid.ID, p string) (next oid.ID, changed bool, err error) {
	a, done := c.files[manifest]
	if !done {
		if c.opts.Progress != nil {
			c.opts.Progress(len(c.commits), len(c.old)+len(c.kept), p)
		}
		if a, err = c.approx.File(ctx, p, manifest); err != nil {
			return manifest, false, err
		}
		c.report(commit, p, &a)
		a.Tensors, a.Exact = a.Tensors[:min(len(a.Tensors), 1)], nil // what is told is told
		c.files[manifest] = a
	}
	return a.Manifest, len(a.Tensors) > 0, nil
}

// report adds a file to the result.
func (c *compaction) report(commit oid.ID, p string, a *content.Approximated) {
	for i := range a.Tensors {
		t := &a.Tensors[i]
		c.res.Bytes += t.Bytes
		c.res.NewBytes += t.Now
		c.errors.Add(t.Errors)
		if len(c.res.Tensors) == maxCompactRows {
			c.res.Omitted++
			continue
		}
		c.res.Tensors = append(c.res.Tensors, CompactedTensor{
			Commit: commit, Path: p, Tensor: t.Name, DType: t.DType.String(), Shape: t.Shape, Bytes: t.Bytes, Was: t.Was, Now: t.Now,
			MaxAbs: t.Errors.MaxAbs, RelativeL2: t.Errors.RelativeL2(), Cosine: t.Errors.Cosine(),
		})
	}
	for _, e := range a.Exact {
		c.res.Left[e.Why]++
		switch e.Why {
		case content.WhyKind, content.WhyVector, content.WhyState, content.WhyStays:
			continue // as one expects; there are many
		}
		if len(c.res.Exact) == maxCompactRows {
			c.res.Omitted++
			continue
		}
		c.res.Exact = append(c.res.Exact, CompactedExact{Commit: commit, Path: p, Tensor: e.Name, Why: e.Why})
	}
}
