package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// recover brings index and packs together after whatever ended the last process. packs are those on disk.
func (s *Store) recover(ctx context.Context, packs []uint64, rebuilt bool) error {
	onDisk := map[uint64]bool{}
	for _, n := range packs {
		onDisk[n] = true
	}
	s.reportMissing(onDisk)
	dead := false
	for i, n := range packs {
		if s.rows[n].Dead {
			dead = true
			continue
		}
		last := i == len(packs)-1
		if err := s.recoverPack(ctx, n, onDisk, rebuilt, last); err != nil {
			return fmt.Errorf("recover pack %s: %w", pack.Name(n), err)
		}
	}
	if s.readOnly {
		if s.ix == nil {
			s.settle()
		}
		return nil
	}
	return s.dropDead(ctx, onDisk, dead)
}

func (s *Store) reportMissing(onDisk map[uint64]bool) {
	for n, row := range s.rows {
		if !onDisk[n] && !row.Dead {
			s.log.Error("a pack is missing", "op", "open", "path", s.packPath(n))
			s.lost[n] = true
		}
	}
}

// tail is what recovery found behind the indexed length of a pack.
type tail struct {
	n      uint64
	salt   uint64
	size   int64 // of the file
	end    int64 // of the frames: the directory if sealed
	sealed bool
	infos  []objstore.Info
	frames int64
	gaps   []gap // neither at the end nor adjacent
	torn   int64 // where a torn end begins, or end
}

type gap struct{ off, length int64 }

// recoverPack indexes what pack n has more than the index knows, and finds out whether it can be appended to.
func (s *Store) recoverPack(ctx context.Context, n uint64, onDisk map[uint64]bool, rebuilt, last bool) error {
	size, err := s.env.fs.Size(s.packPath(n))
	if err != nil {
		return err
	}
	row, known := s.rows[n]
	if size < row.Length {
		s.log.Error("a pack is shorter than the index says", "op", "open", "path", s.packPath(n), "size", size, "indexed", row.Length)
		return nil
	}
	if size > row.Length || !known {
		if row, err = s.recoverTail(ctx, n, size, row, known, onDisk, rebuilt); err != nil {
			return err
		}
	}
	if last && !row.Sealed && row.Length >= pack.FileHeaderSize && row.Length < s.packSize && row.Frames < pack.MaxFrames && !s.readOnly {
		s.resume = &resumable{n: n, size: row.Length, frames: row.Frames}
	}
	return nil
}

func (s *Store) recoverTail(ctx context.Context, n uint64, size int64, row index.Pack, known bool, onDisk map[uint64]bool, rebuilt bool) (index.Pack, error) {
	r, release, err := s.files.acquire(n)
	if errors.Is(err, errs.Corrupt) {
		return row, s.unreadable(n, size, known || rebuilt, err)
	}
	if err != nil {
		return row, err
	}
	if s.readOnly && s.ix == nil && s.overlayDirectory(r, n, size) {
		release()
		return row, nil
	}
	t, err := s.scanTail(ctx, r, n, max(row.Length, pack.FileHeaderSize), size, onDisk)
	headless := !known && r.HeaderDamage() != nil
	release()
	if err != nil {
		return row, err
	}
	s.log.Info("recovered a pack that was not synced", "op", "open", "path", s.packPath(n), "records", len(t.infos),
		"gaps", len(t.gaps), "torn_bytes", t.end-t.torn)
	if s.readOnly {
		s.overlay(t.infos)
		return row, nil
	}
	if headless { // a power cut kept the trailer and lost the first sector
		if err := pack.RestoreHeader(s.env.fs, s.packDir, n, t.salt); err != nil {
			return row, err
		}
		s.files.drop(n)
	}
	if err := s.repair(t); err != nil {
		return row, err
	}
	row.Length, row.Frames, row.Salt, row.Sealed = t.torn, row.Frames+t.frames, t.salt, false
	if t.sealed {
		row.Length, row.Sealed = size, true
	}
	return row, s.indexTail(n, row, t.infos)
}

