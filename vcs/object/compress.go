package object

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"coral/delta"
	"coral/internal/errs"
)

// minCompress is the length below which a zstd frame cannot pay.
const minCompress = 64

// codec compresses and decompresses whole objects. EncodeAll and DecodeAll are safe for concurrent use and start no goroutine.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithSingleSegment(true)) // a single segment always tells its size
	if err != nil {
		panic(err) // a wrong constant above
	}
	// A frame never makes the decoder allocate more than the capacity that decompress gives it.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(MaxEncoded))
	if err != nil {
		panic(err)
	}
	return codec{enc, dec}
}

// compress returns the smaller of raw and its zstd frame.
func (c codec) compress(raw []byte) (delta.FrameCodec, []byte) {
	if len(raw) < minCompress {
		return delta.FrameRaw, raw
	}
	if z := c.enc.EncodeAll(raw, make([]byte, 0, len(raw))); len(z) < len(raw) {
		return delta.FrameZstd, z
	}
	return delta.FrameRaw, raw
}

// decompress returns the rawSize bytes that payload stands for.
func (c codec) decompress(fc delta.FrameCodec, payload []byte, rawSize int64) ([]byte, error) {
	if rawSize < 0 || rawSize > MaxEncoded {
		return nil, fmt.Errorf("says %d bytes, at most %d: %w", rawSize, MaxEncoded, errs.Corrupt)
	}
	switch fc {
	case delta.FrameRaw:
		if int64(len(payload)) != rawSize {
			return nil, fmt.Errorf("%d bytes, want %d: %w", len(payload), rawSize, errs.Corrupt)
		}
		return payload, nil
	case delta.FrameZstd:
		var h zstd.Header
		if err := h.Decode(payload); err != nil || !h.HasFCS || h.FrameContentSize != uint64(rawSize) {
			return nil, fmt.Errorf("zstd frame of %d bytes, want one of %d: %w", h.FrameContentSize, rawSize, errs.Corrupt)
		}
		out, err := c.dec.DecodeAll(payload, make([]byte, 0, rawSize))
		if err != nil || int64(len(out)) != rawSize {
			return nil, fmt.Errorf("zstd gives %d bytes, want %d (%v): %w", len(out), rawSize, err, errs.Corrupt)
		}
		return out, nil
	}
	return nil, fmt.Errorf("codec %d is not one for objects: %w", fc, errs.Unsupported)
}
