package vcs

import (
	"context"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// Usage is how much a part of a tree takes. JSON names are a promise.
type Usage struct {
	Files   int64 `json:"files"`
	Logical int64 `json:"logical_bytes"` // as ls -l counts
	Unique  int64 `json:"unique_bytes"`  // raw bytes of distinct blobs, and what is inline in distinct manifests
	Stored  int64 `json:"stored_bytes"`  // what distinct blobs, manifests and trees take in packs; bases of deltas only if they belong to it
}

// PathUsage is the usage of one path.
type PathUsage struct {
	Path  string // from the root of the commit
	Kind  object.FileKind
	Usage Usage
}

// UsageOf measures what lies at path in a tree, and each path below it down to depth levels: children before their directory, the path itself last.
// What several files share counts once in each directory that has them.
func (r *Repo) UsageOf(ctx context.Context, tree oid.ID, path string, depth int) ([]PathUsage, error) {
	top, err := r.Lookup(ctx, tree, path)
	if err != nil {
		return nil, fmt.Errorf("du: %w", err)
	}
	d := &meter{r: r, depth: depth, files: map[oid.ID]*meterFile{}, records: map[oid.ID]recordSize{}}
	sum := newTally()
	if err := d.entry(ctx, top, path, 0, sum); err != nil {
		return nil, fmt.Errorf("du %s: %w", path, err)
	}
	return d.out, nil
}

// CommitUsage is the usage of one commit.
type CommitUsage struct {
	ID     oid.ID
	Commit *object.Commit
	Usage  Usage // of path in it
	Added  Usage // of it, what none of its ancestors that were looked at has; Files and Logical count files whose content is new
}

// UsageOfCommits measures path in commits, of which no commit may come after one of its ancestors (as Log gives them); a commit without path takes nothing.
func (r *Repo) UsageOfCommits(ctx context.Context, commits []oid.ID, path string, progress func(done int)) ([]CommitUsage, error) {
	d := &meter{r: r, depth: -1, files: map[oid.ID]*meterFile{}, records: map[oid.ID]recordSize{}}
	all := newTally()
	out := make([]CommitUsage, len(commits))
	for n := range commits {
		i := len(commits) - 1 - n // the oldest first: what is new is its
		c, err := r.Objects.Commit(ctx, commits[i])
		if err != nil {
			return nil, fmt.Errorf("du: %w", err)
		}
		out[i] = CommitUsage{ID: commits[i], Commit: c}
		top, err := r.Lookup(ctx, c.Tree, path)
		if isNone(err) {
			continue
		}
		own := newTally()
		if err == nil {
			err = d.entry(ctx, top, path, 0, own)
		}
		if err != nil {
			return nil, fmt.Errorf("du %s: %w", commits[i].Short(), err)
		}
		out[i].Usage = own.sum
		out[i].Added = all.take(d, own)
		if progress != nil {
			progress(n + 1)
		}
	}
	return out, nil
}

// isNone reports that a path is not there.
func isNone(err error) bool { return errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir) }

// meter measures. It remembers what manifests consist of.
type meter struct {
	r       *Repo
	depth   int
	out     []PathUsage
	files   map[oid.ID]*meterFile
	records map[oid.ID]recordSize
}

type recordSize struct{ raw, stored int64 }

type meterFile struct {
	inline int64
	blobs  []oid.ID
}

// tally is a sum that counts each record once.
type tally struct {
	sum  Usage
	seen map[oid.ID]int64 // records, with the logical bytes that a manifest has had here
}

func newTally() *tally { return &tally{seen: map[oid.ID]int64{}} }

// take adds what another tally has seen, and returns how much of it is new.
func (t *tally) take(d *meter, other *tally) Usage {
	was := t.sum
	for id := range other.seen {
		if _, ok := t.seen[id]; ok {
			continue
		}
		t.seen[id] = 0
		t.sum.Stored += d.records[id].stored
		if f := d.files[id]; f != nil {
			t.sum.Unique += f.inline
			t.sum.Files++
			t.sum.Logical += other.seen[id]
		} else {
			t.sum.Unique += d.records[id].raw
		}
	}
	return Usage{t.sum.Files - was.Files, t.sum.Logical - was.Logical, t.sum.Unique - was.Unique, t.sum.Stored - was.Stored}
}

// merge adds a part of a tree.
func (t *tally) merge(d *meter, part *tally) {
	sum := t.sum
	t.take(d, part)
	t.sum.Files, t.sum.Logical = sum.Files+part.sum.Files, sum.Logical+part.sum.Logical // files count each time
}

// record counts one record. Trees count no raw bytes.
func (d *meter) record(t *tally, id oid.ID, raw bool, logical int64) error {
	if _, ok := t.seen[id]; ok {
		return nil
	}
	size, ok := d.records[id]
	if !ok {
		info, err := d.r.Packs.Stat(id)
		if err != nil {
			return err
		}
		size.stored = info.Stored
		if raw {
			size.raw = info.RawSize
		}
		d.records[id] = size
	}
	t.seen[id] = logical
	t.sum.Unique += size.raw
	t.sum.Stored += size.stored
	return nil
}

// entry measures an entry into sum, and lists it if it is high enough.
func (d *meter) entry(ctx context.Context, e object.Entry, at string, level int, sum *tally) error {
	part := sum
	if level <= d.depth {
		part = newTally()
	}
	if err := d.inside(ctx, e, at, level, part); err != nil {
		return err
	}
	if part != sum {
		d.out = append(d.out, PathUsage{at, e.Kind, part.sum})
		sum.merge(d, part)
	}
	return nil
}

func (d *meter) inside(ctx context.Context, e object.Entry, at string, level int, sum *tally) error {
	switch e.Kind {
	case object.File:
		if err := d.file(ctx, e, sum); err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		fallthrough
	default:
		sum.sum.Files++
		sum.sum.Logical += e.Size
		return nil
	case object.Dir:
	}
	if level > maxDepth {
		return fmt.Errorf("%q: more than %d levels: %w", at, maxDepth, errs.TooLarge)
	}
	if err := ctx.Err(); err != nil || e.ID.IsZero() {
		return err
	}
	t, err := d.r.Objects.Tree(ctx, e.ID)
	if err == nil {
		err = d.record(sum, e.ID, false, 0)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	for _, c := range t.Entries {
		if err := d.entry(ctx, c, join(at, c.Name), level+1, sum); err != nil {
			return err
		}
	}
	return nil
}

// file counts a file's manifest and blobs.
func (d *meter) file(ctx context.Context, e object.Entry, sum *tally) error {
	if _, ok := sum.seen[e.ID]; ok {
		return nil
	}
	f := d.files[e.ID]
	if f == nil {
		m, err := d.r.Objects.Manifest(ctx, e.ID)
		if err != nil {
			return err
		}
		f = &meterFile{}
		for _, s := range m.Segments {
			if s.Blob.IsZero() {
				f.inline += s.Length
			} else {
				f.blobs = append(f.blobs, s.Blob)
			}
		}
		d.files[e.ID] = f
	}
	if err := d.record(sum, e.ID, false, e.Size); err != nil {
		return err
	}
	sum.sum.Unique += f.inline
	for _, b := range f.blobs {
		if err := d.record(sum, b, true, 0); err != nil {
			return err
		}
	}
	return nil
}
