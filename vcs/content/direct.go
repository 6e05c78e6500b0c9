package content

import (
	"context"

	"coral/delta"
)

// Long reads of blobs without a base are decoded straight into the reader's buffer: the kernel asks for a sequential reader's next requests before it needs them, so that several
// are decoded at a time, and a block that went through the cache would be copied once more and push out what readers at random come back for. The blocks at either end of the range,
// which the neighbouring reads need too, go through the cache; and blobs with a base, since the blobs beside them often have the same one.

// standsAlone says whether the blob's blocks are decoded from nothing but what is stored of them.
func (m *blobMeta) standsAlone() bool {
	c := m.codec()
	return c != delta.FrameRaw && c != delta.FrameZstd && m.info.Base.IsZero()
}

// readLong fills p with the bytes from off of a blob that stands alone.
func (s *Store) readLong(ctx context.Context, m *blobMeta, p []byte, off int64) error {
	n := m.blockLen()
	from, to := (off+n-1)/n*n, off+int64(len(p))
	if to < m.info.RawSize {
		to = to / n * n
	}
	if from >= to {
		return s.copyBlocks(ctx, m, p, off, readHot)
	}
	if err := s.copyBlocks(ctx, m, p[:from-off], off, readHot); err != nil {
		return err
	}
	if err := s.decodeDirect(ctx, m, p[from-off:to-off], from); err != nil {
		return err
	}
	return s.copyBlocks(ctx, m, p[to-off:], to, readHot)
}

// decodeDirect decodes whole blocks of a blob, in a few reads at a time over all files.
func (s *Store) decodeDirect(ctx context.Context, m *blobMeta, p []byte, off int64) error {
	select {
	case s.directs <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.directs }()
	sc := s.getScratch()
	defer s.putScratch(sc)
	return s.decodeRange(ctx, sc, 0, m, p, off)
}
