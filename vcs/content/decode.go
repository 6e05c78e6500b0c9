package content

import (
	"context"
	"fmt"

	"coral/delta"
	"coral/internal/oid"
)

// Decoding past the block cache, for passes over whole blobs. A range is decoded in windows: for each, the same range of the base first (and so
// down the chain), then the stored bytes of its blocks in one read. What it needs is a window for each link of the chain, whatever the blob's size,
// and each block of the chain is decoded once.
const decodeWindow = 512 << 10

// scratch is the working memory of one decoding goroutine.
type scratch struct {
	dec    *delta.Decoder
	stored []byte
	edge   []byte
	levels [delta.MaxDepth + 1][]byte // bases' bytes, by how far down the chain
	inputs [delta.MaxDepth + 1]input  // of recipes, likewise
}

func (s *Store) getScratch() *scratch { return s.scratch.Get().(*scratch) }
func (s *Store) putScratch(c *scratch) {
	for i := range c.inputs {
		c.inputs[i].trim()
	}
	s.scratch.Put(c)
}

// sized returns *b with length n, grown if need be; its bytes are whatever they were.
func sized(b *[]byte, n int) []byte {
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return *b
}

// BlobBytes returns the raw bytes of a blob (at most delta.MaxBlob), verified against its id.
func (s *Store) BlobBytes(ctx context.Context, id oid.ID) ([]byte, error) {
	m, err := s.meta(ctx, id)
	if err != nil {
		return nil, err
	}
	b := make([]byte, m.info.RawSize)
	if err := s.decodeBlob(ctx, id, b); err != nil {
		return nil, err
	}
	if got := oid.Sum(b); got != id {
		return nil, corrupt(id, "decoded bytes have id %s", got)
	}
	return b, nil
}

// decodeBlob fills dst, as long as the blob, with its bytes; the block checksums are verified, the id is not.
func (s *Store) decodeBlob(ctx context.Context, id oid.ID, dst []byte) error {
	sc := s.getScratch()
	defer s.putScratch(sc)
	return s.withMeta(ctx, id, func(m *blobMeta) error {
		if m.info.RawSize != int64(len(dst)) {
			return corrupt(id, "%d bytes, not %d", m.info.RawSize, len(dst))
		}
		return s.decodeRange(ctx, sc, 0, m, dst, 0)
	})
}

// decodeRange fills dst with the bytes of the blob from off. level is how far down a chain the blob is.
func (s *Store) decodeRange(ctx context.Context, sc *scratch, level int, m *blobMeta, dst []byte, off int64) error {
	end := off + int64(len(dst))
	if off < 0 || end > m.info.RawSize {
		return corrupt(m.info.ID, "has %d bytes, wanted up to %d", m.info.RawSize, end)
	}
	switch m.codec() {
	case delta.FrameRaw:
		return s.readRaw(ctx, m, dst, off)
	case delta.FrameZstd:
		return s.copyBlocks(ctx, m, dst, off, readHot)
	}
	blockLen := m.blockLen()
	window := max(decodeWindow, blockLen)
	for at := off; at < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		stop := min(end, at/window*window+window)
		if err := s.decodeBlocks(ctx, sc, level, m, dst[at-off:stop-off], at); err != nil {
			return err
		}
		at = stop
	}
	return nil
}

// decodeBlocks is decodeRange for a range of one window of a blob with blocks.
func (s *Store) decodeBlocks(ctx context.Context, sc *scratch, level int, m *blobMeta, dst []byte, off int64) error {
	id, blockLen := m.info.ID, m.blockLen()
	first, last := int(off/blockLen), int((off+int64(len(dst))-1)/blockLen)
	base, baseOff, err := s.decodeBase(ctx, sc, level, m, first, last)
	if err != nil {
		return err
	}
	stored, storedOff, err := s.readStored(ctx, sc, m, first, last)
	if err != nil {
		return err
	}
	for i := first; i <= last; i++ {
		blk := m.hdr.Block(i)
		start := int64(i) * blockLen
		var p, b []byte
		if blk.Stored > 0 {
			p = stored[blk.Offset-storedOff:][:blk.Stored]
		}
		if blk.NeedsBase {
			b = base[start-baseOff:][:blk.Raw]
		}
		lo, hi := max(off, start), min(off+int64(len(dst)), start+int64(blk.Raw))
		whole := lo == start && hi == start+int64(blk.Raw)
		out := dst[lo-off : hi-off]
		if !whole {
			out = sized(&sc.edge, blk.Raw)
		}
		if err := sc.dec.DecodeBlock(m.hdr, i, out, p, b); err != nil {
			return fmt.Errorf("block %d of blob %s: %w", i, id, err)
		}
		if !whole {
			copy(dst[lo-off:hi-off], out[lo-start:])
		}
		s.count.blocksDecoded.Add(1)
		s.count.bytesDecoded.Add(int64(blk.Raw))
	}
	return nil
}

