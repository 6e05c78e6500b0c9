package vcs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"syscall"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// Place is where a stored file is: in a commit, the oldest that has it, or else in a branch's live tree.
type Place struct {
	Path   string
	Commit oid.ID // zero: in the live tree of Branch
	Branch string
}

// foundFile is a stored file that holds something that was asked for.
type foundFile struct {
	manifest oid.ID
	place    Place
}

// extentPlace is where a blob is an extent of a tensor.
type extentPlace struct {
	file   *foundFile
	tensor object.Tensor
	k      int    // which extent
	all    oid.ID // of all blobs of the tensor: tensors of one content have the same
}

// places finds files and tensors by blobs.
type places struct {
	r      *Repo
	wanted map[oid.ID]bool
	except oid.ID // a manifest that is left out
	of     map[oid.ID][]extentPlace
	seen   map[oid.ID]bool // trees and manifests
}

// findPlaces walks every commit, the oldest first so that what a commit only inherits counts for the one that brought it, and then the live trees.
func (r *Repo) findPlaces(ctx context.Context, wanted map[oid.ID]bool, except oid.ID) (*places, error) {
	p := &places{r: r, wanted: wanted, except: except, of: map[oid.ID][]extentPlace{}, seen: map[oid.ID]bool{{}: true}}
	if len(wanted) == 0 {
		return p, nil
	}
	tips, err := r.tips()
	if err != nil {
		return nil, err
	}
	type commit struct{ id, tree oid.ID }
	var commits []commit
	pass := func(oid.ID, error) error { return nil } // damage is fsck's
	err = r.eachCommit(ctx, tips, pass, func(id oid.ID, c *object.Commit) (bool, error) {
		commits = append(commits, commit{id, c.Tree})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	w := treeWalk{r: r, seen: p.seen, file: p.file}
	for _, c := range slices.Backward(commits) {
		if err := w.tree(ctx, c.tree, Place{Commit: c.id}, 0); err != nil {
			return nil, err
		}
	}
	for _, branch := range r.Live.Branches() {
		t, err := r.LiveTree(ctx, branch)
		if errors.Is(err, errs.NotFound) {
			continue // deleted meanwhile
		}
		if err == nil {
			err = p.live(ctx, t, t.Root(), Place{Branch: branch}, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// treeWalk walks the trees of commits, each tree once, for the files in them. What is damaged is passed over.
type treeWalk struct {
	r    *Repo
	seen map[oid.ID]bool // trees, and what file notes there
	file func(ctx context.Context, manifest oid.ID, at Place) error
	done func() bool // nothing more is wanted; nil: never
}

func (w *treeWalk) tree(ctx context.Context, id oid.ID, at Place, depth int) error {
	if w.seen[id] || depth > maxDepth || w.done != nil && w.done() {
		return nil
	}
	w.seen[id] = true
	t, err := w.r.Objects.Tree(ctx, id)
	if err != nil {
		return passDamage(ctx, err)
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		place := Place{Path: join(at.Path, e.Name), Commit: at.Commit}
		switch e.Kind {
		case object.Dir:
			err = w.tree(ctx, e.ID, place, depth+1)
		case object.File:
			err = w.file(ctx, e.ID, place)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// live walks a live tree. What changes meanwhile may be missed.
func (p *places) live(ctx context.Context, t *worktree.Tree, dir worktree.Ino, at Place, depth int) error {
	if depth > maxDepth {
		return nil
	}
	list, err := t.Readdir(ctx, dir)
	if err != nil {
		return passDamage(ctx, err)
	}
	for _, d := range list {
		place := Place{Path: join(at.Path, d.Name), Branch: at.Branch}
		switch d.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			err = p.live(ctx, t, d.Ino, place, depth+1)
		case syscall.S_IFREG:
			st, serr := t.State(ctx, d.Ino)
			if err = passDamage(ctx, serr); serr == nil {
				err = p.file(ctx, st.Manifest, place)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passDamage passes over what cannot be read: it is damage, which fsck names, or has just gone.
func passDamage(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	if errors.Is(err, errs.Corrupt) || errors.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// file notes where the wanted blobs are in it.
func (p *places) file(ctx context.Context, manifest oid.ID, at Place) error {
	if p.seen[manifest] || manifest == p.except {
		return nil
	}
	p.seen[manifest] = true
	m, err := p.r.Objects.Manifest(ctx, manifest)
	if err != nil {
		return passDamage(ctx, err)
	}
	if !slices.ContainsFunc(m.Segments, func(s object.Segment) bool { return p.wanted[s.Blob] }) {
		return nil
	}
	file := &foundFile{manifest, at}
	starts := segmentStarts(m)
	for i := range m.Tensors {
		t := &m.Tensors[i]
		blobs := tensorBlobs(m, starts, t)
		if !slices.ContainsFunc(blobs, func(id oid.ID) bool { return p.wanted[id] }) {
			continue
		}
		var all []byte
		for _, id := range blobs {
			all = append(all, id[:]...)
		}
		sum := oid.Sum(all)
		for k, id := range blobs {
			if p.wanted[id] {
				p.of[id] = append(p.of[id], extentPlace{file, *t, k, sum})
			}
		}
	}
	return nil
}

// segmentStarts returns where each segment of a file begins.
func segmentStarts(m *object.Manifest) []int64 {
	starts := make([]int64, len(m.Segments))
	at := int64(0)
	for i := range m.Segments {
		starts[i] = at
		at += m.Segments[i].Length
	}
	return starts
}

// tensorBlobs returns the blobs that are the extents of a contiguous tensor, zero ids where it is stored in another way: as part of a larger storage, or inline.
func tensorBlobs(m *object.Manifest, starts []int64, t *object.Tensor) (blobs []oid.ID) {
	if t.Stride != nil {
		return nil
	}
	for at := int64(0); at < t.Length; at += delta.MaxBlob {
		id := oid.ID{}
		if i, ok := slices.BinarySearch(starts, t.Offset+at); ok && m.Segments[i].Length == min(delta.MaxBlob, t.Length-at) {
			id = m.Segments[i].Blob
		}
		blobs = append(blobs, id)
	}
	return blobs
}

// candidates returns the stored tensors that the index's answers belong to, the nearest first.
func (p *places) candidates(w *wantedTensor) (out []*candidate) {
	type key struct {
		all oid.ID
		dt  uint8
	}
	type sum struct {
		c       *candidate
		extents map[int]int // distances
	}
	sums := map[key]*sum{}
	var order []*sum
	for _, e := range w.extents {
		for _, m := range e.matches {
			for _, at := range p.of[m.ID] {
				if at.k != e.k { // another part of a tensor, by chance
					continue
				}
				k := key{at.all, uint8(at.tensor.DType)}
				s := sums[k]
				if s == nil {
					s = &sum{c: &candidate{t: at.tensor, file: at.file}, extents: map[int]int{}}
					sums[k] = s
					order = append(order, s)
				}
				if !slices.Contains(s.c.files, at.file) {
					s.c.files = append(s.c.files, at.file)
				}
				s.extents[e.k] = m.Distance
			}
		}
	}
	for _, s := range order {
		for _, e := range w.extents {
			d, ok := s.extents[e.k]
			if !ok {
				d = 128 // unlike, or beyond what the index keeps
			}
			s.c.distance += float64(d) / float64(len(w.extents))
		}
		out = append(out, s.c)
	}
	slices.SortStableFunc(out, func(a, b *candidate) int { return cmp.Compare(a.distance, b.distance) })
	return out[:min(len(out), maxSimilarCandidates)]
}
