package vcs

import (
	"context"
	"fmt"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/local"
	"coral/vcs/ref"
)

// GC drops what no ref, ref-log entry younger than keep, live tree or delta needs. Ingest and snapshots wait meanwhile; reading does not. If anything
// that a ref or live tree needs is missing or damaged, nothing is dropped and the error says what: see Fsck. errs.Busy while a Fsck runs: it
// may take long, and whoever waits for GC keeps snapshots waiting.
func (r *Repo) GC(ctx context.Context, keep time.Duration, full, dryRun bool) (local.CollectResult, error) {
	res, err := r.gc(ctx, keep, full, dryRun)
	if err != nil {
		return res, fmt.Errorf("gc: %w", err)
	}
	return res, nil
}

func (r *Repo) gc(ctx context.Context, keep time.Duration, full, dryRun bool) (local.CollectResult, error) {
	if err := r.writable("collect"); err != nil && !dryRun {
		return local.CollectResult{}, err
	}
	if !r.checks.TryLock() {
		return local.CollectResult{}, fmt.Errorf("a check or another collection is running: %w", errs.Busy)
	}
	defer r.checks.Unlock()
	// First wait for those who make objects reachable, since they may need ingest to finish; then stop ingest.
	release, err := r.exclude(ctx)
	if err != nil {
		return local.CollectResult{}, err
	}
	defer release()
	resume, err := r.Live.Pause(ctx)
	if err != nil {
		return local.CollectResult{}, err
	}
	defer resume()
	m, err := r.markAll(ctx, keep)
	if err != nil {
		return local.CollectResult{}, fmt.Errorf("nothing was dropped, run coral fsck: %w", err)
	}
	live := func(id oid.ID) bool { _, ok := m.seen[id]; return ok }
	res, err := r.Packs.Collect(ctx, live, full, dryRun)
	if !dryRun { // after an error too: part of it may be done
		r.Objects.DropCache()
		r.Content.DropCache()
		r.forgetSimilar(res.Dropped)
	}
	return res, err
}

// forgetSimilar takes what was dropped out of the index of similar tensors. An error is no failure of the collection: who asks the index looks whether blobs are there.
func (r *Repo) forgetSimilar(dropped int64) {
	if dropped == 0 || r.opts.ReadOnly {
		return
	}
	if err := r.Similar.Compact(r.Packs.Has); err != nil {
		r.log.Warn("similar tensors keep what gc dropped", "op", "gc", "repo", r.Dir, "err", err)
	}
}

// markAll marks from every root.
func (r *Repo) markAll(ctx context.Context, keep time.Duration) (*marker, error) {
	m := newMarker(r)
	tips, err := r.tips()
	if err != nil {
		return nil, err
	}
	for _, id := range tips {
		if err := m.mark(ctx, id, objstore.Commit); err != nil {
			return nil, err
		}
	}
	tags, err := r.Refs.Tags()
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if err := m.mark(ctx, t.Tag, objstore.Tag); err != nil {
			return nil, fmt.Errorf("tag %q: %w", t.Name, err)
		}
	}
	err = r.Live.Roots(ctx,
		func(id oid.ID) error { return m.mark(ctx, id, objstore.Manifest) },
		func(id oid.ID) error { return m.mark(ctx, id, objstore.Tree) })
	if err != nil {
		return nil, fmt.Errorf("live trees: %w", err)
	}
	return m, r.markLog(ctx, m, keep)
}

// markLog marks what the ref log still promises. An earlier GC with a shorter keep may have dropped some of it.
func (r *Repo) markLog(ctx context.Context, m *marker, keep time.Duration) error {
	moves, err := r.Refs.Log("", ref.MaxMoves)
	if err != nil || keep <= 0 {
		return err
	}
	m.lenient = true
	oldest := time.Now().Add(-keep)
	for _, v := range moves {
		if v.Time.Before(oldest) {
			continue
		}
		for _, id := range []oid.ID{v.Old, v.New} {
			if err := m.mark(ctx, id, objstore.Commit); err != nil {
				return fmt.Errorf("ref log: %w", err)
			}
		}
		if err := m.mark(ctx, v.TagObject(), objstore.Tag); err != nil { // undo makes an annotated tag again
			return fmt.Errorf("ref log: %w", err)
		}
	}
	return nil
}
