package content

import (
	"context"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"coral/delta"
	"coral/internal/oid"
)

// unzipper is made when first needed: this package writes no blob as one zstd frame, but the format allows them.
var unzipper = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(delta.MaxBlob), zstd.WithDecodeAllCapLimit(true))
})

// unzip decodes a blob stored as one zstd frame into dst, and compares it with its id.
func (s *Store) unzip(ctx context.Context, m *blobMeta, dst []byte) error {
	payload := make([]byte, m.info.Stored)
	if err := s.readPayload(ctx, m, payload, 0); err != nil {
		return err
	}
	dec, err := unzipper()
	if err != nil {
		return fmt.Errorf("decode blob %s: %w", m.info.ID, err)
	}
	// The output is bounded by dst: a frame that holds more is an error and not an allocation.
	raw, err := dec.DecodeAll(payload, dst[:0:len(dst)])
	if err != nil {
		return corrupt(m.info.ID, "zstd frame: %v", err)
	}
	if got := oid.Sum(raw); got != m.info.ID || len(raw) != len(dst) {
		return corrupt(m.info.ID, "zstd frame holds %d bytes with id %s", len(raw), got)
	}
	copy(dst, raw) // the same memory, unless the decoder used its own
	return nil
}
