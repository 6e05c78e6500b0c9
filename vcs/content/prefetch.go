package content

import (
	"context"
	"sync"

	"coral/delta"
	"coral/internal/oid"
)

// Read-ahead. Each file watches a few streams of reads; where one goes on from where it ended, the blocks after it are decoded
// by the store's workers into the block cache, in a window that doubles up to maxAhead. A long read is shared with the workers the same
// way. The queue is bounded and drops what does not fit: a reader then decodes for itself.
//
// Before they are decoded, the stored bytes of these blocks and of the bases under them are asked of the disk (fetch.go): decoding takes
// them one block at a time from several places in the packs, and would wait at each.
const (
	minAhead   = 1 << 20
	maxAhead   = 8 << 20
	aheadTasks = 256 << 10 // bytes of one task
	aheadQueue = 64        // tasks: two full windows
	aheadSlack = 256 << 10 // a stream's reads may arrive out of order by so much
)

// LongRead is the length in bytes from which a read is one of a sequence, or of the kernel's read-ahead, wherever it begins.
const LongRead = 512 << 10

type aheadTask struct {
	f      *File
	off, n int64
	long   bool // before long reads, which decode by themselves what has no base
}

// streams are the sequential reads noticed on a file.
type streams struct {
	mu    sync.Mutex
	list  [4]stream
	clock uint32
}

type stream struct {
	next   int64 // where its last read ended
	asked  int64 // up to where read-ahead was asked for
	disk   int64 // up to where the disk was asked
	window int64 // 0 until a second read followed the first
	used   uint32
}

// span is a range of a file; it is empty if from >= to.
type span struct{ from, to int64 }

// observe notes a read and returns the ranges to decode ahead, and to ask of the disk before.
func (st *streams) observe(off, n, limit int64) (ahead, disk span) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.clock++
	end := off + n
	var s *stream
	oldest := &st.list[0]
	for i := range st.list {
		c := &st.list[i]
		if c.used != 0 && (off == c.next || c.window > 0 && off > c.next-aheadSlack && off < c.next+aheadSlack) {
			s = c
			break
		}
		if c.used < oldest.used {
			oldest = c
		}
	}
	if s == nil {
		*oldest = stream{next: end, asked: end, disk: end, used: st.clock}
		if n < LongRead {
			return ahead, disk
		}
		if off != 0 {
			return span{off, end}, span{off, end}
		}
		// A long read at the beginning of a file is the first of many more often than not.
		oldest.window = min(minAhead, limit)
		oldest.asked, oldest.disk = end+oldest.window, end+diskAhead/2
		return span{off, oldest.asked}, span{off, oldest.disk}
	}
	s.used = st.clock
	s.next = max(s.next, end)
	s.window = min(max(2*s.window, minAhead), limit)
	// Each waits until a good part of its window is missing.
	if w := (span{max(s.asked, off), s.next + s.window}); w.to-w.from >= s.window/2 {
		ahead, s.asked = w, w.to
	}
	if w := (span{max(s.disk, off), s.next + diskAhead}); w.to-w.from >= diskAhead/4 {
		disk, s.disk = w, w.to
	}
	return ahead, disk
}

// readAhead asks the workers for what is likely read next.
func (f *File) readAhead(off, n int64) {
	limit := min(maxAhead, f.s.blocks.limit()/4)
	if limit < aheadTasks {
		return // what is decoded ahead would not stay until it is read
	}
	ahead, disk := f.streams.observe(off, n, limit)
	if disk.from >= disk.to && ahead.from >= ahead.to && n < LongRead {
		f.fetchAt(off, n)
	}
	f.fetch(disk)
	to := min(ahead.to, f.m.Size)
	for from := ahead.from; from < to; from += aheadTasks {
		select {
		case f.s.ahead <- aheadTask{f, from, min(aheadTasks, to-from), n >= LongRead}:
		default:
			return
		}
	}
}

// aheadWorker decodes ahead until the store is closed.
func (s *Store) aheadWorker() {
	for {
		select {
		case t := <-s.ahead:
			t.f.warm(s.ctx, t.off, t.n, t.long)
		case <-s.ctx.Done():
			return
		}
	}
}

// warm brings the blocks that hold [off, off+n) into the cache. Errors are left to the reader who needs the block.
func (f *File) warm(ctx context.Context, off, n int64, long bool) {
	i, start := f.segment(off)
	for at, end := off, off+n; at < end; i++ {
		seg := &f.m.Segments[i]
		stop := min(end, start+seg.Length)
		if !seg.Blob.IsZero() && f.s.warmBlob(ctx, seg.Blob, at-start, stop-start, long) != nil {
			return
		}
		start += seg.Length
		at = stop
	}
}

func (s *Store) warmBlob(ctx context.Context, id oid.ID, from, to int64, long bool) error {
	return s.withMeta(ctx, id, func(m *blobMeta) error {
		if m.codec() == delta.FrameRaw || to > m.info.RawSize || long && m.standsAlone() {
			return nil // nothing to decode, or not for us to report
		}
		n := m.blockLen()
		for i := from / n; i*n < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, decoded, err := s.fetchBlock(ctx, m, int(i), readHot)
			if err != nil {
				return err
			}
			s.blocks.release(b)
			if decoded {
				s.count.aheadBlocks.Add(1)
			}
		}
		return nil
	})
}
