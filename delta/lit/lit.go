// Package lit codes bytes without element structure (headers, text, unknown files,
// integers) with zstd: one frame, without checksum, whose decoded length the caller knows.
package lit

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ErrSize is returned when a frame does not decode to the length it must have.
var ErrSize = errors.New("zstd frame decodes to another length")

// window is the largest match distance: the largest block is 256 KiB, objects may be longer.
const window = 1 << 20

// Coder compresses and decompresses. It is used by one goroutine at a time and starts no
// other; its memory is allocated at first use.
type Coder struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// Compress appends the frame of raw to dst.
func (c *Coder) Compress(dst, raw []byte) []byte {
	if c.enc == nil {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		c.enc = enc
	}
	return c.enc.EncodeAll(raw, dst)
}

// Decompress fills dst from frame, which must decode to exactly len(dst) bytes.
func (c *Coder) Decompress(dst, frame []byte) error {
	if c.dec == nil {
		// DecodeAll never writes beyond the capacity of dst; a frame that says more is an error.
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err) // the options are constants
		}
		c.dec = dec
	}
	out, err := c.dec.DecodeAll(frame, dst[:0:len(dst)])
	if err != nil {
		return err
	}
	if len(out) != len(dst) || len(out) > 0 && &out[0] != &dst[0] {
		return ErrSize
	}
	return nil
}

// ContentSize returns the decoded length that the frame states; ok is false if it states none.
func ContentSize(frame []byte) (n uint64, ok bool) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil || !h.HasFCS {
		return 0, false
	}
	return h.FrameContentSize, true
}

var pool = sync.Pool{New: func() any { return new(Coder) }}

// Get lends a Coder, for callers without one of their own; Put takes it back.
func Get() *Coder { return pool.Get().(*Coder) }

// Put takes back a Coder that Get lent.
func Put(c *Coder) { pool.Put(c) }
