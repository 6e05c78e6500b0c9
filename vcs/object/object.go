// Package object holds the immutable objects of a repository (manifest, tree, commit, tag), their one
// deterministic encoding, and a typed view of the store that reads and writes them.
//
// An object's bytes are a kind byte (objstore.Kind), a version byte, and core-deterministic CBOR (RFC 8949 §4.2.1);
// its id is the BLAKE3-256 of all of these. Readers refuse unknown versions by name. Decoders are bounded and fuzzed.
package object

import (
	"context"
	"time"

	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
)

// FileKind is the kind of a tree entry. Stored: append only.
type FileKind uint8

// The kinds that a commit can hold.
const (
	File    FileKind = 1
	Dir     FileKind = 2
	Symlink FileKind = 3
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
	Length int64
	Inline []byte // at most MaxInline bytes
}

// MaxInline bounds the bytes of one inline segment.
const MaxInline = 4096

// Tensor is one row of a file's tensor table.
type Tensor struct {
	Name   string
	DType  dtype.Kind
	Shape  []int64
	Offset int64 // in the file
	Length int64
	Stride []int64 // in elements, nil when contiguous
}

// Entry is one name in a tree.
type Entry struct {
	Name   string
	Kind   FileKind
	Mode   uint32    // permission bits, 07777
	MTime  time.Time // nanoseconds kept; zero for directories
	Size   int64     // of a file, or of a link's target
	ID     oid.ID    // manifest of a file, tree of a directory, zero for a symlink
	Target string    // of a symlink
}

// Tree is a directory: entries sorted by name (bytewise), names unique, not "", ".", "..", without "/" or NUL.
type Tree struct{ Entries []Entry }

// Find returns the entry called name.
func (t *Tree) Find(name string) (Entry, bool) { panic("unwritten") }

// Commit is a snapshot of a tree.
type Commit struct {
	Tree    oid.ID
	Parents []oid.ID
	Author  string // "Name <email>"
	Time    time.Time
	Message string
	Metrics map[string]float64
	Labels  map[string]string
}

// Tag is an annotated tag.
type Tag struct {
	Target  oid.ID // a commit
	Tagger  string
	Time    time.Time
	Message string
}

// Backend is what Store needs of the record store: objstore.Reader and objstore.Writer without Sync.
type Backend interface {
	Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error)
	Put(ctx context.Context, rec objstore.Record) error
}

// Store reads and writes objects. It compresses with zstd where that helps, verifies ids on read, and keeps a
// bounded cache of decoded trees and manifests. Safe for concurrent use. What it returns is shared: do not modify.
type Store struct{}

// NewStore returns a Store over b that caches up to cacheBytes of decoded objects (0: 32 MiB).
func NewStore(b Backend, cacheBytes int64) *Store { panic("unwritten") }

// Manifest returns the manifest id; an id of another kind is errs.Invalid.
func (s *Store) Manifest(ctx context.Context, id oid.ID) (*Manifest, error) { panic("unwritten") }

// Tree returns the tree id.
func (s *Store) Tree(ctx context.Context, id oid.ID) (*Tree, error) { panic("unwritten") }

// Commit returns the commit id.
func (s *Store) Commit(ctx context.Context, id oid.ID) (*Commit, error) { panic("unwritten") }

// Tag returns the tag object id.
func (s *Store) Tag(ctx context.Context, id oid.ID) (*Tag, error) { panic("unwritten") }

// Any returns id decoded, whatever its kind: *Manifest, *Tree, *Commit or *Tag. A blob is errs.Invalid.
func (s *Store) Any(ctx context.Context, id oid.ID) (objstore.Kind, any, error) { panic("unwritten") }

// PutManifest stores m and returns its id. Invalid objects (unsorted, not covering, out of bounds) are errs.Invalid.
func (s *Store) PutManifest(ctx context.Context, m *Manifest) (oid.ID, error) { panic("unwritten") }

// PutTree stores t.
func (s *Store) PutTree(ctx context.Context, t *Tree) (oid.ID, error) { panic("unwritten") }

// PutCommit stores c.
func (s *Store) PutCommit(ctx context.Context, c *Commit) (oid.ID, error) { panic("unwritten") }

// PutTag stores t.
func (s *Store) PutTag(ctx context.Context, t *Tag) (oid.ID, error) { panic("unwritten") }
