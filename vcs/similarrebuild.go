package vcs

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/content"
)

// rebuildWorkers is how many blobs, each of up to 16 MiB, are in memory while the index is made again.
const rebuildWorkers = 4

// RebuildSimilar makes the index of similar tensors again from what is stored, and returns the number of tensors in it. What is damaged is passed over. Ingest goes on
// meanwhile. errs.Busy while a collection runs.
func (r *Repo) RebuildSimilar(ctx context.Context, progress func(done, total int64, what string)) (int64, error) {
	if err := r.writable("index similar tensors"); err != nil {
		return 0, err
	}
	if !r.checks.TryRLock() {
		return 0, fmt.Errorf("index similar tensors: a collection is running: %w", errs.Busy)
	}
	defer r.checks.RUnlock()
	err := r.Similar.Reset()
	if err == nil {
		err = r.indexAll(ctx, progress)
	}
	if err == nil {
		err = r.Similar.Complete()
	}
	if err != nil {
		return 0, fmt.Errorf("index similar tensors: %w", err)
	}
	return r.Similar.Len(), nil
}

// indexAll adds the extents of the tensors of every manifest that is stored.
func (r *Repo) indexAll(ctx context.Context, progress func(done, total int64, what string)) error {
	var total, done atomic.Int64
	err := r.Packs.ForEach(ctx, objstore.Manifest, func(objstore.Info) error {
		total.Add(1)
		return nil
	})
	if err != nil {
		return err
	}
	seen := map[oid.ID]struct{}{} // 32 bytes a blob
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(rebuildWorkers)
	err = r.Packs.ForEach(gctx, objstore.Manifest, func(info objstore.Info) error {
		progress(done.Add(1), total.Load(), info.ID.Short())
		m, err := r.Objects.Manifest(gctx, info.ID)
		if err != nil {
			return r.passOver(gctx, info.ID, err)
		}
		starts := segmentStarts(m)
		for i := range m.Tensors {
			t := &m.Tensors[i]
			if t.Length < simhash.MinBytes || content.FirstMoment(t.Name) {
				continue
			}
			for _, id := range tensorBlobs(m, starts, t) {
				if _, ok := seen[id]; ok || id.IsZero() {
					continue
				}
				seen[id] = struct{}{}
				dt := t.DType
				group.Go(func() error {
					raw, err := r.Content.BlobBytes(gctx, id)
					if err != nil {
						return r.passOver(gctx, id, err)
					}
					if s, ok := simhash.Make(raw, dt); ok && len(raw) >= simhash.MinBytes {
						r.Similar.Add(id, &s)
					}
					return nil
				})
			}
		}
		return nil
	})
	if gerr := group.Wait(); gerr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = gerr
	}
	return err
}

// passOver logs what is damaged or gone, and goes on.
func (r *Repo) passOver(ctx context.Context, id oid.ID, err error) error {
	if ctx.Err() != nil || !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.NotFound) {
		return err
	}
	r.log.Warn("not indexed", "op", "similar", "id", id, "err", err)
	return nil
}
