// Package objstore keeps immutable, content-addressed records: frames in pack files, found through
// an index. It knows kinds, ids, sizes and bases, and nothing of codecs or of what a record means.
package objstore

import (
	"context"

	"coral/internal/oid"
)

// Kind is the kind of a record. Stored in frames: append only.
type Kind uint8

// The kinds.
const (
	Blob     Kind = 1
	Manifest Kind = 2
	Tree     Kind = 3
	Commit   Kind = 4
	Tag      Kind = 5
)

// String returns the lower-case name of k.
func (k Kind) String() string {
	switch k {
	case Blob:
		return "blob"
	case Manifest:
		return "manifest"
	case Tree:
		return "tree"
	case Commit:
		return "commit"
	case Tag:
		return "tag"
	}
	return "unknown"
}

// MaxPayload bounds the payload of one frame, in bytes. A frame that says more is corrupt.
const MaxPayload = 64 << 20

// Record is one record as it is put: its payload is already coded.
type Record struct {
	Kind    Kind
	ID      oid.ID // of the raw bytes
	Codec   uint16 // meaning belongs to the writer (delta.FrameCodec)
	DType   uint8  // meaning belongs to the writer (dtype.Kind); 0 if none
	Depth   uint8  // 0, or greater than the base's; the base's + 1 when it was put
	RawSize int64  // length of the raw bytes
	Base    oid.ID // zero if none
	Payload []byte // at most MaxPayload
}

// Info is what the index knows of a stored record.
type Info struct {
	Kind    Kind
	ID      oid.ID
	Codec   uint16
	DType   uint8
	Depth   uint8
	RawSize int64
	Stored  int64  // bytes of the payload
	Base    oid.ID // zero if none
	Pack    uint64 // pack number
	Offset  int64  // of the payload in the pack
}

// Reader finds and reads records. Its methods may be called from any number of goroutines.
// A missing id is errs.NotFound, damage is errs.Corrupt.
type Reader interface {
	Stat(id oid.ID) (Info, error)
	// Get returns the whole payload, its frame checksum verified. The caller owns it.
	Get(ctx context.Context, id oid.ID) (Info, []byte, error)
	// ReadPayload fills p from the payload of info at off, or fails: no short success. The frame's checksum is
	// not verified: the caller's block checksums are.
	ReadPayload(ctx context.Context, info Info, p []byte, off int64) error
}

// Writer adds records.
type Writer interface {
	// Put stores rec unless its id is there already. When it returns, the record is visible to readers of this
	// process and survives the death of the process, not a power cut. rec.Payload is not kept. A store that failed a write refuses
	// every later one with the first error, except after ENOSPC, from which it recovers by cutting the torn frame.
	Put(ctx context.Context, rec Record) error
	// Sync makes everything put so far durable: packs synced, then the index.
	Sync(ctx context.Context) error
}
