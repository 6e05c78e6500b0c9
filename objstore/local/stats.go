package local

import (
	"context"
	"errors"

	"coral/internal/errs"
	"coral/objstore"
)

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
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st := Stats{Records: map[string]int64{}}
	packs, err := listPacks(s.env.fs, s.packDir, true)
	if err != nil {
		return st, err
	}
	for _, n := range packs {
		size, err := s.env.fs.Size(s.packPath(n))
		if errors.Is(err, errs.NotFound) {
			continue // collected a moment ago
		}
		if err != nil {
			return st, err
		}
		st.Packs++
		st.PackBytes += size
	}
	if s.ix != nil {
		st.IndexBytes = s.ix.Size()
	}
	err = s.ForEach(ctx, 0, func(info objstore.Info) error {
		st.Records[info.Kind.String()]++
		if info.Kind != objstore.Blob {
			return nil
		}
		st.BlobRaw += info.RawSize
		st.BlobStored += info.Stored
		st.MaxDepth = max(st.MaxDepth, int(info.Depth))
		if !info.Base.IsZero() {
			st.Deltas++
		}
		return nil
	})
	return st, err
}
