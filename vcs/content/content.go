// Package content is where delta meets objstore: it cuts a file into blobs, stores them, and gives any byte of it back.
package content

import (
	"context"
	"io"
	"log/slog"
	"os"

	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// Backend is what the content store needs of objstore/local.
type Backend interface {
	objstore.Reader
	objstore.Writer
	Has(id oid.ID) bool
	Hint(key []byte) []byte
	SetHint(key, value []byte)
}

// Options of New.
type Options struct {
	CacheBytes int64 // decoded blocks kept in memory; 0 means 64 MiB
	Workers    int   // parallel encoders and decoders; 0 means GOMAXPROCS
	Logger     *slog.Logger
}

// Store writes and reads file content. Safe for concurrent use.
type Store struct{}

// New returns a Store. Close it.
func New(b Backend, objects *object.Store, opts Options) *Store { panic("unwritten") }

// Close ends the workers. Files must not be used afterwards.
func (s *Store) Close() error { panic("unwritten") }

// Hint tells Ingest where to look for bases.
type Hint struct {
	Path string // path in the tree, for names and logs
	Prev oid.ID // manifest of the same path in the head commit; zero if none
}

// IngestResult says what a file cost.
type IngestResult struct {
	Manifest oid.ID
	Size     int64
	New      int64 // payload bytes appended to packs
}

// Ingest reads size bytes of r once, front to back, in bounded memory, cuts them at tensor boundaries (whatever fails to parse becomes content-defined chunks), stores what is new and
// returns the manifest. r may change meanwhile: the manifest describes exactly the bytes that were read. A short read is an error.
// Nothing is durable before Sync of the backend.
func (s *Store) Ingest(ctx context.Context, r io.ReaderAt, size int64, hint Hint) (IngestResult, error) {
	panic("unwritten")
}

// Open returns a reader of the file that manifest describes.
func (s *Store) Open(ctx context.Context, manifest oid.ID) (*File, error) { panic("unwritten") }

// File reads one stored file. Safe for concurrent use. It needs no closing.
type File struct{}

// Size returns the file's length.
func (f *File) Size() int64 { panic("unwritten") }

// Manifest returns the file's manifest; do not modify it.
func (f *File) Manifest() *object.Manifest { panic("unwritten") }

// ReadAt fills p from off, as io.ReaderAt, decoding only the blocks touched (and, when reads look sequential, the ones after them ahead of time).
// Damage is errs.Corrupt and names the blob.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { panic("unwritten") }

// Materialize writes the whole content to dst (at offset 0, whose file it truncates to size) with parallel decoding. The block checksums are verified; with verify, the file's BLAKE3 too.
func (f *File) Materialize(ctx context.Context, dst *os.File, verify bool) error { panic("unwritten") }

// Verify reads everything, checks every blob's id and the file's BLAKE3, and reports each damaged blob.
func (f *File) Verify(ctx context.Context, report func(blob oid.ID, err error)) error {
	panic("unwritten")
}

// BlobBytes returns the raw bytes of a blob (at most delta.MaxBlob), verified against its id.
func (s *Store) BlobBytes(ctx context.Context, id oid.ID) ([]byte, error) { panic("unwritten") }

// DropCache empties the decoded-block cache.
func (s *Store) DropCache() { panic("unwritten") }
