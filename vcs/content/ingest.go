package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"coral/delta"
	"coral/delta/format"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// Hint tells Ingest where to look for bases.
type Hint struct {
	Path string // path in the tree, for names and logs
	Prev oid.ID // manifest of the same path in the head commit; zero if none
}

// IngestResult says what a file cost.
type IngestResult struct {
	Manifest oid.ID
	Size     int64
	New      int64 // payload bytes of blobs appended to packs; the manifest is not counted
}

// smallFile is the size up to which a file is read in one piece before it is parsed.
const smallFile = 256 << 10

var smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }}

// Ingest reads size bytes of r once, front to back, in bounded memory, cuts them at tensor boundaries (whatever fails to parse becomes content-defined
// chunks), stores what is new and returns the manifest. The parser reads the parts it needs beforehand. r may change meanwhile: the manifest describes exactly the
// bytes that were read. A short read is an error (io.ErrUnexpectedEOF). Nothing is durable before Sync of the backend. If ctx ends, Ingest returns its
// error and what was stored so far stays, unreferenced.
func (s *Store) Ingest(ctx context.Context, r io.ReaderAt, size int64, hint Hint) (IngestResult, error) {
	res, err := s.ingest(ctx, r, size, hint)
	if err != nil {
		return IngestResult{}, fmt.Errorf("ingest %s: %w", hint.Path, err)
	}
	return res, nil
}

func (s *Store) ingest(ctx context.Context, r io.ReaderAt, size int64, hint Hint) (IngestResult, error) {
	if size < 0 {
		return IngestResult{}, fmt.Errorf("size %d: %w", size, errs.Invalid)
	}
	if err := s.ctx.Err(); err != nil {
		return IngestResult{}, fmt.Errorf("content store is closed: %w", errs.Invalid)
	}
	again, _ := r.(Reopener)
	beside, _ := r.(Beside)
	if size <= smallFile {
		buf := smallBuffers.Get().(*[]byte)
		defer smallBuffers.Put(buf)
		if err := readFull(r, (*buf)[:size], 0); err != nil {
			return IngestResult{}, err
		}
		r = bytes.NewReader((*buf)[:size])
	}
	in := &ingest{s: s, r: r, size: size, hint: hint, again: again, beside: beside, strategy: delta.Strategy(s.strategy.Load()), hash: oid.NewHasher()}
	return in.run(ctx)
}

// ingest is one file on its way in. All but store runs in the goroutine that called Ingest.
type ingest struct {
	s      *Store
	r      io.ReaderAt
	size   int64
	hint   Hint
	again  Reopener // nil: the file is not there later
	beside Beside   // nil: nothing is known of other files
	habits habits
	layout *format.Layout // nil: opaque
	shapes [][]int64      // of the tensors that fill a payload, by payload; nil if none does. Read only once batches are sent, as is
	prev   *previous      // what the path held before

	strategy delta.Strategy

	hash    *oid.Hasher // over the bytes in file order
	batches []*batch    // sent so far, in file order
	added   atomic.Int64
}

func (in *ingest) run(ctx context.Context) (IngestResult, error) {
	if in.layout = in.companionLayout(ctx); in.layout == nil {
		in.parse()
	}
	pieces := planFile(in.layout, in.size)
	if in.layout != nil {
		in.prev = in.s.loadPrevious(ctx, in.hint)
		in.shapes = shapesOf(in.layout)
	}
	if err := in.readAndStore(ctx, pieces); err != nil {
		return IngestResult{}, err
	}
	m := in.manifest()
	if in.unchanged(ctx, m) {
		return IngestResult{Manifest: in.hint.Prev, Size: in.size, New: in.added.Load()}, nil
	}
	id, err := in.putManifest(ctx, m)
	if err != nil {
		return IngestResult{}, err
	}
	in.s.count.bytesIngested.Add(in.size)
	return IngestResult{Manifest: id, Size: in.size, New: in.added.Load()}, nil
}

// shapesOf finds for each payload the tensor that is all of it, and contiguous.
func shapesOf(l *format.Layout) [][]int64 {
	at := make(map[int64]int, len(l.Payloads))
	for i := range l.Payloads {
		at[l.Payloads[i].Offset] = i
	}
	shapes := make([][]int64, len(l.Payloads))
	for i := range l.Tensors {
		t := &l.Tensors[i]
		if k, ok := at[t.Offset]; ok && t.Length == l.Payloads[k].Length && t.DType == l.Payloads[k].DType &&
			(t.Stride == nil || format.Contiguous(t.Shape, t.Stride)) {
			shapes[k] = t.Shape
		}
	}
	return shapes
}

// shape returns that of a job's tensor, or nil.
func (in *ingest) shape(j *job) []int64 { return in.shapes[j.payload] }

// readAndStore reads the pieces and has them stored. When it returns, every goroutine it started has ended.
func (in *ingest) readAndStore(ctx context.Context, pieces []piece) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, gctx := errgroup.WithContext(ctx)
	f := feed{in: in, group: group}
	rerr := f.all(gctx, pieces)
	if rerr != nil {
		cancel()
	}
	// Of two errors one may be the echo of the other: a cancelled context.
	if err := group.Wait(); err != nil && (rerr == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	return rerr
}

// parse looks for tensors. Not finding any is no error: the file is opaque then.
func (in *ingest) parse() {
	l, err := in.s.parse(in.r, in.size)
	if err != nil {
		if !errors.Is(err, format.ErrUnknown) {
			in.s.log.Debug("file kept as opaque bytes", "op", "ingest", "path", in.hint.Path, "err", err)
		}
		return
	}
	if l == nil || l.Format == format.Opaque {
		return
	}
	if err := l.Check(in.size); err != nil {
		in.s.log.Warn("parser gave an unsound layout", "op", "ingest", "path", in.hint.Path, "err", err)
		return
	}
	in.layout = l
}

func (in *ingest) manifest() *object.Manifest {
	m := &object.Manifest{Size: in.size, Hash: in.hash.Sum(), Format: format.Opaque}
	n := 0
	for _, b := range in.batches {
		n += len(b.segs)
	}
	m.Segments = make([]object.Segment, 0, n)
	for _, b := range in.batches {
		m.Segments = append(m.Segments, b.segs...)
	}
	if in.layout == nil {
		return m
	}
	m.Format = in.layout.Format
	m.Tensors = make([]object.Tensor, len(in.layout.Tensors))
	for i, t := range in.layout.Tensors {
		m.Tensors[i] = object.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Offset: t.Offset, Length: t.Length, Stride: t.Stride}
	}
	return m
}

// putManifest stores m. A tensor table that an object cannot hold (a million names of 4 KB) is dropped: it is a
// convenience, the bytes are the promise.
func (in *ingest) putManifest(ctx context.Context, m *object.Manifest) (oid.ID, error) {
	id, err := in.s.objects.PutManifest(ctx, m)
	if err != nil && len(m.Tensors) > 0 && (errors.Is(err, errs.Invalid) || errors.Is(err, errs.TooLarge)) {
		in.s.log.Warn("tensor table left out", "op", "ingest", "path", in.hint.Path, "tensors", len(m.Tensors), "err", err)
		m.Tensors = nil
		id, err = in.s.objects.PutManifest(ctx, m)
	}
	if err != nil {
		return oid.ID{}, fmt.Errorf("store manifest: %w", err)
	}
	return id, nil
}

// readFull fills p from off or fails: a file that ends early has shrunk under the reader.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return fmt.Errorf("read %d bytes at %d: got %d: %w", len(p), off, n, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}
