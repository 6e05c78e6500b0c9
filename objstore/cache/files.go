// Package cache keeps whole, reconstructed files on disk under a quota, so that a mount can hand them to the kernel.
//
// A file is named by an id its owner chooses (a manifest id) and never changes. Everything here may be deleted at any
// time: an entry that is gone is a miss. Eviction is by unlink, least recently used first, so descriptors that are open
// keep working. Nothing is synced: what a power cut may have torn is dropped, all of it, by the first Open after a
// reboot; what a killed process left half-written is recognised by its name. A directory belongs to one Files at a time.
//
// One mutex guards the table; it is never held over a fill or another file operation that waits for data.
package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
)

// DefaultQuota is used when Open is given none.
const DefaultQuota = 10 << 30

// tmpSuffix ends the names of files being filled.
const tmpSuffix = ".tmp"

// Files is an open cache. It must be closed. Safe for concurrent use.
type Files struct {
	dir   string
	quota int64

	mu       sync.Mutex
	entries  map[oid.ID]*list.Element // of *entry
	lru      *list.List               // front is the most recently used
	used     int64                    // bytes of entries
	reserved int64                    // bytes of fills in progress
	fills    map[oid.ID]*fill
	closed   bool
}

type entry struct {
	id   oid.ID
	size int64
}

// fill is one fill in progress; others who want the file wait for done.
type fill struct {
	done chan struct{}
	err  error // valid when done is closed
}

// Open opens the cache in dir, which it makes, and drops what cannot be trusted: half-written files always, every
// file if the machine was booted since. A quota of 0 means DefaultQuota.
func Open(dir string, quota int64) (*Files, error) {
	if quota <= 0 {
		quota = DefaultQuota
	}
	c := &Files{dir: dir, quota: quota, entries: map[oid.ID]*list.Element{}, lru: list.New(), fills: map[oid.ID]*fill{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open file cache: %w", err)
	}
	trusted, err := checkBoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open file cache: %w", err)
	}
	if err := c.load(trusted); err != nil {
		return nil, fmt.Errorf("open file cache: %w", err)
	}
	c.mu.Lock()
	victims := c.evict(0)
	c.mu.Unlock()
	c.unlink(victims)
	return c, nil
}

// Close ends the use of the cache. Files stay; descriptors stay open. Fills in progress end as they would.
func (c *Files) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// touchAfter is how old a file's time of use may be: writing it takes as long as the rest of an open.
const touchAfter = time.Minute

// Open returns the file called id, opened read-only, and marks it used. The caller closes it.
func (c *Files) Open(id oid.ID) (*os.File, bool) {
	c.mu.Lock()
	el := c.entries[id]
	if el == nil || c.closed {
		c.mu.Unlock()
		return nil, false
	}
	c.lru.MoveToFront(el)
	size := el.Value.(*entry).size
	c.mu.Unlock()

	f, err := os.Open(c.path(id))
	if err != nil { // evicted meanwhile, or somebody emptied the directory
		c.forget(id, el)
		return nil, false
	}
	st, err := f.Stat()
	if err != nil || st.Size() != size {
		f.Close()
		c.forget(id, el)
		os.Remove(c.path(id))
		return nil, false
	}
	if now := time.Now(); now.Sub(st.ModTime()) > touchAfter {
		os.Chtimes(c.path(id), now, now) // keeps the order over a restart; losing it costs a worse choice later
	}
	return f, true
}

// Has reports whether the file called id is here.
func (c *Files) Has(id oid.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[id] != nil
}

// Fill makes sure that the file called id is in the cache: unless it is, fn writes its size bytes to an empty file. At
// a time one fn runs for an id; other callers wait for it, or for ctx. errs.NoSpace if the file does not fit the quota or
// the disk would be left with too little. When Fill returns nil the file was there, and an Open that soon follows finds it.
func (c *Files) Fill(ctx context.Context, id oid.ID, size int64, fn func(*os.File) error) error {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return fmt.Errorf("cache file %s: cache is closed: %w", id.Short(), errs.Busy)
		}
		if c.entries[id] != nil {
			c.mu.Unlock()
			return nil
		}
		if running := c.fills[id]; running != nil {
			c.mu.Unlock()
			select {
			case <-running.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if running.err == nil || !canceled(running.err) {
				return running.err
			}
			continue // who filled gave up; that is no reason for us to
		}
		mine := &fill{done: make(chan struct{})}
		victims, err := c.reserve(size)
		if err == nil {
			c.fills[id] = mine
		}
		c.mu.Unlock()
		c.unlink(victims)
		if err != nil {
			return fmt.Errorf("cache file %s: %w", id.Short(), err)
		}
		mine.err = fmt.Errorf("cache file %s: fill panicked: %w", id.Short(), errs.Busy)
		defer c.finish(id, size, mine)
		mine.err = c.fill(id, size, fn)
		return mine.err
	}
}

