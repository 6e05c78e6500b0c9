package vcs

import (
	"context"
	"fmt"
	"sort"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// baseTable finds the extents of tensors in the commits that a compaction keeps, by path and name or by name alone. The first that is added counts.
type baseTable struct {
	byPath, byName map[baseKey]oid.ID
}

type baseKey struct {
	path, tensor string
	dt           dtype.Kind
	extent       int
}

// find implements content.Approximation.Bases.
func (b *baseTable) find(path, tensor string, dt dtype.Kind, extent int) (ids []oid.ID) {
	k := baseKey{path, tensor, dt, extent}
	if id, ok := b.byPath[k]; ok {
		ids = append(ids, id)
	}
	k.path = ""
	if id, ok := b.byName[k]; ok && (len(ids) == 0 || ids[0] != id) {
		ids = append(ids, id)
	}
	return ids
}

// addTree adds the files of a tree.
func (b *baseTable) addTree(ctx context.Context, r *Repo, id oid.ID, dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("tree %s: %d directories deep: %w", id.Short(), depth, errs.TooLarge)
	}
	t, err := r.tree(ctx, id)
	if err != nil {
		return err
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		switch p := join(dir, e.Name); e.Kind {
		case object.Dir:
			err = b.addTree(ctx, r, e.ID, p, depth+1)
		case object.File:
			err = b.addFile(ctx, r, e.ID, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFile adds the tensors of a file that begin a blob.
func (b *baseTable) addFile(ctx context.Context, r *Repo, id oid.ID, path string) error {
	m, err := r.Objects.Manifest(ctx, id)
	if err != nil {
		return err
	}
	if b.byPath == nil {
		b.byPath, b.byName = map[baseKey]oid.ID{}, map[baseKey]oid.ID{}
	}
	starts, at := make([]int64, len(m.Segments)), int64(0)
	for i := range m.Segments {
		starts[i] = at
		at += m.Segments[i].Length
	}
	for i := range m.Tensors {
		t := &m.Tensors[i]
		seg := sort.Search(len(starts), func(i int) bool { return starts[i] >= t.Offset })
		for k := 0; seg < len(starts) && starts[seg] == t.Offset+int64(k)*delta.MaxBlob && starts[seg] < t.Offset+t.Length; k, seg = k+1, seg+1 {
			blob := m.Segments[seg].Blob
			if blob.IsZero() {
				break
			}
			key := baseKey{path, t.Name, t.DType, k}
			if _, ok := b.byPath[key]; !ok {
				b.byPath[key] = blob
			}
			key.path = ""
			if _, ok := b.byName[key]; !ok {
				b.byName[key] = blob
			}
		}
	}
	return nil
}
