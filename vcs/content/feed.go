package content

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"coral/delta/format/dtype"
	"coral/vcs/object"
)

// batchLen is how many bytes of small pieces are read and stored together: enough that a file of many small tensors costs
// few reads and goroutines, little enough that a file of some megabytes is spread over all cores.
const batchLen = 1 << 20

// batch is a run of the file in memory, cut into jobs, and the segments made of them.
type batch struct {
	buf  []byte // from the raw arena; given back when the batch is stored
	jobs []job
	segs []object.Segment // one for each job, filled by store
}

// job is one piece in a batch.
type job struct {
	lo, hi  int   // in batch.buf
	off     int64 // in the file, of an extent
	inline  bool
	dt      dtype.Kind
	payload int // index in Layout.Payloads; -1 if none
	extent  int
}

// feed reads the file in order and sends batches to be stored.
type feed struct {
	in    *ingest
	group *errgroup.Group

	off  int64 // in the file, of the pieces collected
	n    int64
	jobs []job
}

// all reads every piece.
func (f *feed) all(ctx context.Context, pieces []piece) error {
	for i := range pieces {
		p := &pieces[i]
		if len(f.jobs) > 0 && (p.kind == chunkedPiece || f.n+p.n > batchLen) {
			if err := f.send(ctx); err != nil {
				return err
			}
		}
		if p.kind == chunkedPiece {
			if err := f.chunks(ctx, p); err != nil {
				return err
			}
			continue
		}
		f.collect(p)
	}
	if len(f.jobs) > 0 {
		return f.send(ctx)
	}
	return nil
}

// collect adds a piece to the batch that is next read. Pieces follow each other in the file.
func (f *feed) collect(p *piece) {
	if len(f.jobs) == 0 {
		f.off, f.n = p.off, 0
	}
	j := job{lo: int(f.n), hi: int(f.n + p.n), payload: -1}
	switch p.kind {
	case inlinePiece:
		j.inline = true
	case extentPiece:
		j.off = p.off
		j.payload, j.extent, j.dt = p.payload, p.extent, f.in.layout.Payloads[p.payload].DType
	}
	f.jobs = append(f.jobs, j)
	f.n += p.n
}

// send reads what was collected in one go and has it stored.
func (f *feed) send(ctx context.Context) error {
	b, err := f.newBatch(ctx, int(f.n))
	if err != nil {
		return err
	}
	b.buf = b.buf[:f.n]
	b.jobs, f.jobs = f.jobs, nil
	if err := readFull(f.in.r, b.buf, f.off); err != nil {
		f.in.s.freeBatch(b)
		return err
	}
	last := f.off+f.n == f.in.size && len(f.in.batches) == 0
	return f.dispatch(ctx, b, last)
}

// chunks reads a piece through the content-defined cutter.
func (f *feed) chunks(ctx context.Context, p *piece) error {
	cut, err := newCutter(io.NewSectionReader(f.in.r, p.off, p.n), p.n)
	if err != nil {
		return err
	}
	defer cut.free()
	room := int(min(p.n, int64(max(batchLen, 4*cut.avg))))
	var b *batch
	for got := int64(0); ; {
		chunk, err := cut.next()
		if err == io.EOF && got != p.n {
			err = fmt.Errorf("got %d: %w", got, io.ErrUnexpectedEOF)
		}
		if err != nil && err != io.EOF {
			if b != nil {
				f.in.s.freeBatch(b)
			}
			return fmt.Errorf("read %d bytes at %d: %w", p.n, p.off, err)
		}
		if b != nil && (err == io.EOF || len(b.buf)+len(chunk) > room) {
			last := got == f.in.size && len(f.in.batches) == 0
			full := b
			b = nil
			if err := f.dispatch(ctx, full, last); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if b == nil {
			if b, err = f.newBatch(ctx, room); err != nil {
				return err
			}
		}
		lo := len(b.buf)
		b.buf = append(b.buf, chunk...)
		b.jobs = append(b.jobs, job{lo: lo, hi: len(b.buf), payload: -1})
		got += int64(len(chunk))
	}
}

// newBatch waits for memory.
func (f *feed) newBatch(ctx context.Context, n int) (*batch, error) {
	a := f.in.s.raw
	if err := a.reserve(ctx, bufferSize(n)); err != nil {
		return nil, err
	}
	return &batch{buf: a.take(n)}, nil
}

func (s *Store) freeBatch(b *batch) {
	size := int64(cap(b.buf))
	s.raw.give(b.buf)
	s.raw.release(size)
	b.buf, b.jobs = nil, nil
}

// dispatch hashes the batch into the file's hash and has it stored. Only here do bytes enter the hash, and what is stored are
// the same bytes in the same buffer. A file of one batch is stored by the calling goroutine.
func (f *feed) dispatch(ctx context.Context, b *batch, only bool) error {
	in := f.in
	if _, err := in.hash.Write(b.buf); err != nil {
		in.s.freeBatch(b)
		return err
	}
	b.segs = make([]object.Segment, len(b.jobs))
	in.batches = append(in.batches, b)
	if only {
		defer in.s.freeBatch(b)
		return in.store(ctx, b)
	}
	f.group.Go(func() error {
		defer in.s.freeBatch(b)
		return in.store(ctx, b)
	})
	return nil
}
