package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore"
)

// lockWait is how long Open waits for another process's lock on the file. Whoever opens a store holds the repository's
// lock already, so this only rides out a process that is just closing.
const lockWait = 2 * time.Second

// Options of Open.
type Options struct {
	ReadOnly bool
	// Bulk leaves out the syncs of single transactions: for an index that is being built and thrown away if that is cut short. Call Flush at the end.
	Bulk bool
}

// DB is an open index. It must be closed.
type DB struct {
	path   string
	db     *bbolt.DB
	file   *os.File
	stale  atomic.Bool           // the mark of a clean index is to be written anew by Close
	unfit  atomic.Bool           // Verify found damage: no mark
	broken atomic.Pointer[error] // the first panic or fault; nothing works after it
}

// Open opens the index at path and verifies it, unless it is large and was closed in good order (cleanSize). A missing file is errs.NotFound, one held by another process errs.Busy, a damaged one errs.Corrupt.
func Open(path string, opts Options) (*DB, error) {
	wasClean, err := precheck(path)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	d, err := openBolt(path, opts)
	if err == nil && !opts.ReadOnly {
		d.stale.Store(!wasClean)
	}
	return d, err
}

// precheck verifies the file at path before bbolt sees it.
func precheck(path string) (wasClean bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, vfs.Class(err)
	}
	fi, err := f.Stat()
	if err == nil {
		if wasClean = clean(path, f, fi.Size()); !wasClean {
			err = verify(f, fi.Size())
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return wasClean, err
}

// Create makes an empty index at path, which must not exist.
func Create(path string, opts Options) (*DB, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("create index %s: %w", path, errs.Exist)
	}
	d, err := openBolt(path, opts)
	if err != nil {
		return nil, err
	}
	if err := d.Update(func(tx *Tx) error { return tx.init() }); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func openBolt(path string, opts Options) (d *DB, err error) {
	d = &DB{path: path}
	defer func() {
		if err != nil {
			d, err = nil, fmt.Errorf("open index %s: %w", path, err)
		}
	}()
	err = d.guard(func() error {
		d.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockWait, ReadOnly: opts.ReadOnly, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
			NoStatistics: true, NoSync: opts.Bulk, PageSize: 4096,
			OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, perm)
				d.file = f
				return f, err
			},
		})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		err = fmt.Errorf("held by another process: %w", errs.Busy)
	}
	return d, vfs.Class(err)
}

// Close closes the index.
func (d *DB) Close() error {
	if d.broken.Load() != nil {
		return nil // bbolt may hold its locks still: leave the file to the end of the process
	}
	return d.guard(func() error {
		if d.stale.Load() && !d.unfit.Load() {
			d.leaveClean()
		}
		return d.db.Close()
	})
}

// guard runs fn and turns a panic, or a fault of the mapping, into an error that is kept.
func (d *DB) guard(fn func() error) (err error) {
	if e := d.broken.Load(); e != nil {
		return *e
	}
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			e := fmt.Errorf("index %s: damaged while open: %v: %w", d.path, r, errs.Corrupt)
			d.broken.CompareAndSwap(nil, &e)
			_ = os.Remove(cleanPath(d.path)) // whoever opens it next reads it through
			err = e
		}
	}()
	return fn()
}

func (d *DB) view(fn func(tx *bbolt.Tx) error) error {
	return d.guard(func() error { return d.db.View(fn) })
}

// wrap names the index in an error from inside it.
func (d *DB) wrap(op string, err error) error {
	if err == nil || errors.Is(err, errs.NotFound) {
		return err
	}
	if strings.Contains(err.Error(), syscall.ENOSPC.Error()) && !errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: %w", err, errs.NoSpace) // bbolt keeps the text and loses the errno when growing the file fails
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = os.ErrClosed
	}
	return fmt.Errorf("%s index: %w", op, vfs.Class(err))
}

// Get returns the record of id, or errs.NotFound.
func (d *DB) Get(id oid.ID) (info objstore.Info, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketRecords).Get(id[:])
		if v == nil {
			return errs.NotFound
		}
		info, _, err = decodeRecord(id[:], v)
		return err
	})
	return info, d.wrap("read", err)
}

// Range appends to dst up to limit records in id order, from the first that is at or after id.
func (d *DB) Range(dst []objstore.Info, from oid.ID, limit int) ([]objstore.Info, error) {
	err := d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		for k, v := c.Seek(from[:]); k != nil && limit > 0; k, v = c.Next() {
			info, _, err := decodeRecord(k, v)
			if err != nil {
				return err
			}
			dst = append(dst, info)
			limit--
		}
		return nil
	})
	return dst, d.wrap("read", err)
}

// Packs returns the row of every pack.
func (d *DB) Packs() (map[uint64]Pack, error) {
	out := map[uint64]Pack{}
	err := d.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketPacks).ForEach(func(k, v []byte) error {
			n, p, _, err := decodePack(k, v)
			out[n] = p
			return err
		})
	})
	return out, d.wrap("read", err)
}

// NextPack returns the number kept by Tx.SetNextPack, or 1.
func (d *DB) NextPack() (n uint64, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		v, _, ok := open(metaNext, tx.Bucket(bucketMeta).Get(metaNext))
		if !ok || len(v) != 8 {
			return bad("number of the next pack")
		}
		n = binary.LittleEndian.Uint64(v)
		return nil
	})
	return n, d.wrap("read", err)
}

// Hint returns a copy of the value set for key, or nil.
func (d *DB) Hint(key []byte) (value []byte) {
	k := hintKey(key)
	err := d.view(func(tx *bbolt.Tx) error {
		if v, _, ok := open(k, tx.Bucket(bucketHints).Get(k)); ok {
			value = append([]byte{}, v...)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return value
}

// Size returns the length of the file.
func (d *DB) Size() int64 {
	fi, err := d.file.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// Linked reports whether the file still has a name.
func (d *DB) Linked() (bool, error) {
	fi, err := d.file.Stat()
	if err != nil {
		return false, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 0, nil
}

// Flush makes durable what Bulk transactions wrote.
func (d *DB) Flush() error { return d.wrap("sync", d.guard(d.db.Sync)) }
