package delta

import (
	"fmt"
	"slices"

	"coral/delta/lit"
	"coral/internal/errs"
)

// MaxObject is the largest object that is compressed, and the largest that DecompressObject makes of a
// compressed payload.
const MaxObject = 256 << 20

// minObject is the length below which a zstd frame cannot pay.
const minObject = 48

// CompressObject appends the smaller of raw and its zstd frame to dst, for objects that are read whole. It may be
// called from several goroutines.
func CompressObject(dst, raw []byte) (payload []byte, codec FrameCodec) {
	if len(raw) >= minObject && len(raw) <= MaxObject {
		c := lit.Get()
		defer lit.Put(c)
		if out := c.Compress(dst, raw); len(out)-len(dst) < len(raw) {
			return out, FrameZstd
		}
	}
	return append(dst, raw...), FrameRaw
}

// DecompressObject appends the rawSize bytes that the payload stands for to dst. A payload of any other length, or
// damaged, is errs.Corrupt; no more than rawSize is allocated. It may be called from several goroutines.
func DecompressObject(dst, payload []byte, codec FrameCodec, rawSize int) ([]byte, error) {
	switch codec {
	case FrameRaw:
		if len(payload) != rawSize {
			return dst, corrupt("raw object", "%d bytes, want %d", len(payload), rawSize)
		}
		return append(dst, payload...), nil
	case FrameZstd:
		if rawSize < 0 || rawSize > MaxObject {
			return dst, corrupt("compressed object", "raw size %d", rawSize)
		}
		if n, ok := lit.ContentSize(payload); ok && n != uint64(rawSize) {
			return dst, corrupt("compressed object", "frame of %d bytes, want %d", n, rawSize)
		}
		n := len(dst)
		dst = slices.Grow(dst, rawSize)[:n+rawSize]
		c := lit.Get()
		defer lit.Put(c)
		if err := c.Decompress(dst[n:], payload); err != nil {
			return dst[:n], corrupt("compressed object", "%v", err)
		}
		return dst, nil
	}
	return dst, fmt.Errorf("decompress object: frame codec %d: %w", codec, errs.Unsupported)
}
