// Package object holds the immutable objects of a repository (manifest, tree, commit, tag), their one
// deterministic encoding, and a typed view of the store that reads and writes them.
//
// An object's bytes are a kind byte (objstore.Kind), a version byte, and core-deterministic CBOR (RFC 8949 §4.2.1); layout.go
// has the fields. Its id is the BLAKE3-256 of all of these in derive-key mode (Sum), so that no file content, which
// a user or an attacker chooses, can have the id of an object: the two would otherwise be taken for one record.
// Readers refuse unknown versions by name. Decoding is bounded, and accepts only the bytes that Encode writes.
package object

import (
	"fmt"
	"sort"
	"time"

	"coral/delta/format/dtype"
	"coral/internal/oid"
)

// FileKind is the kind of a tree entry. Stored: append only.
type FileKind uint8

// The kinds that a commit can hold.
const (
	File    FileKind = 1
	Dir     FileKind = 2
	Symlink FileKind = 3
)

// String returns "file", "dir" or "symlink".
func (k FileKind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "dir"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Limits of one object. A decoder refuses more, and so does a Put.
const (
	MaxInline  = 4096      // bytes of one inline segment
	MaxEntries = 1 << 22   // of a tree; also segments of a manifest
	MaxTensors = 1 << 20   // of a manifest
	MaxName    = 255       // bytes of an entry's name
	MaxTarget  = 4095      // bytes of a link target, as Linux
	MaxDims    = 64        // of a tensor
	MaxText    = 1 << 20   // bytes of a message, author, metric or label, of a tensor's name or a format
	MaxParents = 64        // of a commit
	MaxFacts   = 1 << 16   // metrics, and labels, of a commit
	MaxEncoded = 256 << 20 // bytes of an encoded object
)

// Manifest says how a file is put together. Segments follow each other and cover the file exactly.
type Manifest struct {
	Size     int64
	Hash     oid.ID // BLAKE3-256 of the whole file
	Format   string // a name of delta/format
	Segments []Segment
	Tensors  []Tensor
}

// Segment is a run of bytes of a file: a whole blob, or inline bytes.
type Segment struct {
	Blob   oid.ID // zero if Inline
	Length int64  // at least 1
	Inline []byte // at most MaxInline bytes
}

// Tensor is one row of a file's tensor table.
type Tensor struct {
	Name   string
	DType  dtype.Kind
	Shape  []int64 // outermost first; nil for a 0-d tensor
	Offset int64   // in the file
	Length int64
	Stride []int64 // in elements, nil when contiguous
}

// Entry is one name in a tree.
type Entry struct {
	Name   string
	Kind   FileKind
	Mode   uint32    // permission bits, 07777
	MTime  time.Time // nanoseconds kept, years 1678 to 2261 (others are clamped); zero for directories
	Size   int64     // of a file, or of a link's target; 0 for a directory
	ID     oid.ID    // manifest of a file, tree of a directory, zero for a symlink
	Target string    // of a symlink
}

// Tree is a directory: entries sorted by name (bytewise), names unique, not "", ".", "..", without "/" or NUL.
type Tree struct{ Entries []Entry }

// Find returns the entry called name.
func (t *Tree) Find(name string) (Entry, bool) {
	i := sort.Search(len(t.Entries), func(i int) bool { return t.Entries[i].Name >= name })
	if i < len(t.Entries) && t.Entries[i].Name == name {
		return t.Entries[i], true
	}
	return Entry{}, false
}

// Commit is a snapshot of a tree.
type Commit struct {
	Tree    oid.ID
	Parents []oid.ID
	Author  string // "Name <email>"
	Time    time.Time
	Message string
	Metrics map[string]float64 // NaN and infinities included
	Labels  map[string]string
}

// Tag is an annotated tag.
type Tag struct {
	Target  oid.ID // a commit
	Tagger  string
	Time    time.Time
	Message string
}

// SameContent says whether two entries (nil: nothing is there) are alike in all but their times, which nobody changes on purpose.
func SameContent(a, b *Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.ID == b.ID && a.Mode == b.Mode && a.Target == b.Target
}
