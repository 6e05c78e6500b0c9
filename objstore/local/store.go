package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// DefaultPackSize is the size past which a pack is sealed.
const DefaultPackSize = 256 << 20

// Options of Open.
type Options struct {
	ReadOnly bool         // no file is created or changed
	PackSize int64        // a pack is sealed when it has grown past this; 0 means 256 MiB
	Logger   *slog.Logger // nil: silent
	Sources  SourcesFunc  // nil: no record needs more than its base
}

// env is what tests put in the place of the world.
type env struct {
	fs   vfs.FS            // of the packs; the index is bbolt's and always on the real file system
	step func(name string) // called at points where a crash would be interesting
}

// Store is an open store. It must be closed. Every method may be called from any number of goroutines.
type Store struct {
	dir      string // holds packs/ and index.db
	packDir  string
	packSize int64
	readOnly bool
	log      *slog.Logger
	sources  SourcesFunc
	env      env

	ix    *index.DB // nil only in a read-only store whose index is missing or damaged: everything is in pending then
	files *files
	infos infos

	sweep   sync.RWMutex  // only ever tried: Collect excludes Check and Collect
	syncing chan struct{} // token of one Sync, Collect or Close
	synced  uint64        // the value of changes at the last Sync; owner of the token
	changes atomic.Uint64 // Puts and SetHints so far

	appendMu sync.Mutex
	active   *pack.Writer   // nil until something is put
	resume   *resumable     // a pack to go on with instead of a new one
	sealed   []*pack.Writer // sealed and not yet synced
	next     uint64         // number of the next pack
	newNames bool           // packs/ has names that are not durable

	mu       sync.RWMutex
	pending  map[oid.ID]objstore.Info // put, not in the index
	flushing map[oid.ID]objstore.Info // being written to the index
	hints    map[string][]byte
	hintsOut map[string][]byte // being written to the index
	copies   []objstore.Info   // of records in pending, while a read-only store without index is opened
	rows     map[uint64]index.Pack
	damaged  map[oid.ID]bool // records found damaged: see heal.go
	lost     map[uint64]bool // packs of the index that were not there, or not readable, at Open

	failed atomic.Pointer[error]
	closed atomic.Bool
}

// resumable is a pack that is not sealed.
type resumable struct {
	n            uint64
	size, frames int64
}

var (
	_ objstore.Reader = (*Store)(nil)
	_ objstore.Writer = (*Store)(nil)
)

func newStore(dir string, opts Options, e env) *Store {
	s := &Store{dir: dir, packDir: filepath.Join(dir, "packs"), packSize: opts.PackSize, readOnly: opts.ReadOnly, log: opts.Logger, sources: opts.Sources, env: e,
		syncing: make(chan struct{}, 1), next: 1, pending: map[oid.ID]objstore.Info{}, hints: map[string][]byte{}, rows: map[uint64]index.Pack{}, lost: map[uint64]bool{}, damaged: map[oid.ID]bool{}}
	if s.packSize <= 0 {
		s.packSize = DefaultPackSize
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.env.fs == nil {
		s.env.fs = vfs.OS{}
	}
	if s.env.step == nil {
		s.env.step = func(string) {}
	}
	s.files = newFiles(s.env.fs, s.packDir, s.salt)
	return s
}

func (s *Store) indexPath() string { return filepath.Join(s.dir, "index.db") }

func (s *Store) packPath(n uint64) string { return filepath.Join(s.packDir, pack.Name(n)) }

// salt returns the index's copy of the salt of pack n, or nil.
func (s *Store) salt(n uint64) *uint64 {
	if row, ok := s.row(n); ok {
		return &row.Salt
	}
	return nil
}

// row returns the index's row of pack n.
func (s *Store) row(n uint64) (index.Pack, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	row, ok := s.rows[n]
	return row, ok
}

// lock takes the token.
func (s *Store) lock(ctx context.Context) error {
	select {
	case s.syncing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.syncing }

// fail remembers the first error after which the disk's state is unknown, and returns it.
func (s *Store) fail(err error) error {
	if s.failed.CompareAndSwap(nil, &err) {
		s.log.Error("store refuses writes from now on", "op", "write", "path", s.dir, "err", err)
	}
	return *s.failed.Load()
}

// writable returns why the store cannot be written, or nil.
func (s *Store) writable() error {
	if s.closed.Load() {
		return fmt.Errorf("store %s: %w", s.dir, fs.ErrClosed)
	}
	if s.readOnly {
		return fmt.Errorf("store %s: opened %w", s.dir, errs.ReadOnly)
	}
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close syncs and closes the store.
func (s *Store) Close() error {
	if s.closed.Load() {
		return nil
	}
	var err error
	if !s.readOnly {
		err = s.Sync(context.Background())
	}
	if lerr := s.lock(context.Background()); lerr != nil {
		return lerr
	}
	defer s.unlock()
	if s.closed.Swap(true) {
		return err
	}
	return errors.Join(err, s.release())
}

// release closes what is open.
func (s *Store) release() error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	err := s.files.close()
	for _, w := range append(s.sealed, s.active) {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}
	s.sealed, s.active = nil, nil
	if s.ix != nil {
		err = errors.Join(err, s.ix.Close())
	}
	return err
}
