// Package delta turns a blob's bytes, alone or against a base, into a payload of
// independently decodable blocks, and back. It is pure: no I/O, no goroutines.
package delta

import (
	"coral/delta/format/dtype"
)

// BlockSize is the raw size of a block of typed data: a page fault decodes one.
const BlockSize = 64 << 10

// MaxBlob is the largest blob that is encoded; longer tensors are cut into extents of this size.
const MaxBlob = 16 << 20

// MaxDepth is the longest chain of deltas: a blob of depth 0 has no base.
const MaxDepth = 8

// FrameCodec says how the payload of a stored frame is coded as a whole. Permanent; docs/format.md.
type FrameCodec uint16

const (
	FrameRaw    FrameCodec = 0 // payload is the bytes
	FrameZstd   FrameCodec = 1 // payload is one zstd frame (objects: trees, manifests, commits)
	FrameBlocks FrameCodec = 2 // payload is a block header, tables and blocks: Header

	// FrameDerived is a recipe (package derive) followed by a payload as of FrameBlocks, whose base is what the recipe computes.
	FrameDerived FrameCodec = 3
)

// Encoder encodes blobs. It is used by one goroutine at a time and reuses its scratch
// memory, so steady-state encoding does not allocate per block.
type Encoder struct{ encoderState }

// NewEncoder returns an Encoder.
func NewEncoder(opts ...Option) *Encoder { return newEncoder(opts) }

// Result says what Encode chose.
type Result struct {
	Codec    FrameCodec
	UsesBase bool // some block needs the base; if false the frame must be stored without one
}

// Encode appends the coded form of raw to dst. base is nil or the base blob's raw bytes, of any
// length: a block may use the base only where the base covers the whole block. Every block
// has been decoded and compared with raw when Encode returns; the payload is never larger than
// raw + raw/1000 + 64. len(raw) <= MaxBlob. raw and base are not modified or kept.
func (e *Encoder) Encode(dst, raw, base []byte, dt dtype.Kind) ([]byte, Result, error) {
	return e.encode(dst, raw, base, dt)
}

// Estimate returns the approximate payload size of raw against base (nil: alone), from a few sampled
// blocks, to choose among candidate bases.
func (e *Encoder) Estimate(raw, base []byte, dt dtype.Kind) int64 { return e.estimate(raw, base, dt) }

// PrefixLen is how many bytes of a FrameBlocks payload HeaderLen needs.
const PrefixLen = 16

// HeaderLen returns the length of the header (index and tables included) of a FrameBlocks payload, from
// its first PrefixLen bytes. It is bounded by payloadLen or an error (errs.Corrupt).
func HeaderLen(prefix []byte, payloadLen int64) (int64, error) { return headerLen(prefix, payloadLen) }

// Header is the parsed head of a FrameBlocks payload. It is immutable and may be shared by goroutines.
type Header struct{ headerState }

// ParseHeader parses the first HeaderLen bytes of a payload of payloadLen bytes. It copies what it keeps.
func ParseHeader(b []byte, payloadLen int64) (*Header, error) { return parseHeader(b, payloadLen) }

// RawSize returns the length of the decoded blob.
func (h *Header) RawSize() int64 { return h.rawSize() }

// BlockLen returns the raw length of every block but the last, a power of two.
func (h *Header) BlockLen() int64 { return h.blockLen() }

// Blocks returns the number of blocks.
func (h *Header) Blocks() int { return h.blocks() }

// Block describes one stored block.
type Block struct {
	Offset    int64 // in the payload
	Stored    int   // stored bytes at Offset; may be 0 (constant, same as base)
	Raw       int   // decoded bytes
	NeedsBase bool  // the decoder must be given the base's bytes of the same range
}

// Block returns block i, 0 <= i < Blocks().
func (h *Header) Block(i int) Block { return h.block(i) }

// Decoder decodes blocks. It is used by one goroutine at a time.
type Decoder struct{ decoderState }

// NewDecoder returns a Decoder.
func NewDecoder() *Decoder { return newDecoder() }

// DecodeBlock decodes block i of h into dst, whose length is Block(i).Raw. stored is Block(i).Stored bytes of
// the payload; base is the base blob's raw bytes of the block's range if NeedsBase. The decoded bytes
// are compared with the block's checksum: a mismatch, or any malformed input, is errs.Corrupt and never a panic.
func (d *Decoder) DecodeBlock(h *Header, i int, dst, stored, base []byte) error {
	return d.decodeBlock(h, i, dst, stored, base)
}
