package similar

import (
	"log/slog"
	"path/filepath"
	"sync"

	simhash "coral/delta/similar"
	"coral/internal/oid"
	"coral/internal/vfs"
)

const (
	// DirName is the index's directory in the repository's.
	DirName = "similar"

	sealAt    = 1024 // records in a tail
	tailLimit = 16   // tails that are kept in memory
	maxBucket = 64   // postings of one key in a run

	maxFound    = 12  // of one key of one run, in a query
	maxExamined = 256 // records read from files, in a query
)

// Options of Open.
type Options struct {
	ReadOnly bool
	FS       vfs.FS       // nil means vfs.OS
	Logger   *slog.Logger // nil: silent

	// Similarity is the correlation from which Candidates takes a blob for a likely base; 0 means simhash.DefaultThreshold.
	Similarity float64

	seal int // records in a tail; 0 means sealAt. Tests choose
}

// Index finds blobs by their sketches.
type Index struct {
	dir          string
	readOnly     bool
	fs           vfs.FS
	log          *slog.Logger
	baseDistance int // of Candidates
	sealAt       int // records in a tail; who adds to one of 16 times as many waits for the writer

	writer sync.Mutex // held while runs are written
	next   uint64     // number of the next file; under writer

	mu         sync.Mutex
	runs       []*run   // oldest first
	sealing    []record // being written to a run
	mem        []record // of the tail: record i is at tailHead + i*recordSize
	tail       *tail    // nil: not made yet
	incomplete bool
	broken     bool // writing has failed or ended: what is added is only in memory, up to tailLimit tails of it
}

// tail is an open tail file.
type tail struct {
	name string
	f    vfs.File
}

// Open opens the index in the repository's directory dir. It is empty if there is none. What cannot be used of it is dropped, and logged.
func Open(dir string, opts Options) *Index {
	x := &Index{dir: filepath.Join(dir, DirName), readOnly: opts.ReadOnly, fs: opts.FS, log: opts.Logger, sealAt: opts.seal, next: 1}
	if x.sealAt == 0 {
		x.sealAt = sealAt
	}
	if opts.Similarity == 0 {
		opts.Similarity = simhash.DefaultThreshold
	}
	x.baseDistance = simhash.MaxDistance(opts.Similarity)
	if x.fs == nil {
		x.fs = vfs.OS{}
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	if err := x.load(); err != nil {
		x.incomplete = true
		x.fail("open", err)
	}
	return x
}

// Incomplete reports that blobs may be missing: the repository is older than the index, or a part of it was damaged.
func (x *Index) Incomplete() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.incomplete
}

// Len returns the number of records. A blob may have more than one.
func (x *Index) Len() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := int64(len(x.mem) + len(x.sealing))
	for _, r := range x.runs {
		n += int64(r.records)
	}
	return n
}

// Add remembers a stored blob. It is found from now on by this process, and by later ones unless the power fails first. Read-only it does nothing.
func (x *Index) Add(id oid.ID, s *simhash.Sketch) {
	if x.readOnly {
		return
	}
	rec := makeRecord(id, s)
	x.mu.Lock()
	if x.broken && len(x.mem) >= tailLimit*x.sealAt {
		x.mu.Unlock()
		return
	}
	at := len(x.mem)
	x.mem = append(x.mem, rec)
	t, broken := x.tail, x.broken
	x.mu.Unlock()
	if broken {
		return
	}
	if t == nil {
		x.startTail() // it writes all that is in memory
	} else if _, err := t.f.WritevAt([][]byte{rec[:]}, tailHead+int64(at)*recordSize); err != nil {
		x.mu.Lock()
		sealed := x.tail != t // meanwhile: the record is in the run, or lost by a reset
		x.mu.Unlock()
		if !sealed {
			x.fail("write the tail", err)
		}
		return
	}
	switch {
	case at+1 >= tailLimit*x.sealAt:
		x.writer.Lock()
	case at+1 < x.sealAt || !x.writer.TryLock():
		return
	}
	defer x.writer.Unlock()
	x.seal()
}

// fail ends writing after an error: ingest goes on, only later processes find less.
func (x *Index) fail(op string, err error) {
	x.mu.Lock()
	first := !x.broken
	x.broken = true
	x.mu.Unlock()
	if first {
		x.log.Error("similar tensors are not indexed any more", "op", op, "path", x.dir, "err", err)
	}
}

// acquire returns all there is to search; release gives it back.
func (x *Index) acquire() (mem [2][]record, runs []*run, release func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	mem, runs = [2][]record{x.mem, x.sealing}, x.runs
	for _, r := range runs {
		r.refs.Add(1)
	}
	return mem, runs, func() {
		for _, r := range runs {
			r.release()
		}
	}
}

// Close closes the files. Nothing may be in use.
func (x *Index) Close() error {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.broken = true
	for _, r := range x.runs {
		r.release()
	}
	x.runs, x.mem, x.sealing = nil, nil, nil
	if x.tail == nil {
		return nil
	}
	err := x.tail.f.Close()
	x.tail = nil
	return err
}
