// Package oid defines the content id of everything Coral stores. Sum and Hasher make those of blobs and whole files: plain
// BLAKE3-256 of their bytes. Objects have ids of another function, BLAKE3-256 in derive-key mode (vcs/object.Sum), so that a file
// which holds the bytes of an object cannot take its place. Values are comparable and may be used as map keys.
package oid

import (
	"encoding/hex"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"coral/internal/errs"
)

// Size is the length of an ID in bytes.
const Size = 32

// ShortLen is the number of hex digits shown where a person reads an id.
const ShortLen = 12

// ID is a BLAKE3-256 digest. The zero ID stands for "none".
type ID [Size]byte

// Sum returns the id of a blob whose bytes are b.
func Sum(b []byte) ID { return blake3.Sum256(b) }

// Parse reads a full id of 64 hex digits, of either case.
func Parse(s string) (ID, error) {
	var id ID
	if len(s) != 2*Size {
		return id, fmt.Errorf("id %q: want %d hex digits, got %d: %w", s, 2*Size, len(s), errs.Invalid)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("id %q: %w", s, errs.Invalid)
	}
	return id, nil
}

// FromBytes copies b, which must be Size bytes long.
func FromBytes(b []byte) (ID, error) {
	var id ID
	if len(b) != Size {
		return id, fmt.Errorf("id of %d bytes: %w", len(b), errs.Invalid)
	}
	copy(id[:], b)
	return id, nil
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the 64 hex digits of id.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first ShortLen hex digits of id.
func (id ID) Short() string { return id.String()[:ShortLen] }

// MarshalText implements encoding.TextMarshaler: 64 hex digits, or nothing for the zero ID.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	got, err := Parse(string(b))
	if err == nil {
		*id = got
	}
	return err
}

// Hasher computes an ID over a stream. It is used by one goroutine at a time.
type Hasher struct{ h *blake3.Hasher }

// NewHasher returns an empty Hasher.
func NewHasher() *Hasher { return &Hasher{h: blake3.New()} }

var _ io.Writer = (*Hasher)(nil)

// Write adds p to the hashed stream. It never fails.
func (h *Hasher) Write(p []byte) (int, error) { return h.h.Write(p) }

// Sum returns the id of what was written since the last Reset.
func (h *Hasher) Sum() ID {
	var id ID
	h.h.Sum(id[:0])
	return id
}

// Reset forgets what was written.
func (h *Hasher) Reset() { h.h.Reset() }
