package content

import (
	"context"
	"errors"
	"fmt"

	"coral/delta"
	"coral/internal/oid"
)

// Decoding through the block cache, for readers at random.

// readBlob fills p with the bytes of blob id from off; the manifest says that the blob has length bytes, and that is checked.
func (s *Store) readBlob(ctx context.Context, id oid.ID, p []byte, off, length int64) error {
	return s.withMeta(ctx, id, func(m *blobMeta) error {
		if m.info.RawSize != length {
			return wrongLength(id, m.info.RawSize, length)
		}
		if len(p) >= LongRead && m.standsAlone() {
			return s.readLong(ctx, m, p, off)
		}
		return s.copyBlocks(ctx, m, p, off, readHot)
	})
}

// maxRawBlock is the largest raw frame that is cached as one block. Longer ones are read from the pack, that is from the kernel's page cache.
const maxRawBlock = 256 << 10

// copyBlocks fills p from off by way of the cache.
func (s *Store) copyBlocks(ctx context.Context, m *blobMeta, p []byte, off int64, prio priority) error {
	if m.codec() == delta.FrameRaw && m.info.RawSize > maxRawBlock {
		return s.readRaw(ctx, m, p, off)
	}
	blockLen := m.blockLen()
	for len(p) > 0 {
		i := int(off / blockLen)
		b, err := s.block(ctx, m, i, prio)
		if err != nil {
			return err
		}
		n := copy(p, b.data[off-int64(i)*blockLen:])
		s.blocks.release(b)
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// block returns block i of a blob, pinned and decoded.
func (s *Store) block(ctx context.Context, m *blobMeta, i int, prio priority) (*block, error) {
	b, _, err := s.fetchBlock(ctx, m, i, prio)
	return b, err
}

// fetchBlock is block, and says whether the caller was the one who decoded it.
func (s *Store) fetchBlock(ctx context.Context, m *blobMeta, i int, prio priority) (b *block, decoded bool, err error) {
	for {
		b, fill := s.blocks.acquire(keyOf(m, i), prio)
		if fill {
			err := s.fillBlock(ctx, m, i, b, prio)
			return b, true, err
		}
		err := s.blocks.wait(ctx, b)
		if err == nil {
			s.count.cacheHits.Add(1)
			return b, false, nil
		}
		if ctx.Err() != nil || !canceled(err) {
			return nil, false, err
		}
		// The goroutine that decoded it was called off; we were not.
	}
}

// errAbandoned is what those who wait for a block see when its decoder panicked.
var errAbandoned = errors.New("decoder ended without a result")

// fillBlock decodes a block that acquire has left to the caller. On an error the block is unpinned.
func (s *Store) fillBlock(ctx context.Context, m *blobMeta, i int, b *block, prio priority) (err error) {
	s.count.cacheMisses.Add(1)
	err = errAbandoned
	defer func() {
		if err != nil { // also while panicking: nobody may wait for ever
			s.blocks.fail(b, err)
		}
	}()
	data, derr := s.decodeOne(ctx, m, i)
	if err = derr; err == nil {
		s.blocks.fill(b, data, prio)
	}
	return err
}

// decodeOne decodes block i into a buffer for the cache.
func (s *Store) decodeOne(ctx context.Context, m *blobMeta, i int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := getBlockBuffer(m.blockRaw(i))
	if err := s.decodeInto(ctx, m, i, buf); err != nil {
		putBlockBuffer(buf)
		return nil, err
	}
	s.count.blocksDecoded.Add(1)
	s.count.bytesDecoded.Add(int64(len(buf)))
	return buf, nil
}

func (s *Store) decodeInto(ctx context.Context, m *blobMeta, i int, dst []byte) error {
	switch m.codec() {
	case delta.FrameRaw:
		return s.readRaw(ctx, m, dst, 0)
	case delta.FrameZstd:
		return s.unzip(ctx, m, dst)
	}
	blk := m.hdr.Block(i)
	base, done, err := s.baseBlock(ctx, m, i, blk)
	if err != nil {
		return err
	}
	defer done()
	sc := s.getScratch()
	defer s.putScratch(sc)
	stored, _, err := s.readStored(ctx, sc, m, i, i)
	if err != nil {
		return err
	}
	if err := sc.dec.DecodeBlock(m.hdr, i, dst, stored, base); err != nil {
		return fmt.Errorf("block %d of blob %s: %w", i, m.info.ID, err)
	}
	return nil
}

// baseBlock returns the base's bytes under block i, valid until done is called. Depth falls with each link, so the recursion ends after
// at most delta.MaxDepth steps.
func (s *Store) baseBlock(ctx context.Context, m *blobMeta, i int, blk delta.Block) (base []byte, done func(), err error) {
	done = func() {}
	if !blk.NeedsBase {
		return nil, done, nil
	}
	off := int64(i) * m.blockLen()
	if m.recipe != nil {
		buf := getBlockBuffer(blk.Raw)
		if err := s.evalBlock(ctx, m, buf, off); err != nil {
			putBlockBuffer(buf)
			return nil, done, err
		}
		return buf, func() { putBlockBuffer(buf) }, nil
	}
	err = s.withBase(ctx, m, off+int64(blk.Raw), func(bm *blobMeta) error {
		if n := bm.blockLen(); bm.codec() != delta.FrameRaw && off/n == (off+int64(blk.Raw)-1)/n { // one block of the base holds it: no copy
			b, err := s.block(ctx, bm, int(off/n), readCold)
			if err != nil {
				return err
			}
			base, done = b.data[off%n:][:blk.Raw], func() { s.blocks.release(b) }
			return nil
		}
		buf := getBlockBuffer(blk.Raw)
		if err := s.copyBlocks(ctx, bm, buf, off, readCold); err != nil {
			putBlockBuffer(buf)
			return err
		}
		base, done = buf, func() { putBlockBuffer(buf) }
		return nil
	})
	return base, done, err
}
