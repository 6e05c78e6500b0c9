package vcs

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"coral/delta"
	"coral/internal/natural"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
)

// member is a blob in its family: the extents of a tensor, by name, dtype, length and place in it, over all commits and files.
type member struct {
	family uint64
	blob   int32
}

// familyWalk collects members in the order newest to oldest: of commits, and in one commit of files by their paths, where a greater number is newer.
type familyWalk struct {
	r       *Repo
	g       *baseGraph
	match   func(path string) bool
	seen    map[oid.ID]struct{} // trees and manifests
	members []member
}

// families returns the members of all families of what the commits reach, family by family, each newest first.
func (w *familyWalk) families(ctx context.Context, tips []oid.ID) ([]member, error) {
	w.seen = map[oid.ID]struct{}{}
	err := w.r.eachCommit(ctx, tips, nil, func(_ oid.ID, c *object.Commit) (bool, error) {
		return true, w.tree(ctx, c.Tree, "", 0)
	})
	if err != nil {
		return nil, err
	}
	w.seen = nil
	slices.SortStableFunc(w.members, func(a, b member) int { return cmp.Compare(a.family, b.family) })
	return w.members, nil
}

func (w *familyWalk) tree(ctx context.Context, id oid.ID, dir string, depth int) error {
	if id.IsZero() || depth > maxDepth || w.known(id, dir) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := w.r.Objects.Tree(ctx, id)
	if err != nil {
		return err
	}
	order := make([]int, len(t.Entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return natural.Compare(t.Entries[b].Name, t.Entries[a].Name) })
	for _, i := range order {
		e := &t.Entries[i]
		switch p := join(dir, e.Name); e.Kind {
		case object.Dir:
			err = w.tree(ctx, e.ID, p, depth+1)
		case object.File:
			if (w.match == nil || w.match(p)) && !w.known(e.ID, "") {
				err = w.file(ctx, e.ID)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// known reports whether id was walked, and notes it. With a match a tree counts as another one at another path.
func (w *familyWalk) known(id oid.ID, dir string) bool {
	if w.match != nil && dir != "" {
		id = oid.Sum(append(id[:], dir...))
	}
	if _, ok := w.seen[id]; ok {
		return true
	}
	w.seen[id] = struct{}{}
	return false
}

func (w *familyWalk) file(ctx context.Context, id oid.ID) error {
	m, err := w.r.Objects.Manifest(ctx, id)
	if err != nil || len(m.Tensors) == 0 {
		return err
	}
	starts := make(map[int64]int, len(m.Segments))
	at := int64(0)
	for i := range m.Segments {
		starts[at] = i
		at += m.Segments[i].Length
	}
	for i := range m.Tensors {
		t := &m.Tensors[i]
		for k := int64(0); k*delta.MaxBlob < t.Length; k++ {
			seg, ok := starts[t.Offset+k*delta.MaxBlob]
			if !ok || !content.TakesBase(t.Name, m.Segments[seg].Length) {
				continue
			}
			w.add(t, k, m.Segments[seg].Blob)
		}
	}
	return nil
}

// add makes a blob a member. Adam's first moment is one only if ingest found a base for it, since some of it is zeros: otherwise trying is in vain.
func (w *familyWalk) add(t *object.Tensor, extent int64, id oid.ID) {
	b := w.g.find(id)
	if id.IsZero() || b == noBlob || w.g.flags[b]&(flagMember|flagFixed) != 0 || w.g.base[b] == noBlob && content.FirstMoment(t.Name) {
		return
	}
	w.g.flags[b] |= flagMember
	w.members = append(w.members, member{familyKey(t, extent), b})
}

func familyKey(t *object.Tensor, extent int64) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(t.Name) // never fails
	n := []byte{0, byte(t.DType)}
	for _, v := range [...]int64{t.Length, extent} {
		for range 8 {
			n = append(n, byte(v))
			v >>= 8
		}
	}
	_, _ = d.Write(n)
	return d.Sum64()
}

// globMatch returns what tells whether a path matches glob: as a whole if glob has a slash, else by its last component.
func globMatch(glob string) (func(string) bool, error) {
	if _, err := path.Match(glob, ""); err != nil {
		return nil, err
	}
	return func(p string) bool {
		if !strings.Contains(glob, "/") {
			p = path.Base(p)
		}
		ok, _ := path.Match(glob, p) // the pattern was found good
		return ok
	}, nil
}
