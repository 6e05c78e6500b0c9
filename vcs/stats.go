package vcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// Stats are totals; JSON names are a promise.
type Stats struct {
	LogicalBytes  int64   `json:"logical_bytes"` // sum of file sizes over all commits reachable from refs
	UniqueBytes   int64   `json:"unique_bytes"`  // sum of raw sizes of blobs, and of the distinct files small enough to be inline in their manifests
	StoredBytes   int64   `json:"stored_bytes"`  // packs and index on disk
	SavedRatio    float64 `json:"saved_ratio"`   // 1 - stored/logical; 0 if nothing is committed
	Commits       int64   `json:"commits"`
	Branches      int64   `json:"branches"`
	Tags          int64   `json:"tags"`
	Files         int64   `json:"files"` // over all commits
	Blobs         int64   `json:"blobs"`
	Deltas        int64   `json:"deltas"`
	MaxChainDepth int     `json:"max_chain_depth"`
	Packs         int     `json:"packs"`
	SpoolBytes    int64   `json:"spool_bytes"`
	CacheBytes    int64   `json:"cache_bytes"`
}

// Stats computes totals. Trees shared between commits are walked once.
func (r *Repo) Stats(ctx context.Context) (Stats, error) {
	s, err := r.stats(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stats: %w", err)
	}
	return s, nil
}

func (r *Repo) stats(ctx context.Context) (Stats, error) {
	var s Stats
	if err := r.countNames(&s); err != nil {
		return s, err
	}
	tips, err := r.tips()
	if err != nil {
		return s, err
	}
	totals := treeTotals{r: r, known: map[oid.ID]total{}, inline: map[oid.ID]bool{}}
	err = r.eachCommit(ctx, tips, nil, func(_ oid.ID, c *object.Commit) (bool, error) {
		t, err := totals.of(ctx, c.Tree, 0)
		s.Commits++
		s.Files += t.files
		s.LogicalBytes += t.bytes
		return true, err
	})
	if err != nil {
		return s, err
	}
	p, err := r.Packs.Stats(ctx)
	if err != nil {
		return s, err
	}
	s.UniqueBytes, s.StoredBytes, s.Packs = p.BlobRaw+totals.inlineBytes, p.PackBytes+p.IndexBytes, p.Packs
	s.Blobs, s.Deltas, s.MaxChainDepth = p.Records[objstore.Blob.String()], p.Deltas, p.MaxDepth
	if s.LogicalBytes > 0 {
		s.SavedRatio = 1 - float64(s.StoredBytes)/float64(s.LogicalBytes)
	}
	s.SpoolBytes = r.Live.Spool().Bytes
	s.CacheBytes, err = treeBytes(filepath.Join(r.Dir, "cache"))
	return s, err
}

func (r *Repo) countNames(s *Stats) error {
	branches, err := r.Refs.Branches()
	if err != nil {
		return err
	}
	tags, err := r.Refs.Tags()
	s.Branches, s.Tags = int64(len(branches)), int64(len(tags))
	return err
}

type total struct{ files, bytes int64 }

// treeTotals remembers the totals of every tree it has walked.
type treeTotals struct {
	r     *Repo
	known map[oid.ID]total

	inline      map[oid.ID]bool // files whose bytes are in their manifests, and so in no blob
	inlineBytes int64           // of them
}

func (w *treeTotals) of(ctx context.Context, id oid.ID, depth int) (total, error) {
	if t, ok := w.known[id]; ok {
		return t, nil
	}
	if err := ctx.Err(); err != nil {
		return total{}, err
	}
	if depth > maxDepth {
		return total{}, fmt.Errorf("tree %s: more than %d levels: %w", id.Short(), maxDepth, errs.TooLarge)
	}
	tree, err := w.r.Objects.Tree(ctx, id)
	if err != nil {
		return total{}, err
	}
	var sum total
	for i := range tree.Entries {
		e := &tree.Entries[i]
		t := total{1, e.Size}
		if e.Kind == object.Dir {
			if t, err = w.of(ctx, e.ID, depth+1); err != nil {
				return total{}, err
			}
		} else if e.Kind == object.File && e.Size <= object.MaxInline && !w.inline[e.ID] {
			w.inline[e.ID] = true
			w.inlineBytes += e.Size
		}
		sum.files += t.files
		sum.bytes += t.bytes
	}
	w.known[id] = sum
	return sum, nil
}

// treeBytes returns the sizes of all files below dir, 0 if there is none.
func treeBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n, err
}
