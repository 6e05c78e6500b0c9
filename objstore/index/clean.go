package index

import (
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"

	"coral/internal/errs"
)

// An index is read through when it is opened, by us (verify) and by bbolt, which looks for free pages: 0.4 s and all of the file for a million records. One of cleanSize bytes
// or more that was verified once, and has been closed in good order since, is spared that: Close stores bbolt's list of free pages in the file and writes a mark beside it,
// "<index>.clean", that knows the transaction. After a kill, the number of the transaction is another one, and the index is read through. What goes wrong in the file later
// is found by the checksum of each record, by the guard, and by Verify, which whoever deletes records calls first.
var cleanSize int64 = 16 << 20 // a variable for tests

// cleanMark is the content of the mark, in the byte order of bbolt's own pages:
//
//	0 8 transaction   8 8 size of the file   16 8 its mtime, ns   24 8 xxHash64 of the pages of the free list   32 8 xxHash64 of the 32 bytes before
type cleanMark struct {
	txid, size, mtime, free uint64
}

const cleanMarkLen = 40

func (m cleanMark) encode() []byte {
	b := make([]byte, 0, cleanMarkLen)
	for _, v := range []uint64{m.txid, m.size, m.mtime, m.free} {
		b = native.AppendUint64(b, v)
	}
	return native.AppendUint64(b, xxhash.Sum64(b))
}

func decodeCleanMark(b []byte) (m cleanMark, ok bool) {
	if len(b) != cleanMarkLen || native.Uint64(b[32:]) != xxhash.Sum64(b[:32]) {
		return m, false
	}
	return cleanMark{native.Uint64(b), native.Uint64(b[8:]), native.Uint64(b[16:]), native.Uint64(b[24:])}, true
}

func cleanPath(path string) string { return path + ".clean" }

// markOf returns the mark that fits the file now. ok is false if it has no list of free pages, or is damaged where that shows.
func markOf(f *os.File) (m cleanMark, ok bool) {
	fi, err := f.Stat()
	if err != nil {
		return m, false
	}
	c := &checker{r: f, size: fi.Size()}
	if c.readMeta() != nil || c.meta.freelist == boltNoFree {
		return m, false
	}
	return cleanMark{c.meta.txid, uint64(fi.Size()), uint64(fi.ModTime().UnixNano()), c.freeSum}, true
}

// clean reports whether the file at path is as Close left it.
func clean(path string, f *os.File, size int64) bool {
	if size < cleanSize {
		return false
	}
	b, err := os.ReadFile(cleanPath(path)) // 40 bytes that we wrote; a larger one costs no more than an index
	if err != nil {
		return false
	}
	want, ok := decodeCleanMark(b)
	got, ok2 := markOf(f)
	return ok && ok2 && want == got
}

// leaveClean stores the list of free pages and marks the file. What fails here costs the next Open time.
func (d *DB) leaveClean() {
	fi, err := d.file.Stat()
	if err != nil || fi.Size() < cleanSize || d.db.NoSync { // Bulk: it is not yet where it will be
		return
	}
	d.db.NoFreelistSync = false
	if d.db.Update(func(*bbolt.Tx) error { return nil }) != nil {
		return
	}
	m, ok := markOf(d.file)
	if !ok {
		return
	}
	tmp := cleanPath(d.path) + ".tmp"
	if os.WriteFile(tmp, m.encode(), 0o600) == nil {
		_ = os.Rename(tmp, cleanPath(d.path))
	}
}

// Verify reads the whole index and checks its structure, every record and the digest. Writers wait meanwhile. errs.Corrupt says what is wrong; the index is rebuilt from the packs when
// it is opened the next time.
func (d *DB) Verify() error {
	return d.wrap("verify", d.guard(func() error {
		done := func() error { return nil }
		if !d.db.IsReadOnly() { // else the lock on the file keeps writers out
			tx, err := d.db.Begin(true)
			if err != nil {
				return err
			}
			done = tx.Rollback
		}
		fi, err := d.file.Stat()
		if err == nil {
			err = verify(d.file, fi.Size())
		}
		if errors.Is(err, errs.Corrupt) {
			d.unfit.Store(true)
			_ = os.Remove(cleanPath(d.path))
		}
		return errors.Join(err, done())
	}))
}

// readFreelist reads the list of free pages into c.free: ids in ascending order. None is what is in an index that is in use.
func (c *checker) readFreelist() error {
	at := c.meta.freelist
	if at == boltNoFree {
		return nil
	}
	head, err := c.readAt(int64(at)*c.meta.pageSize, boltPageHead+8)
	if err != nil {
		return err
	}
	pages := uint64(native.Uint32(head[12:])) + 1
	if at < 2 || at >= c.meta.pages || pages > c.meta.pages-at || native.Uint64(head) != at || native.Uint16(head[8:]) != boltFreelist {
		return bad("free list on page %d", at)
	}
	count, skip := uint64(native.Uint16(head[10:])), int64(boltPageHead)
	if count == 0xffff {
		count, skip = native.Uint64(head[boltPageHead:]), skip+8
	}
	if count > c.meta.pages || skip+8*int64(count) > int64(pages)*c.meta.pageSize {
		return bad("%d free pages", count)
	}
	sum := xxhash.New()
	r := io.NewSectionReader(c.r, int64(at)*c.meta.pageSize, skip+8*int64(count))
	b := make([]byte, min(r.Size(), 64<<10))
	prev, free := uint64(1), make([]uint64, 0, min(count, 1<<16))
	for off := int64(0); off < r.Size(); {
		n, err := r.ReadAt(b[:min(int64(len(b)), r.Size()-off)], off)
		if n == 0 || n%8 != 0 {
			return errors.Join(bad("free list is cut"), err)
		}
		_, _ = sum.Write(b[:n])
		for i := max(0, skip-off); i < int64(n); i += 8 {
			id := binary.NativeEndian.Uint64(b[i:])
			if id <= prev || id >= c.meta.pages {
				return bad("free page %d", id)
			}
			prev, free = id, append(free, id)
		}
		off += int64(n)
	}
	c.free, c.freePages, c.freeSum = free, pages, sum.Sum64()
	return nil
}

// checkFree fails if a page is both free, or part of the free list, and in use. It comes after the walk.
func (c *checker) checkFree() error {
	if c.meta.freelist == boltNoFree {
		return nil
	}
	if err := c.visit(c.meta.freelist, c.freePages); err != nil {
		return err
	}
	for _, id := range c.free {
		if err := c.visit(id, 1); err != nil {
			return err
		}
	}
	return nil
}
