package worktree

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// journal is the open journal of a tree.
type journal struct {
	path   string
	syncMu sync.Mutex

	// Guarded by Tree.mu; f is replaced with syncMu held as well, so that either suffices to use it.
	f         *os.File
	size      int64
	records   int
	compacted int64 // size when it was last written anew
	notBefore int64 // size before which compaction is not tried again, after it failed
	buf       []byte
	room      int64 // up to where the disk blocks of f are allocated

	seq    atomic.Uint64         // records appended
	synced atomic.Uint64         // of these, durable
	failed atomic.Pointer[error] // a sync failed: what the disk holds is not known any more, so nothing is accepted
}

// append writes a record with one write(2), and to tee, if there is one. Tree.mu is held. If it fails, nothing is in the journal,
// and the next record goes to the same place.
func (j *journal) append(r *record, tee *[]byte) error {
	if p := j.failed.Load(); p != nil {
		return *p
	}
	j.buf = appendRecord(j.buf[:0], r)
	j.makeRoom()
	if n, err := j.f.WriteAt(j.buf, j.size); err != nil {
		if n > 0 {
			j.f.Truncate(j.size) // tidiness: a torn tail is ignored, and written over by the next record
			j.room = 0
		}
		return fmt.Errorf("append to journal: %w", err)
	}
	j.size += int64(len(j.buf))
	j.records++
	j.seq.Add(1)
	if tee != nil {
		*tee = append(*tee, j.buf...)
	}
	if cap(j.buf) > 64<<10 {
		j.buf = nil
	}
	return nil
}

// The journal's disk blocks are allocated ahead of its end, so that files can be removed on a full disk: each takes a record. At least roomLow bytes are kept, some
// thousand removals.
const (
	roomLow  = 128 << 10
	roomStep = 256 << 10
)

// makeRoom allocates ahead. A disk that is full or cannot do it is no error: the record may still fit. Tree.mu is held.
func (j *journal) makeRoom() {
	if j.size+int64(len(j.buf))+roomLow <= j.room {
		return
	}
	if unix.Fallocate(int(j.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, j.size, roomStep+int64(len(j.buf))) == nil {
		j.room = j.size + roomStep + int64(len(j.buf))
	}
}

// sync makes all records appended before the call durable, and the names of the spool files that they refer to. Calls that overlap share an fsync.
func (j *journal) sync(s *spool) error {
	want := j.seq.Load()
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	if p := j.failed.Load(); p != nil {
		return *p
	}
	if j.synced.Load() >= want {
		return nil
	}
	upTo := j.seq.Load()
	if err := s.syncDir(); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(j.f.Fd())); err != nil {
		err = fmt.Errorf("sync journal: %w", err)
		j.failed.Store(&err)
		return err
	}
	j.synced.Store(upTo)
	return nil
}

// close closes the file, after a sync in work.
func (j *journal) close() error {
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.failed.Store(&errClosed)
	return j.f.Close()
}

// createJournal writes a journal of a header and body to path, durably and in one step, and returns it open.
func createJournal(path string, h header, body []byte) (*os.File, int64, error) {
	f, size, err := writeJournalTemp(path, h, body)
	if err != nil {
		return nil, 0, err
	}
	if err = os.Rename(f.Name(), path); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("write journal: %w", err)
	}
	return f, size, nil
}

// writeJournalTemp writes and syncs path.tmp and leaves it open.
func writeJournalTemp(path string, h header, body []byte) (*os.File, int64, error) {
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("write journal: %w", err)
	}
	b := append(appendHeader(nil, h), body...)
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		os.Remove(path + ".tmp")
		return nil, 0, fmt.Errorf("write journal: %w", err)
	}
	return f, int64(len(b)), nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// readJournal reads a journal and calls fn for each valid record (whose value must not be kept). It returns the length of the valid prefix;
// what follows is a torn tail. Memory is bounded by the longest record.
func readJournal(r io.Reader, begin func(header) error, fn func(rec *record, off int64) error) (valid int64, records int, err error) {
	br := bufio.NewReaderSize(r, maxRecord+recordOverhead)
	head, err := br.Peek(maxHeader)
	if err != nil && err != io.EOF {
		return 0, 0, fmt.Errorf("read journal: %w", err)
	}
	h, n, err := decodeHeader(head)
	if err != nil {
		return 0, 0, err
	}
	if err := begin(h); err != nil {
		return 0, 0, err
	}
	br.Discard(n)
	valid = int64(n)
	for {
		frame, err := peekFrame(br)
		if errors.Is(err, errTorn) {
			return valid, records, nil
		}
		if err != nil {
			return valid, records, fmt.Errorf("read journal at offset %d: %w", valid, err)
		}
		rec, err := decodeRecord(frame)
		if errors.Is(err, errTorn) {
			return valid, records, nil
		}
		if err == nil {
			err = fn(&rec, valid)
		}
		if err != nil {
			return valid, records, fmt.Errorf("journal at offset %d: %w", valid, err)
		}
		br.Discard(len(frame))
		valid += int64(len(frame))
		records++
	}
}

// peekFrame returns the next record's frame without consuming it; errTorn if there is no whole one.
func peekFrame(br *bufio.Reader) ([]byte, error) {
	b, err := br.Peek(4)
	if err == nil {
		var n int
		if n, err = frameLength(b); err != nil {
			return nil, err
		}
		b, err = br.Peek(n)
	}
	if err == io.EOF {
		err = errTorn
	}
	return b, err
}

// holdsRecords says whether a valid record begins anywhere in r: then a tail is not just an interrupted write.
func holdsRecords(r io.Reader) bool {
	br := bufio.NewReaderSize(r, maxRecord+recordOverhead)
	for {
		if _, err := br.Peek(1); err != nil {
			return false
		}
		if b, err := br.Peek(5); err == nil && b[4] != 0 && int(b[4]) < len(recordFields) {
			if frame, err := peekFrame(br); err == nil {
				if _, err := decodeRecord(frame); err == nil {
					return true
				}
			}
		}
		br.Discard(1)
	}
}
