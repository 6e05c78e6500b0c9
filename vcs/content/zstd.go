package content

import (
	"context"

	"coral/delta"
	"coral/internal/oid"
)

// unzip decodes a blob stored as one zstd frame into dst, and compares it with its id. This package writes no blob so, but the format
// allows them.
func (s *Store) unzip(ctx context.Context, m *blobMeta, dst []byte) error {
	payload := make([]byte, m.info.Stored)
	if err := s.readPayload(ctx, m, payload, 0); err != nil {
		return err
	}
	raw, err := delta.DecompressObject(dst[:0:len(dst)], payload, delta.FrameZstd, len(dst))
	if err != nil {
		return corrupt(m.info.ID, "zstd frame: %v", err)
	}
	if got := oid.Sum(raw); got != m.info.ID {
		return corrupt(m.info.ID, "zstd frame holds %d bytes with id %s", len(raw), got)
	}
	return nil
}