// scanTail reads pack n from the offset from. A record whose base or source is lost, or not less deep, counts as torn: if it were kept, putting it again would do nothing,
// and nobody could ever decode it. These are always put before what needs them, so they lie further ahead. So does a second copy of a record that
// the index has: it is left of a Replacer or a Collect that was cut short. If it were kept, rebuilding the index would prefer it, and mix records
// of before the replacement with records of after it.
func (s *Store) scanTail(ctx context.Context, r *pack.Reader, n uint64, from, size int64, onDisk map[uint64]bool) (*tail, error) {
	end, sealed, err := r.End(size)
	if err != nil {
		return nil, err
	}
	if end < from { // the trailer is not ours: frames were indexed where its directory claims to be
		end, sealed = size, false
	}
	if sealed { // the trailer may have reached the disk without the directory
		err := r.Directory(size, func(pack.Entry) error { return nil })
		if sealed = err == nil; err != nil && !errors.Is(err, errs.Corrupt) {
			return nil, err
		}
	}
	t := &tail{n: n, salt: r.Salt(), size: size, end: end, sealed: sealed, torn: end}
	here := map[oid.ID]uint8{} // depths
	err = r.Scan(ctx, from, end, true, func(e pack.Entry, intact bool) error {
		whole := intact
		if intact {
			var err error
			if whole, err = s.whole(ctx, r, e, n, here); err != nil {
				return err
			}
		}
		if !whole {
			return t.hole(e.Offset, e.Size())
		}
		if again, err := s.stored(ctx, e.Info(n, e.Offset), onDisk); again || err != nil {
			return errors.Join(err, t.hole(e.Offset, e.Size()))
		}
		t.frames++
		if !e.Filler() {
			here[e.ID] = e.Depth
			t.infos = append(t.infos, e.Info(n, e.Offset))
		}
		return nil
	}, t.hole)
	if k := len(t.gaps) - 1; err == nil && k >= 0 && t.gaps[k].off+t.gaps[k].length == end {
		t.torn, t.gaps = t.gaps[k].off, t.gaps[:k]
	}
	return t, err
}

// whole reports whether all that the record of e needs, base and sources, is based.
func (s *Store) whole(ctx context.Context, r *pack.Reader, e pack.Entry, n uint64, here map[oid.ID]uint8) (bool, error) {
	if e.Base.IsZero() || s.ix == nil {
		return true, nil
	}
	info := e.Info(n, e.Offset)
	sources, err := sourcesOf(s.sources, info, payloadOf(ctx, r, info))
	if err != nil {
		return false, err
	}
	for _, id := range append(sources, e.Base) {
		if !s.based(id, e.Depth, here) {
			return false, nil
		}
	}
	return true, nil
}

// based reports whether id is among the frames here before it or in the index (even if in a pack that is missing: that file may come
// back), at less than a depth: a replacement that was cut short may have left a record whose base was not replaced. Without an index that is for settle.
func (s *Store) based(id oid.ID, than uint8, here map[oid.ID]uint8) bool {
	depth, ok := here[id]
	if !ok {
		base, err := s.lookup(id)
		depth, ok = base.Depth, err == nil
	}
	return ok && depth < than
}

// stored reports whether the index has another copy of the record info, which is whole. Without an index every copy counts: see settle.
func (s *Store) stored(ctx context.Context, info objstore.Info, onDisk map[uint64]bool) (bool, error) {
	if s.ix == nil {
		return false, nil
	}
	old, err := s.lookup(info.ID)
	if err != nil || old == info || !onDisk[old.Pack] {
		return false, nil
	}
	_, err = s.read(old, func(r *pack.Reader, at objstore.Info) error {
		_, err := r.ReadFrame(ctx, at)
		return err
	})
	if err != nil && !errors.Is(err, errs.Corrupt) {
		return false, err
	}
	return err == nil, nil
}

// hole adds torn bytes.
func (t *tail) hole(off, length int64) error {
	if k := len(t.gaps) - 1; k >= 0 && t.gaps[k].off+t.gaps[k].length == off {
		t.gaps[k].length += length
	} else {
		t.gaps = append(t.gaps, gap{off, length})
	}
	return nil
}