// decodeBase returns the base's bytes for those of the blocks first to last that need it, and where in the blob they begin.
func (s *Store) decodeBase(ctx context.Context, sc *scratch, level int, m *blobMeta, first, last int) ([]byte, int64, error) {
	lo, hi := int64(-1), int64(0)
	for i := first; i <= last; i++ {
		if blk := m.hdr.Block(i); blk.NeedsBase {
			start := int64(i) * m.blockLen()
			if lo < 0 {
				lo = start
			}
			hi = start + int64(blk.Raw)
		}
	}
	if lo < 0 {
		return nil, 0, nil
	}
	if m.recipe != nil {
		buf := sized(&sc.levels[level], int(hi-lo))
		return buf, lo, s.evalRange(ctx, sc, level, m, buf, lo)
	}
	var buf []byte
	err := s.withBase(ctx, m, hi, func(bm *blobMeta) error {
		buf = sized(&sc.levels[level], int(hi-lo))
		return s.decodeRange(ctx, sc, level+1, bm, buf, lo)
	})
	return buf, lo, err
}

// withBase calls fn with the head of m's base, after checking that it reaches to need and that the chain goes on downwards.
func (s *Store) withBase(ctx context.Context, m *blobMeta, need int64, fn func(*blobMeta) error) error {
	id := m.info.ID
	if m.info.Base.IsZero() {
		return corrupt(id, "a block needs a base, and there is none")
	}
	err := s.withMeta(ctx, m.info.Base, func(bm *blobMeta) error {
		switch {
		case bm.info.Depth >= m.info.Depth:
			return corrupt(id, "depth %d on a base of depth %d", m.info.Depth, bm.info.Depth)
		case bm.info.RawSize < need:
			return corrupt(id, "needs %d bytes of a base of %d", need, bm.info.RawSize)
		}
		return fn(bm)
	})
	if err != nil {
		return fmt.Errorf("base of blob %s: %w", id, err)
	}
	return nil
}

// readStored reads the stored bytes of the blocks first to last in one go, and returns them with their offset after the recipe.
func (s *Store) readStored(ctx context.Context, sc *scratch, m *blobMeta, first, last int) ([]byte, int64, error) {
	lo, hi, sum := int64(-1), int64(0), int64(0)
	for i := first; i <= last; i++ {
		blk := m.hdr.Block(i)
		if blk.Stored == 0 {
			continue
		}
		if blk.Offset < 0 || blk.Stored < 0 || blk.Offset+int64(blk.Stored) > m.info.Stored-m.body {
			return nil, 0, corrupt(m.info.ID, "block %d is outside the payload", i)
		}
		if lo < 0 || blk.Offset < lo {
			lo = blk.Offset
		}
		hi = max(hi, blk.Offset+int64(blk.Stored))
		sum += int64(blk.Stored)
	}
	if lo < 0 {
		return nil, 0, nil
	}
	if hi-lo != sum { // blocks follow each other in every payload that an Encoder wrote
		return nil, 0, corrupt(m.info.ID, "blocks %d to %d are not adjacent", first, last)
	}
	if m.payload != nil {
		return m.payload[lo:hi], lo, nil
	}
	buf := sized(&sc.stored, int(sum))
	if err := s.b.ReadPayload(ctx, m.info, buf, m.body+lo); err != nil {
		return nil, 0, fmt.Errorf("read blob %s: %w", m.info.ID, err)
	}
	return buf, lo, nil
}

// readRaw fills dst from a raw frame. It has no block checksums, so before its first byte is given out the whole is compared
// with the id, once for as long as the head stays cached.
func (s *Store) readRaw(ctx context.Context, m *blobMeta, dst []byte, off int64) error {
	if off == 0 && int64(len(dst)) == m.info.RawSize {
		if err := s.readPayload(ctx, m, dst, 0); err != nil {
			return err
		}
		if m.checked.Load() {
			return nil
		}
		if got := oid.Sum(dst); got != m.info.ID {
			return corrupt(m.info.ID, "raw frame has id %s", got)
		}
		m.checked.Store(true)
		return nil
	}
	if err := s.checkRaw(ctx, m); err != nil {
		return err
	}
	return s.readPayload(ctx, m, dst, off)
}

func (s *Store) readPayload(ctx context.Context, m *blobMeta, p []byte, off int64) error {
	if err := s.b.ReadPayload(ctx, m.info, p, off); err != nil {
		return fmt.Errorf("read blob %s: %w", m.info.ID, err)
	}
	return nil
}

// checkRaw compares a raw frame with its id, reading it in windows.
func (s *Store) checkRaw(ctx context.Context, m *blobMeta) error {
	if m.checked.Load() {
		return nil
	}
	m.checkMu.Lock()
	defer m.checkMu.Unlock()
	if m.checked.Load() {
		return nil
	}
	h := oid.NewHasher()
	buf := make([]byte, min(decodeWindow, m.info.RawSize))
	for at := int64(0); at < m.info.RawSize; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), m.info.RawSize-at)]
		if err := s.readPayload(ctx, m, buf, at); err != nil {
			return err
		}
		if _, err := h.Write(buf); err != nil {
			return err
		}
	}
	if got := h.Sum(); got != m.info.ID {
		return corrupt(m.info.ID, "raw frame has id %s", got)
	}
	m.checked.Store(true)
	return nil
}
