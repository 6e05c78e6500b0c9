package local

import (
	"context"
	"errors"

	"coral/internal/errs"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// mend makes sure that every record that can be decoded from the packs is in the new index so that it can. Where ids have several copies, the last ones of each may not
// fit together: some are of before a replacement and others, whose newer copy is damaged, of after it. Then all are chosen anew, level by level of depth: of each id
// a copy of the least depth whose base was chosen at less. That finds all there are, since a copy can only be decoded over a copy of less depth.
// It reads the packs once for each level, which only a damaged store costs.
func (b *builder) mend(ctx context.Context, packs []uint64) error {
	sound := true
	err := b.batches(ctx, func(batch []objstore.Info) error {
		orphans, err := b.orphans(ctx, batch)
		sound = sound && len(orphans) == 0
		return err
	})
	if err != nil || sound {
		return err
	}
	b.log.Warn("copies of records do not fit together: they are chosen anew", "op", "rebuild index", "path", b.packDir)
	if err := b.clear(ctx); err != nil {
		return err
	}
	for depth := range int(b.deepest) + 1 {
		err := b.eachFrame(ctx, packs, func(info objstore.Info) bool { return int(info.Depth) == depth }, b.choose)
		if err != nil {
			return err
		}
	}
	return b.eachFrame(ctx, packs, func(info objstore.Info) bool { return info.Depth > 0 }, b.leave)
}

// clear takes every record out of the index.
func (b *builder) clear(ctx context.Context) error {
	b.records = 0
	return b.batches(ctx, func(batch []objstore.Info) error {
		return b.ix.Update(func(tx *index.Tx) error {
			for _, info := range batch {
				if err := tx.Delete(info.ID); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// choose adds info if its id has no record yet and it can be decoded.
func (b *builder) choose(ctx context.Context, tx *index.Tx, info objstore.Info) error {
	if _, err := tx.Get(info.ID); !errors.Is(err, errs.NotFound) {
		return err
	}
	if ok, err := b.fits(ctx, info, tx.Get); !ok || err != nil || !b.valid(ctx, info) {
		return err
	}
	b.records++
	return tx.Put(info)
}

// leave reports a frame whose record was not chosen from any copy.
func (b *builder) leave(_ context.Context, tx *index.Tx, info objstore.Info) error {
	if _, err := tx.Get(info.ID); !errors.Is(err, errs.NotFound) {
		return err
	}
	b.records++ // drop takes it off again
	return b.drop(tx, []objstore.Info{info})
}

// eachFrame calls fn, in transactions of bounded size, with the frames of all packs that want is true for. Damage was reported before.
func (b *builder) eachFrame(ctx context.Context, packs []uint64, want func(objstore.Info) bool, fn func(context.Context, *index.Tx, objstore.Info) error) error {
	var batch []objstore.Info
	flush := func() error {
		err := b.ix.Update(func(tx *index.Tx) error {
			for _, info := range batch {
				if err := fn(ctx, tx, info); err != nil {
					return err
				}
			}
			return nil
		})
		batch = batch[:0]
		return err
	}
	for _, n := range packs {
		err := b.entries(ctx, n, func(e pack.Entry) error {
			if info := e.Info(n, e.Offset); !e.Filler() && want(info) {
				batch = append(batch, info)
			}
			if len(batch) < buildBatch {
				return nil
			}
			return flush()
		})
		if err != nil {
			return err
		}
	}
	return flush()
}

// entries calls fn with every frame of pack n that has a header.
func (b *builder) entries(ctx context.Context, n uint64, fn func(pack.Entry) error) error {
	r, err := pack.Open(b.fs, b.packDir, n, nil)
	if errors.Is(err, errs.Corrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := r.Size()
	if err == nil {
		var end int64
		if end, _, err = r.End(size); err == nil {
			err = r.Scan(ctx, pack.FileHeaderSize, end, false, func(e pack.Entry, _ bool) error { return fn(e) }, nil)
		}
	}
	return errors.Join(err, r.Close())
}
