// Package local is the store of a repository on disk: packs and their index as one objstore.Reader and objstore.Writer.
package local

import (
	"context"
	"log/slog"

	"coral/internal/oid"
	"coral/objstore"
)

// Options of Open.
type Options struct {
	ReadOnly bool         // no file is created or changed
	PackSize int64        // a pack is sealed when it has grown past this; 0 means 256 MiB
	Logger   *slog.Logger // nil: silent
}

// Store is an open store. It must be closed.
type Store struct{}

// Open opens the store in dir (which holds packs/ and index.db), creating it if it is empty. It recovers: frames that a killed process
// appended and did not index are indexed, a torn tail is cut, an index that is missing or unreadable is rebuilt from the packs.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) { panic("unwritten") }

// Close syncs and closes the store.
func (s *Store) Close() error { panic("unwritten") }

// Has reports whether id is stored.
func (s *Store) Has(id oid.ID) bool { panic("unwritten") }

// Stat implements objstore.Reader.
func (s *Store) Stat(id oid.ID) (objstore.Info, error) { panic("unwritten") }

// Get implements objstore.Reader.
func (s *Store) Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error) {
	panic("unwritten")
}

// ReadPayload implements objstore.Reader.
func (s *Store) ReadPayload(ctx context.Context, info objstore.Info, p []byte, off int64) error {
	panic("unwritten")
}

// Put implements objstore.Writer.
func (s *Store) Put(ctx context.Context, rec objstore.Record) error { panic("unwritten") }

// Sync implements objstore.Writer.
func (s *Store) Sync(ctx context.Context) error { panic("unwritten") }

// Prefix returns up to limit ids of the given kind that begin with the hex digits of prefix (at least 4), in order.
func (s *Store) Prefix(kind objstore.Kind, prefix string, limit int) ([]oid.ID, error) {
	panic("unwritten")
}

// ForEach calls fn for every record of kind (0: every kind), in id order, until fn returns an error, which it returns. It holds no lock over fn.
func (s *Store) ForEach(ctx context.Context, kind objstore.Kind, fn func(objstore.Info) error) error {
	panic("unwritten")
}

// Hint returns the value last set for key, or nil. Hints are small and best effort: a rebuilt index has lost them.
func (s *Store) Hint(key []byte) []byte { panic("unwritten") }

// SetHint remembers value for key; it becomes durable with the next Sync.
func (s *Store) SetHint(key, value []byte) { panic("unwritten") }

// Stats are totals over the store.
type Stats struct {
	Packs      int
	PackBytes  int64 // on disk
	IndexBytes int64
	Records    map[string]int64 // by kind name
	Deltas     int64            // blobs with a base
	MaxDepth   int
	BlobRaw    int64 // sum of RawSize over blobs
	BlobStored int64
}

// Stats returns totals; it scans the index.
func (s *Store) Stats(ctx context.Context) (Stats, error) { panic("unwritten") }

// CollectResult says what Collect did.
type CollectResult struct {
	Dropped        int64 // records
	FreedBytes     int64
	PacksRemoved   int
	PacksRewritten int
}

// Collect drops the records for which live is false, by rewriting the packs in which at least a quarter is dead (all packs with any dead record if full)
// and then removing the old ones. The caller guarantees that no Put happens meanwhile and that live is closed under bases. Readers are not disturbed.
// Safe under kill -9 at any point. With dryRun it only counts.
func (s *Store) Collect(ctx context.Context, live func(oid.ID) bool, full, dryRun bool) (CollectResult, error) {
	panic("unwritten")
}

// Damage is one finding of Check.
type Damage struct {
	Pack   string // file name, or "" for the index
	Offset int64
	ID     oid.ID // zero if unknown
	Detail string
}

// Check verifies the structure of packs and index and the checksum of every frame, calling report for each finding.
func (s *Store) Check(ctx context.Context, report func(Damage)) error { panic("unwritten") }

// RebuildIndex replaces the index of the closed store in dir by one made from its packs alone.
func RebuildIndex(ctx context.Context, dir string, opts Options) (records int64, damage []Damage, err error) {
	panic("unwritten")
}