// repair makes the file of t what its row will say. Nothing in a tail was acknowledged by a Sync, so torn bytes may go:
// at the end they are cut, in the middle (a power cut may keep later pages and lose earlier ones) they are made filler frames.
func (s *Store) repair(t *tail) error {
	whole := len(t.gaps) == 0 && t.torn == t.end
	t.sealed = t.sealed && whole
	cut := t.size
	if !t.sealed {
		cut = t.torn
	}
	f, err := s.env.fs.OpenFile(s.packPath(t.n), vfs.ReadWrite, 0)
	if err != nil {
		return err
	}
	if cut < t.size {
		s.log.Warn("the torn end of a pack is cut", "op", "open", "path", s.packPath(t.n), "offset", cut, "bytes", t.size-cut)
		err = f.Truncate(cut)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	for _, g := range t.gaps {
		if err == nil && g.length >= pack.HeaderSize {
			s.log.Warn("torn bytes in a pack are made filler", "op", "open", "path", s.packPath(t.n), "offset", g.off, "bytes", g.length)
			err = pack.Fill(s.env.fs, s.packDir, t.n, t.salt, g.off, g.length)
		}
	}
	if err == nil {
		err = s.env.fs.SyncDir(s.packDir)
	}
	s.env.step("pack repaired")
	return err
}

// indexTail adds the records of a recovered tail, in transactions of bounded size, and then the row of the pack.
func (s *Store) indexTail(n uint64, row index.Pack, infos []objstore.Info) error {
	for {
		k := min(len(infos), maxPending)
		part := infos[:k]
		infos = infos[k:]
		err := s.ix.Update(func(tx *index.Tx) error {
			for _, info := range part {
				if err := tx.Put(info); err != nil {
					return err
				}
			}
			if len(infos) > 0 {
				return nil
			}
			return errors.Join(tx.PutPack(n, row), tx.SetNextPack(s.next))
		})
		if err != nil {
			return err
		}
		if len(infos) == 0 {
			break
		}
	}
	s.env.step("tail indexed")
	s.infos.clear()
	s.mu.Lock()
	s.rows[n] = row
	s.mu.Unlock()
	return nil
}

// overlay keeps infos in memory for a read-only store. Of several copies of a record the last one counts, until settle finds that it cannot be.
func (s *Store) overlay(infos []objstore.Info) {
	for _, info := range infos {
		if old, ok := s.pending[info.ID]; ok {
			s.copies = append(s.copies, old)
		}
		s.pending[info.ID] = info
	}
}

// settle chooses among copies of records that overlay found: if the last copies of all do not fit together, since some record is not deeper than its
// base or lacks it, all are chosen anew, shallow ones first (see builder.mend). What is left out then cannot be decoded.
func (s *Store) settle() {
	copies := s.copies
	s.copies = nil
	fits := func(in map[oid.ID]objstore.Info, info objstore.Info) bool {
		base, ok := in[info.Base]
		return info.Base.IsZero() || ok && base.Depth < info.Depth
	}
	sound := true
	for _, info := range s.pending {
		sound = sound && fits(s.pending, info)
	}
	if sound {
		return
	}
	for _, info := range s.pending {
		copies = append(copies, info)
	}
	slices.SortFunc(copies, func(a, b objstore.Info) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(b.Pack, a.Pack), cmp.Compare(b.Offset, a.Offset))
	})
	chosen := make(map[oid.ID]objstore.Info, len(s.pending))
	for _, info := range copies {
		if _, ok := chosen[info.ID]; !ok && fits(chosen, info) {
			chosen[info.ID] = info
		}
	}
	s.pending = chosen
}

// overlayDirectory takes the records of a sealed pack from its directory, without reading the frames.
func (s *Store) overlayDirectory(r *pack.Reader, n uint64, size int64) bool {
	var infos []objstore.Info
	err := r.Directory(size, func(e pack.Entry) error {
		if !e.Filler() {
			infos = append(infos, e.Info(n, e.Offset))
		}
		return nil
	})
	if err == nil {
		s.overlay(infos)
	}
	return err == nil
}

// unreadable deals with a pack whose header is no header. If the index never heard of it, nothing in it was ever
// acknowledged: a process died, or the power went, while it was being made. It is put aside so that its number and bytes are kept.
func (s *Store) unreadable(n uint64, size int64, acknowledged bool, err error) error {
	if acknowledged || s.readOnly {
		s.log.Error("a pack cannot be read", "op", "open", "path", s.packPath(n), "err", err)
		s.lost[n] = true
		return nil
	}
	if size == 0 {
		s.log.Info("an empty pack is removed", "op", "open", "path", s.packPath(n))
		return s.env.fs.Remove(s.packPath(n))
	}
	s.log.Warn("a pack that was never synced is put aside", "op", "open", "path", s.packPath(n), "err", err)
	if err := s.env.fs.Rename(s.packPath(n), s.packPath(n)+".torn"); err != nil {
		return err
	}
	return s.env.fs.SyncDir(s.packDir)
}

// dropDead removes the packs that a Collect had emptied before it died, if nothing points into them, and the rows of those that are gone.
func (s *Store) dropDead(ctx context.Context, onDisk map[uint64]bool, any bool) error {
	used := map[uint64]bool{}
	if any {
		if err := s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
			used[info.Pack] = true
			return true, nil
		}); err != nil {
			return err
		}
	}
	var gone []uint64
	for n, row := range s.rows {
		switch {
		case !row.Dead:
			continue
		case used[n]:
			s.log.Error("a pack was to be removed and is in use: it stays", "op", "open", "path", s.packPath(n))
			continue
		case onDisk[n]:
			s.log.Info("a collected pack is removed", "op", "open", "path", s.packPath(n))
			if err := s.env.fs.Remove(s.packPath(n)); err != nil {
				return err
			}
		}
		gone = append(gone, n)
	}
	return s.forgetPacks(gone)
}

// forgetPacks takes the rows of removed packs out of the index, after their names are durably gone.
func (s *Store) forgetPacks(gone []uint64) error {
	if len(gone) == 0 {
		return nil
	}
	if err := s.env.fs.SyncDir(s.packDir); err != nil {
		return err
	}
	err := s.ix.Update(func(tx *index.Tx) error {
		for _, n := range gone {
			if err := tx.DeletePack(n); err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range gone {
		if err == nil {
			delete(s.rows, n)
		}
	}
	return err
}
