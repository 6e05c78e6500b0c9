package content

import (
	"coral/delta"
	"coral/internal/oid"
	"coral/objstore"
)

// prefetcher is what a Backend may be besides: told of bytes that are read soon, it has them read without anybody waiting.
type prefetcher interface {
	// Prefetch is for n bytes of a payload from off; what is outside the payload is left out.
	Prefetch(info objstore.Info, off, n int64)
}

const (
	diskAhead  = 32 << 20 // raw bytes before a sequential reader for which the disk is asked
	fetchQueue = 16
)

type fetchTask struct {
	f *File
	span
}

// fetch has the disk read what is stored of a range of the file. It is called with locks held, and by readers: so it only queues.
func (f *File) fetch(w span) {
	if w.to = min(w.to, f.m.Size); w.from >= w.to || f.s.disk == nil {
		return
	}
	select {
	case f.s.fetches <- fetchTask{f, w}:
	default:
	}
}

// fetcher asks the disk until the store is closed.
func (s *Store) fetcher() {
	for {
		select {
		case t := <-s.fetches:
			t.f.fetchNow(t.span)
		case <-s.ctx.Done():
			return
		}
	}
}

// fetchAt is for a read at random: the disk is asked for all links of a chain at once, where decoding would wait for one after the other. A blob that stands
// alone is read at once anyway.
func (f *File) fetchAt(off, n int64) {
	if f.s.disk == nil {
		return
	}
	i, start := f.segment(off)
	seg := &f.m.Segments[i]
	if seg.Blob.IsZero() {
		return
	}
	if m := f.s.metas.get(seg.Blob); m != nil && (m.info.Base.IsZero() || f.s.blocks.has(keyOf(m, int((off-start)/m.blockLen())))) {
		return
	}
	in := (off - start) / delta.BlockSize * delta.BlockSize
	f.s.fetchBlob(seg.Blob, in, min((off+n-start+delta.BlockSize-1)/delta.BlockSize*delta.BlockSize, seg.Length))
}

func (f *File) fetchNow(w span) {
	i, start := f.segment(w.from)
	for at := w.from; at < w.to && f.s.ctx.Err() == nil; i++ {
		seg := &f.m.Segments[i]
		stop := min(w.to, start+seg.Length)
		if !seg.Blob.IsZero() {
			f.s.fetchBlob(seg.Blob, at-start, stop-start)
		}
		start += seg.Length
		at = stop
	}
}

// fetchBlob asks for the bytes from to to of a blob and of the bases under it. Where they are stored is guessed from the proportion, for
// headers need not have been read yet: what is missed or too much costs a little time.
func (s *Store) fetchBlob(id oid.ID, from, to int64) { s.fetchChain(id, from, to, delta.MaxDepth+1) }

// fetchChain is fetchBlob for a chain of so many links at most.
func (s *Store) fetchChain(id oid.ID, from, to int64, links int) {
	for ; links > 0; links-- {
		info, err := s.b.Stat(id)
		if err != nil || info.RawSize <= 0 || info.RawSize > delta.MaxBlob || info.Stored < 0 || info.Stored > objstore.MaxPayload {
			return // the reader will say what is wrong
		}
		lo, hi := info.Stored*from/info.RawSize, info.Stored*to/info.RawSize+headerGuess
		s.disk.Prefetch(info, lo, hi-lo)
		if lo > 0 && s.metas.get(id) == nil {
			s.disk.Prefetch(info, 0, headerGuess)
		}
		if info.Base.IsZero() {
			return
		}
		if delta.FrameCodec(info.Codec) == delta.FrameDerived {
			s.fetchSources(id, from, to, links-1)
			return
		}
		id = info.Base
	}
}

// fetchSources asks for what a derived blob is computed from, if its recipe is known yet; whoever reads its first block makes it so.
func (s *Store) fetchSources(id oid.ID, from, to int64, links int) {
	m := s.metas.get(id)
	if m == nil || m.recipe == nil {
		return
	}
	from = from / delta.BlockSize * delta.BlockSize
	if to = min(to, m.recipe.Len()); from >= to {
		return
	}
	for _, need := range m.recipe.Needs(nil, from, to-from) {
		s.fetchChain(m.recipe.Sources[need.Source], need.Off, need.Off+need.Len, links)
	}
}
