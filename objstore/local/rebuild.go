package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// buildBatch is how many records go into the new index at a time.
const buildBatch = 1 << 14

// builder makes an index from packs alone. It writes index.db.new and renames it over, so a crash leaves what was there.
type builder struct {
	fs      vfs.FS
	packDir string
	log     *slog.Logger
	sources SourcesFunc
	verify  bool         // read every payload; else trust the directories of sealed packs
	damage  func(Damage) // may be nil

	ix      *index.DB
	batch   []objstore.Info
	records int64
	next    uint64
	twice   bool // some id has several copies
	deepest uint8
}

func (b *builder) build(ctx context.Context, path string) (records int64, err error) {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, vfs.Class(err)
	}
	packs, err := listPacks(b.fs, b.packDir, true)
	if err != nil {
		return 0, err
	}
	if b.ix, err = index.Create(tmp, index.Options{Bulk: true}); err != nil {
		return 0, err
	}
	err = b.fill(ctx, packs)
	if err == nil {
		err = b.ix.Flush()
	}
	if cerr := b.ix.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, vfs.Class(err)
	}
	return b.records, vfs.OS{}.SyncDir(filepath.Dir(path))
}

func (b *builder) fill(ctx context.Context, packs []uint64) error {
	b.next = 1
	for _, n := range packs {
		b.next = max(b.next, n+1)
		if err := b.pack(ctx, n); err != nil {
			return err
		}
	}
	if err := b.flush(ctx, nil); err != nil {
		return err
	}
	if b.twice {
		if err := b.mend(ctx, packs); err != nil {
			return err
		}
	}
	for again := true; again; {
		var err error
		if again, err = b.prune(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prune takes out the records whose base, or a source, is in no pack, one link of a chain at a time: nobody can decode them, and while the index
// has them, storing the same bytes again would do nothing. It reports whether there were any.
func (b *builder) prune(ctx context.Context) (found bool, err error) {
	err = b.batches(ctx, func(batch []objstore.Info) error {
		orphans, err := b.orphans(ctx, batch)
		if err != nil || len(orphans) == 0 {
			return err
		}
		found = true
		return b.ix.Update(func(tx *index.Tx) error { return b.drop(tx, orphans) })
	})
	return found, err
}

// batches calls fn with every record of the index, some at a time.
func (b *builder) batches(ctx context.Context, fn func([]objstore.Info) error) (err error) {
	var batch []objstore.Info
	for from, more := (oid.ID{}), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if batch, err = b.ix.Range(batch[:0], from, rangeBatch); err != nil {
			return err
		}
		if more = len(batch) == rangeBatch; more {
			from, more = successor(batch[len(batch)-1].ID)
		}
		if err := fn(batch); err != nil {
			return err
		}
	}
	return nil
}

// orphans returns those of batch of which the index lacks the base or a source, or has it at no less depth.
func (b *builder) orphans(ctx context.Context, batch []objstore.Info) (out []objstore.Info, err error) {
	for _, info := range batch {
		ok, err := b.fits(ctx, info, b.ix.Get)
		if err != nil {
			return nil, err
		}
		if !ok {
			out = append(out, info)
		}
	}
	return out, nil
}

// fits reports whether everything that info needs is there, by get, at less depth.
func (b *builder) fits(ctx context.Context, info objstore.Info, get func(oid.ID) (objstore.Info, error)) (bool, error) {
	needs, err := b.needs(ctx, info)
	if err != nil {
		return false, err
	}
	for _, id := range needs {
		need, err := get(id)
		if err != nil && !errors.Is(err, errs.NotFound) {
			return false, err
		}
		if err != nil || need.Depth >= info.Depth {
			return false, nil
		}
	}
	return true, nil
}

// needs returns base and sources of info; only for the latter its payload is looked at.
func (b *builder) needs(ctx context.Context, info objstore.Info) (ids []oid.ID, err error) {
	if info.Base.IsZero() {
		return nil, nil
	}
	var r *pack.Reader
	ids, err = sourcesOf(b.sources, info, func(p []byte, off int64) error {
		if r == nil {
			if r, err = pack.Open(b.fs, b.packDir, info.Pack, nil); err != nil {
				return err
			}
		}
		return payloadOf(ctx, r, info)(p, off)
	})
	if r != nil {
		err = errors.Join(err, r.Close())
	}
	return append(ids, info.Base), err
}

// drop removes orphans and marks their packs as having frames that the index leaves out.
func (b *builder) drop(tx *index.Tx, orphans []objstore.Info) error {
	for _, info := range orphans {
		b.found(info.Pack, pack.Frame{ID: info.ID}, info.Offset-pack.HeaderSize, "its base %s, or a source, is in no pack at less depth", info.Base.Short())
		b.records--
		row, _, err := tx.Pack(info.Pack)
		if err != nil {
			return err
		}
		row.Loose = true
		if err := errors.Join(tx.Delete(info.ID), tx.PutPack(info.Pack, row)); err != nil {
			return err
		}
	}
	return nil
}

// found reports damage and goes on.
func (b *builder) found(n uint64, f pack.Frame, off int64, format string, args ...any) {
	d := Damage{Pack: pack.Name(n), Offset: off, ID: f.ID, Detail: fmt.Sprintf(format, args...)}
	b.log.Error("pack is damaged", "op", "rebuild index", "path", filepath.Join(b.packDir, d.Pack), "offset", off, "id", f.ID.Short(), "err", d.Detail)
	if b.damage != nil {
		b.damage(d)
	}
}

// pack indexes pack n.
func (b *builder) pack(ctx context.Context, n uint64) error {
	r, err := pack.Open(b.fs, b.packDir, n, nil)
	if errors.Is(err, errs.Corrupt) {
		b.found(n, pack.Frame{}, 0, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	err = b.frames(ctx, n, r)
	return errors.Join(err, r.Close())
}

func (b *builder) frames(ctx context.Context, n uint64, r *pack.Reader) error {
	size, err := r.Size()
	if err != nil {
		return err
	}
	if herr := r.HeaderDamage(); herr != nil {
		b.found(n, pack.Frame{}, 0, "%v", herr)
	}
	end, sealed, err := r.End(size)
	if err != nil {
		return err
	}
	row := index.Pack{Length: size, Salt: r.Salt(), Sealed: sealed}
	add := func(e pack.Entry) error {
		row.Frames++
		if e.Filler() {
			return nil
		}
		b.batch = append(b.batch, e.Info(n, e.Offset))
		if len(b.batch) < buildBatch {
			return nil
		}
		return b.flush(ctx, nil)
	}
	if sealed && !b.verify {
		if err = r.Directory(size, add); err == nil {
			return b.flush(ctx, func(tx *index.Tx) error { return tx.PutPack(n, row) })
		}
		b.found(n, pack.Frame{}, end, "%v", err)
		row.Frames = 0
	}
	err = r.Scan(ctx, pack.FileHeaderSize, end, true, func(e pack.Entry, intact bool) error {
		if !intact {
			b.found(n, e.Frame, e.Offset, "payload checksum is wrong")
		}
		return add(e)
	}, func(off, length int64) error {
		b.found(n, pack.Frame{}, off, "%d bytes are no frame", length)
		return nil
	})
	if err != nil {
		return err
	}
	return b.flush(ctx, func(tx *index.Tx) error { return tx.PutPack(n, row) })
}

// flush writes the batch, and what more does, to the index.
func (b *builder) flush(ctx context.Context, more func(tx *index.Tx) error) error {
	slices.SortStableFunc(b.batch, byID)
	err := b.ix.Update(func(tx *index.Tx) error {
		for _, info := range b.batch {
			if err := b.put(ctx, tx, info); err != nil {
				return err
			}
		}
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		return tx.SetNextPack(b.next)
	})
	b.batch = b.batch[:0]
	return err
}

// put adds info. Of several copies the last one that is valid wins: it is the one the index had. An older one may be what a Collect dropped
// before the id was stored again, or what a Replacer replaced, perhaps on another base, and mixing the two could close a circle of bases: see mend.
func (b *builder) put(ctx context.Context, tx *index.Tx, info objstore.Info) error {
	b.deepest = max(b.deepest, info.Depth)
	_, err := tx.Get(info.ID)
	if errors.Is(err, errs.NotFound) {
		b.records++
		return tx.Put(info)
	}
	if b.twice = true; err != nil || !b.valid(ctx, info) {
		return err
	}
	return tx.Put(info)
}

// valid reads the frame of info.
func (b *builder) valid(ctx context.Context, info objstore.Info) bool {
	r, err := pack.Open(b.fs, b.packDir, info.Pack, nil)
	if err != nil {
		return false
	}
	_, err = r.ReadFrame(ctx, info)
	return errors.Join(err, r.Close()) == nil
}