// finish publishes the end of a fill.
func (c *Files) finish(id oid.ID, size int64, f *fill) {
	c.mu.Lock()
	c.reserved -= size
	delete(c.fills, id)
	if f.err == nil {
		c.entries[id] = c.lru.PushFront(&entry{id, size})
		c.used += size
	}
	c.mu.Unlock()
	close(f.done)
}

// fill writes the file under a temporary name, checks its size and gives it its name.
func (c *Files) fill(id oid.ID, size int64, fn func(*os.File) error) (err error) {
	if err := c.checkDisk(size); err != nil {
		return fmt.Errorf("cache file %s: %w", id.Short(), err)
	}
	tmp := c.path(id) + tmpSuffix
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cache file %s: %w", id.Short(), err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	err = fn(f)
	if err == nil {
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil && st.Size() != size {
			err = fmt.Errorf("%d bytes were written, want %d: %w", st.Size(), size, errs.Invalid)
		}
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(tmp, c.path(id))
	}
	if err != nil {
		return fmt.Errorf("cache file %s: %w", id.Short(), err)
	}
	return nil
}

// Fits reports whether a file of size bytes could be held at all.
func (c *Files) Fits(size int64) bool { return size <= c.quota }

// Stats returns how many files are held and their bytes.
func (c *Files) Stats() (files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.used
}

// Quota returns the bytes that files may take.
func (c *Files) Quota() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quota
}

// SetQuota changes what files may take, and evicts what is beyond it. A quota of 0 means DefaultQuota. It holds until Close.
func (c *Files) SetQuota(quota int64) error {
	if quota <= 0 {
		quota = DefaultQuota
	}
	c.mu.Lock()
	c.quota = quota
	victims := c.evict(0)
	c.mu.Unlock()
	return c.unlink(victims)
}

// Drop removes every file and returns the bytes freed. Descriptors that are open keep working.
func (c *Files) Drop() (int64, error) {
	c.mu.Lock()
	var victims []oid.ID
	freed := c.used
	for id := range c.entries {
		victims = append(victims, id)
	}
	clear(c.entries)
	c.lru.Init()
	c.used = 0
	c.mu.Unlock()
	return freed, c.unlink(victims)
}

func (c *Files) path(id oid.ID) string { return filepath.Join(c.dir, id.String()) }

// forget drops el from the table if it still is id's entry.
func (c *Files) forget(id oid.ID, el *list.Element) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[id] == el {
		c.drop(el)
	}
}

// drop takes el out of the table. The caller holds mu.
func (c *Files) drop(el *list.Element) {
	e := el.Value.(*entry)
	c.lru.Remove(el)
	delete(c.entries, e.id)
	c.used -= e.size
}

// reserve makes room for size more bytes and counts them as taken. The caller holds mu and unlinks the victims.
func (c *Files) reserve(size int64) (victims []oid.ID, err error) {
	if size < 0 || size > c.quota || c.reserved > c.quota-size {
		return nil, fmt.Errorf("%d bytes do not fit the cache of %d bytes: %w", size, c.quota, errs.NoSpace)
	}
	victims = c.evict(size)
	c.reserved += size
	return victims, nil
}

// evict takes the least recently used entries out of the table until room more bytes fit. The caller holds mu.
func (c *Files) evict(room int64) (victims []oid.ID) {
	for c.used+c.reserved+room > c.quota && c.lru.Len() > 0 {
		el := c.lru.Back()
		victims = append(victims, el.Value.(*entry).id)
		c.drop(el)
	}
	return victims
}

func (c *Files) unlink(ids []oid.ID) error {
	var first error
	for _, id := range ids {
		if err := os.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = fmt.Errorf("drop cache file %s: %w", id.Short(), err)
		}
	}
	return first
}

// checkDisk refuses a fill that would leave less than a tenth of the disk, or 1 GiB on large disks, to those who write
// what cannot be made again. When it must, it gives up the cache's own files first.
func (c *Files) checkDisk(size int64) error {
	for {
		free, total, err := diskSpace(c.dir)
		if err != nil {
			return err
		}
		if free-size >= min(total/10, 1<<30) {
			return nil
		}
		c.mu.Lock()
		el := c.lru.Back()
		if el == nil {
			c.mu.Unlock()
			return fmt.Errorf("%d bytes wanted, %d free: %w", size, free, errs.NoSpace)
		}
		id := el.Value.(*entry).id
		c.drop(el)
		c.mu.Unlock()
		if err := c.unlink([]oid.ID{id}); err != nil {
			return err
		}
	}
}

func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isTemporary says whether name is of a file being filled.
func isTemporary(name string) bool { return strings.HasSuffix(name, tmpSuffix) }
