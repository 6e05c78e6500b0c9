package ref

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"coral/internal/errs"
)

// FileName is the store's file in the repository's directory.
const FileName = "refs.db"

// DefaultBranch is the branch of a new repository.
const DefaultBranch = "main"

// lockTimeout is how long Open waits for another process that has the file open.
const lockTimeout = 3 * time.Second

// Store is the open set of names.
type Store struct {
	db       *bbolt.DB
	readOnly bool
	now      func() time.Time
	maxMoves uint64
	gen      atomic.Uint64

	mu       sync.Mutex
	onChange []func()

	file   *os.File              // of db
	broken atomic.Pointer[error] // set once a damaged page was met: bbolt's locks may be held for ever
}

// Open opens refs.db in dir, creating it with HEAD at branch "main" (which exists and has no commit) unless readOnly.
// A file that another process has open for writing is errs.Busy, one that is not a whole database errs.Corrupt.
func Open(dir string, readOnly bool) (*Store, error) {
	path := filepath.Join(dir, FileName)
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && readOnly:
		return nil, fmt.Errorf("open %s: %w", path, errs.NotFound)
	case errors.Is(err, fs.ErrNotExist):
		if err := create(dir, path); err != nil {
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s, err := open(path, readOnly)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

// options for every open. The free list is kept in the file: without it each open would read all pages, in a
// goroutine of bbolt's whose panic at a damaged one could not be recovered from.
func options(readOnly bool) *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, ReadOnly: readOnly, FreelistType: bbolt.FreelistMapType}
}

// create makes the file under another name and renames it when it is whole and durable.
func create(dir, path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(tmp, 0o644, options(false))
	if err != nil {
		return err
	}
	err = db.Update(initialise)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func initialise(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketBranches, bucketTags, bucketLog} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyFormat, []byte{fileFormat}); err != nil {
		return err
	}
	if err := meta.Put(keyHead, encodeHead(Head{Branch: DefaultBranch})); err != nil {
		return err
	}
	return tx.Bucket(bucketBranches).Put([]byte(DefaultBranch), encodeBranch(Ref{}))
}

func open(path string, readOnly bool) (*Store, error) {
	s := &Store{readOnly: readOnly, now: time.Now, maxMoves: MaxMoves}
	err := s.guard(func() (err error) {
		o := options(readOnly)
		o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			f, err = os.OpenFile(name, flag, mode)
			s.file = f
			return f, err
		}
		s.db, err = bbolt.Open(path, 0o644, o)
		var errno syscall.Errno
		if err != nil && !errors.As(err, &errno) && !errors.Is(err, berrors.ErrTimeout) {
			return corrupt("file", err.Error()) // "file size too small" and its like
		}
		return err
	})
	if err == nil {
		err = s.view(func(tx *bbolt.Tx) error { return checkFile(tx, path) })
	}
	if err != nil {
		_ = s.Close() // what is wrong with the file says more
		return nil, err
	}
	return s, nil
}

// checkFile refuses a file that is cut short, of another format, or without a bucket.
func checkFile(tx *bbolt.Tx, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return corrupt("file", fmt.Sprintf("%d bytes, its pages need %d", info.Size(), tx.Size()))
	}
	for _, name := range [][]byte{bucketMeta, bucketBranches, bucketTags, bucketLog} {
		if tx.Bucket(name) == nil {
			return corrupt("bucket "+string(name), "missing")
		}
	}
	v := tx.Bucket(bucketMeta).Get(keyFormat)
	if len(v) != 1 {
		return corrupt("format", fmt.Sprintf("value of %d bytes", len(v)))
	}
	if v[0] != fileFormat {
		return fmt.Errorf("format %d, this coral knows format %d, use a newer one: %w", v[0], fileFormat, errs.Unsupported)
	}
	return nil
}

// Close closes the store. Closing twice is harmless.
func (s *Store) Close() error {
	if s.broken.Load() != nil || s.db == nil {
		if s.file != nil { // bbolt could wait for ever; its mapping, which stays, would keep the lock
			_ = syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN)
			_ = s.file.Close()
		}
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close refs.db: %w", err)
	}
	return nil
}

// Generation changes whenever a ref does; cheap.
func (s *Store) Generation() uint64 { return s.gen.Load() }

// OnChange makes every later change call fn, after it is durable and with no lock held. fn must not block.
func (s *Store) OnChange(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = append(s.onChange, fn)
}

func (s *Store) changed() {
	s.mu.Lock()
	fns := s.onChange[:len(s.onChange):len(s.onChange)]
	s.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

// view runs fn in a read transaction.
func (s *Store) view(fn func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(fn) })
}

// update runs fn in a write transaction and syncs it.
func (s *Store) update(fn func(*bbolt.Tx) error) error {
	if s.readOnly {
		return fmt.Errorf("refs.db: %w", errs.ReadOnly)
	}
	err := s.guard(func() error { return s.db.Update(fn) })
	if err == nil {
		s.gen.Add(1)
		s.changed()
	}
	return err
}

// guard gives errors their class. A damaged page makes bbolt panic, and a page past the end of the file faults: both
// become errs.Corrupt here, and the answer to every later call.
func (s *Store) guard(fn func() error) (err error) {
	if p := s.broken.Load(); p != nil {
		return *p
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = corrupt("page", fmt.Sprint(p))
			s.broken.Store(&err)
		}
	}()
	err = fn()
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("another process has it open: %w", errs.Busy)
	}
	return err
}
