package content

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"coral/internal/oid"
	"coral/vcs/object"
)

// A pass goes over a whole file once, past the block cache: workers decode windows of it in parallel, and a second step sees
// the windows in file order. The windows in memory are bounded over all passes of the store.

// passWindow is the length of a window. A multiple of every block length, so that windows inside a blob split no block.
const passWindow = 1 << 20

// window is a run of the file, decoded.
type window struct {
	off   int64
	buf   []byte
	parts []part
}

// part is a window's share of one segment.
type part struct {
	seg *object.Segment
	in  int64 // offset in the segment
	buf []byte
	err error // of decoding
}

// pass calls each for every window, from several goroutines at once and in any order, then inOrder in file order, one at a time; inOrder may be nil. The
// first error of either ends the pass. Errors of decoding are in the parts and end nothing by themselves.
func (f *File) pass(ctx context.Context, each, inOrder func(*window) error) error {
	w := walk{f: f, prev: make(chan struct{})}
	close(w.prev)
	workers := int(min(int64(f.s.workers), (f.m.Size+passWindow-1)/passWindow))
	if workers <= 1 {
		return w.work(ctx, each, inOrder)
	}
	group, gctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error { return w.work(gctx, each, inOrder) })
	}
	return group.Wait()
}

// walk deals out the windows of a file.
type walk struct {
	f *File

	mu   sync.Mutex
	seg  int
	in   int64 // offset in segment seg
	off  int64
	disk int64         // up to where the disk was asked
	prev chan struct{} // closed when the last window dealt out has been seen in order
}

// next fills w with the next window of the file; ok is false at its end. Turn is closed when it is this
// window's turn, and the caller closes done after it.
func (k *walk) next(w *window) (turn <-chan struct{}, done chan struct{}, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	segs := k.f.m.Segments
	w.off, w.parts = k.off, w.parts[:0]
	n := 0
	for k.seg < len(segs) && n < passWindow {
		seg := &segs[k.seg]
		take := min(int64(passWindow-n), seg.Length-k.in)
		if n > 0 && take < seg.Length-k.in {
			break // a long segment begins a window of its own, so that its windows are whole blocks
		}
		w.parts = append(w.parts, part{seg: seg, in: k.in, buf: w.buf[n : n+int(take)]})
		n += int(take)
		if k.in += take; k.in == seg.Length {
			k.seg, k.in = k.seg+1, 0
		}
	}
	if n == 0 {
		return nil, nil, false
	}
	w.buf = w.buf[:n]
	k.off += int64(n)
	if k.disk-k.off < diskAhead*3/4 && k.disk < k.f.m.Size {
		from := max(k.disk, w.off)
		k.disk = k.off + diskAhead
		k.f.fetch(span{from, k.disk})
	}
	turn, done = k.prev, make(chan struct{})
	k.prev = done
	return turn, done, true
}

// work decodes windows until there are none left.
func (k *walk) work(ctx context.Context, each, inOrder func(*window) error) error {
	s := k.f.s
	sc := s.getScratch()
	defer s.putScratch(sc)
	var w window
	for {
		more, err := k.one(ctx, sc, &w, each, inOrder)
		if err != nil || !more {
			return err
		}
	}
}

// one does one window. The token is taken before the window: a window that waits for its turn waits only for ones that have a
// token too.
func (k *walk) one(ctx context.Context, sc *scratch, w *window, each, inOrder func(*window) error) (more bool, err error) {
	s := k.f.s
	select {
	case s.passes <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-s.passes }()
	buf := s.windows.Get().(*[]byte)
	defer s.windows.Put(buf)
	w.buf = *buf
	turn, done, ok := k.next(w)
	if !ok {
		return false, nil
	}
	for i := range w.parts {
		p := &w.parts[i]
		if p.err = k.f.decodePart(ctx, sc, p); ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	if err := each(w); err != nil {
		return false, err
	}
	if inOrder == nil {
		return true, nil
	}
	select {
	case <-turn:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := inOrder(w); err != nil {
		return false, err
	}
	close(done)
	return true, nil
}

// decodePart fills the part's buffer.
func (f *File) decodePart(ctx context.Context, sc *scratch, p *part) error {
	seg := p.seg
	if seg.Blob.IsZero() {
		copy(p.buf, seg.Inline[p.in:])
		return nil
	}
	return f.s.withMeta(ctx, seg.Blob, func(m *blobMeta) error {
		if m.info.RawSize != seg.Length {
			return wrongLength(seg.Blob, m.info.RawSize, seg.Length)
		}
		return f.s.decodeRange(ctx, sc, 0, m, p.buf, p.in)
	})
}

func wrongLength(id oid.ID, have, want int64) error {
	return corrupt(id, "has %d bytes, the manifest says %d", have, want)
}
