package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"coral/internal/errs"
	"coral/internal/vfs"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// Open opens the store in dir (which holds packs/ and index.db), creating it if it is empty. It recovers: frames that a killed process
// appended and did not index are indexed, a torn tail is cut, an index that is missing or unreadable is rebuilt from the packs.
// Read-only, it does the same in memory.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	return openStore(ctx, dir, opts, env{})
}

func openStore(ctx context.Context, dir string, opts Options, e env) (*Store, error) {
	s := newStore(dir, opts, e)
	if err := s.open(ctx); err != nil {
		if s.ix != nil {
			err = errors.Join(err, s.files.close(), s.ix.Close())
		}
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.openDir(); err != nil {
		return err
	}
	packs, err := listPacks(s.env.fs, s.packDir, s.readOnly)
	if err != nil {
		return err
	}
	rebuilt, err := s.openIndex(ctx)
	if err != nil {
		return err
	}
	if s.ix != nil {
		if s.rows, err = s.ix.Packs(); err != nil {
			return err
		}
		if s.next, err = s.ix.NextPack(); err != nil {
			return err
		}
		s.loadDamaged()
	}
	for _, n := range slices.Concat(packs, slices.Collect(maps.Keys(s.rows))) {
		s.next = max(s.next, n+1)
	}
	return s.recover(ctx, packs, rebuilt)
}

// openDir makes packs/ if it may.
func (s *Store) openDir() error {
	if _, err := s.env.fs.ReadDir(s.packDir); err == nil || s.readOnly || !errors.Is(err, errs.NotFound) {
		if s.readOnly && errors.Is(err, errs.NotFound) {
			_, err = s.env.fs.ReadDir(s.dir)
		}
		return err
	}
	if err := s.env.fs.MkdirAll(s.packDir, 0o700); err != nil {
		return err
	}
	return s.env.fs.SyncDir(s.dir)
}

// listPacks returns the numbers of the packs in dir, in order.
func listPacks(fs vfs.FS, dir string, mayMiss bool) ([]uint64, error) {
	names, err := fs.ReadDir(dir)
	if mayMiss && errors.Is(err, errs.NotFound) {
		return nil, nil
	}
	var out []uint64
	for _, name := range names {
		if n, ok := pack.ParseName(name); ok {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, err
}

// openIndex opens the index, or replaces one that is missing or damaged. A read-only store does without.
func (s *Store) openIndex(ctx context.Context) (rebuilt bool, err error) {
	s.ix, err = index.Open(s.indexPath(), index.Options{ReadOnly: s.readOnly})
	missing, damaged := errors.Is(err, errs.NotFound), errors.Is(err, errs.Corrupt)
	switch {
	case err == nil || !missing && !damaged:
		return false, err
	case s.readOnly:
		s.log.Warn("the packs are read in place of the index", "op", "open", "path", s.indexPath(), "err", err)
		return true, nil
	case damaged:
		aside := s.indexPath() + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
		s.log.Error("index is damaged: it is moved aside and rebuilt from the packs", "op", "open", "path", s.indexPath(), "err", err, "aside", aside)
		if err := os.Rename(s.indexPath(), aside); err != nil {
			return false, vfs.Class(err)
		}
	}
	b := builder{fs: s.env.fs, packDir: s.packDir, log: s.log, sources: s.sources}
	if _, err := b.build(ctx, s.indexPath()); err != nil {
		return false, err
	}
	s.env.step("index rebuilt")
	s.ix, err = index.Open(s.indexPath(), index.Options{})
	return true, err
}

// RebuildIndex replaces the index of the closed store in dir by one made from its packs alone, every frame of which it
// verifies. Where an id was stored twice, the last valid copy wins. records counts what the new index holds.
func RebuildIndex(ctx context.Context, dir string, opts Options) (records int64, damage []Damage, err error) {
	return rebuildIndex(ctx, dir, opts, env{})
}

func rebuildIndex(ctx context.Context, dir string, opts Options, e env) (records int64, damage []Damage, err error) {
	s := newStore(dir, opts, e)
	if err := s.writable(); err != nil {
		return 0, nil, fmt.Errorf("rebuild index: %w", err)
	}
	unlock, err := lockFile(s.indexPath())
	if err != nil {
		return 0, nil, fmt.Errorf("rebuild index: %w", err)
	}
	defer unlock()
	b := builder{fs: s.env.fs, packDir: s.packDir, log: s.log, sources: s.sources, verify: true, damage: func(d Damage) { damage = append(damage, d) }}
	records, err = b.build(ctx, filepath.Join(dir, "index.db"))
	if err != nil {
		err = fmt.Errorf("rebuild index of %s: %w", dir, err)
	}
	return records, damage, err
}

// lockFile takes bbolt's lock on the index at path, if there is one, so that nobody's open index is replaced.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, vfs.Class(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is held by another process: %w", path, errs.Busy), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
