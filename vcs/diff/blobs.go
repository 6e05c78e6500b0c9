package diff

import (
	"context"
	"fmt"
	"math"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// BlobSet is what a side takes in storage, each blob once.
type BlobSet struct {
	IDs     []oid.ID
	Lengths []int64 // raw bytes of each
	Bytes   int64   // of all; what is inline in manifests, such as headers, does not count
	Whole   bool    // all files are stored; else the others are missing here
}

// NoNumber is the Number that does not exist.
func NoNumber() Number { return Number(math.NaN()) }

// Blobs lists the blobs of a side, at most limit of them. Files and directories that occur twice are read once.
func Blobs(ctx context.Context, objects *object.Store, t Tree, limit int) (BlobSet, error) {
	b := &blobWalk{ctx: ctx, objects: objects, t: t, limit: limit, seen: map[oid.ID]bool{}}
	b.out.Whole = true
	root, err := t.Root(ctx)
	if err == nil {
		err = b.node(root, 0)
	}
	return b.out, err
}

type blobWalk struct {
	ctx     context.Context
	objects *object.Store
	t       Tree
	limit   int
	seen    map[oid.ID]bool // of blobs, manifests and trees
	out     BlobSet
}

func (b *blobWalk) node(n Node, depth int) error {
	if n.Kind == object.Symlink || !n.ID.IsZero() && b.seen[n.ID] {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("directories deeper than %d: %w", maxDepth, errs.Invalid)
	}
	b.seen[n.ID] = true
	if n.Kind == object.Dir {
		list, err := b.t.List(b.ctx, n)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := b.node(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if n.ID.IsZero() {
		b.out.Whole = false
		return nil
	}
	m, err := b.objects.Manifest(b.ctx, n.ID)
	if err != nil {
		return err
	}
	for i := range m.Segments {
		s := &m.Segments[i]
		if !s.Blob.IsZero() && !b.seen[s.Blob] {
			if len(b.out.IDs) == b.limit {
				return fmt.Errorf("more than %d blobs on a side: narrow it to a directory: %w", b.limit, errs.TooLarge)
			}
			b.seen[s.Blob] = true
			b.out.IDs, b.out.Lengths, b.out.Bytes = append(b.out.IDs, s.Blob), append(b.out.Lengths, s.Length), b.out.Bytes+s.Length
		}
	}
	return nil
}
