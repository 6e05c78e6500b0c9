package similar

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"coral/internal/errs"
	"coral/internal/vfs"
)

const (
	runSuffix      = ".run"
	tailSuffix     = ".tail"
	incompleteName = "incomplete"
)

func (x *Index) path(name string) string { return filepath.Join(x.dir, name) }

func fileName(number uint64, suffix string) string { return fmt.Sprintf("%08d%s", number, suffix) }

// fileNumber is the inverse of fileName.
func fileNumber(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && len(digits) >= 8 && n < 1<<62
}

// load reads the directory.
func (x *Index) load() error {
	names, err := x.fs.ReadDir(x.dir)
	if errors.Is(err, errs.NotFound) {
		x.incomplete = true // a new repository has an empty directory
		return nil
	}
	if err != nil {
		return err
	}
	var tails []string
	for _, name := range names {
		if name == incompleteName {
			x.incomplete = true
		}
		if n, ok := fileNumber(name, runSuffix); ok {
			x.next = max(x.next, n+1)
			x.loadRun(name, n)
		}
		if n, ok := fileNumber(name, tailSuffix); ok {
			x.next = max(x.next, n+1)
			tails = append(tails, name)
			x.loadTail(name)
		}
	}
	if x.readOnly || len(x.mem) == 0 && len(tails) == 0 {
		return nil
	}
	x.adopt(tails)
	return nil
}

// loadRun opens a run, or drops it.
func (x *Index) loadRun(name string, number uint64) {
	r, err := openRun(x.fs, x.path(name), number)
	switch {
	case err == nil:
		x.runs = append(x.runs, r)
	case errors.Is(err, errs.NotFound): // merged since ReadDir, by the process that writes
	default:
		x.lose(x.path(name), err)
		if x.readOnly {
			return
		}
		if err := x.remove(x.path(name)); err != nil {
			x.fail("remove a damaged run", err)
		}
	}
}

// lose says that a file cannot be used, and has it made again. Called with no lock held.
func (x *Index) lose(path string, err error) {
	x.log.Warn("part of the index of similar tensors is dropped; coral similar makes it again", "path", path, "err", err)
	x.mu.Lock()
	x.incomplete = true
	x.mu.Unlock()
	if x.readOnly {
		return
	}
	if err := x.mark(); err != nil {
		x.fail("mark the index incomplete", err)
	}
}

// mark writes down that the index is incomplete.
func (x *Index) mark() error {
	if err := x.fs.MkdirAll(x.dir, 0o700); err != nil {
		return err
	}
	f, err := x.fs.OpenFile(x.path(incompleteName), vfs.ReadWrite|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// loadTail appends the whole records of a tail to those in memory, up to tailLimit tails of them.
func (x *Index) loadTail(name string) {
	f, err := x.fs.OpenFile(x.path(name), vfs.ReadOnly, 0)
	if err != nil {
		return // sealed since ReadDir
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size < tailHead {
		return // killed before its first record
	}
	b := make([]byte, min(size, tailHead+int64(tailLimit*x.sealAt)*recordSize))
	if _, err := f.ReadAt(b, 0); err != nil || string(b[:tailHead]) != string(tailHeader()) {
		x.lose(x.path(name), fmt.Errorf("tail of another version, or unreadable (%v): %w", err, errs.Corrupt))
		return
	}
	for b = b[tailHead:]; len(b) >= recordSize; b = b[recordSize:] {
		if rec := (*record)(b); rec.whole() {
			x.mem = append(x.mem, *rec)
		}
	}
}

// adopt goes on with a single tail, or replaces several (a process was killed while it sealed one).
func (x *Index) adopt(tails []string) {
	if len(tails) == 1 && len(x.mem) < x.sealAt {
		f, err := x.fs.OpenFile(x.path(tails[0]), vfs.ReadWrite, 0)
		if err == nil {
			x.tail = &tail{x.path(tails[0]), f}
			err = x.writeTail(x.tail, x.mem) // without the holes and torn end there may be
		}
		if err == nil {
			err = f.Truncate(tailHead + int64(len(x.mem))*recordSize)
		}
		if err != nil {
			x.fail("open the tail", err)
		}
		return
	}
	x.writer.Lock()
	defer x.writer.Unlock()
	if x.seal(); x.stopped() {
		return
	}
	for _, name := range tails {
		if err := x.remove(x.path(name)); err != nil {
			x.fail("remove a sealed tail", err)
		}
	}
}

func (x *Index) remove(path string) error {
	if err := x.fs.Remove(path); err != nil && !errors.Is(err, errs.NotFound) {
		return err
	}
	return nil
}

func (x *Index) writeTail(t *tail, recs []record) error {
	bufs := [][]byte{tailHeader()}
	for i := range recs {
		bufs = append(bufs, recs[i][:])
	}
	_, err := t.f.WritevAt(bufs, 0)
	return err
}

// newTail makes an empty tail file. The caller holds writer.
func (x *Index) newTail() (*tail, error) {
	if err := x.fs.MkdirAll(x.dir, 0o700); err != nil {
		return nil, err
	}
	t := &tail{name: x.path(fileName(x.next, tailSuffix))}
	x.next++
	f, err := x.fs.OpenFile(t.name, vfs.ReadWrite|vfs.Create, 0o600)
	if err != nil {
		return nil, err
	}
	t.f = f
	if err := x.writeTail(t, nil); err != nil {
		_ = f.Close()
		return nil, err
	}
	return t, nil
}

// startTail makes the first tail and writes to it what is in memory. Two that add at once do it one after the other.
func (x *Index) startTail() {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	t, mark := x.tail, x.incomplete
	x.mu.Unlock()
	var err error
	if t == nil {
		if mark {
			err = x.mark()
		}
		if err == nil {
			t, err = x.newTail()
		}
	}
	if err != nil {
		x.fail("start the tail", err)
		return
	}
	x.mu.Lock()
	x.tail = t // from here on others write their records; this one writes those before, and perhaps the same bytes again
	recs := x.mem
	x.mu.Unlock()
	if err := x.writeTail(t, recs); err != nil {
		x.fail("write the tail", err)
	}
}
