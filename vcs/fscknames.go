package vcs

import (
	"cmp"
	"context"
	"fmt"

	"coral/internal/oid"
	"coral/vcs/object"
)

// damagedAt is one damaged content at one path: a path may have been damaged in several versions.
type damagedAt struct {
	path string
	id   oid.ID
}

// namer finds the commits and paths of what is damaged. It only runs when something is.
type namer struct {
	f     *fsck
	clean map[oid.ID]bool // trees with nothing damaged below, of which most are
	found map[damagedAt]int
	count []int // of commits, beside rep.Damaged
}

// nameDamaged fills rep.Damaged: each damaged path once for each damaged content, with its newest commit and how many more have it.
func (f *fsck) nameDamaged(ctx context.Context) error {
	n := &namer{f: f, clean: map[oid.ID]bool{}, found: map[damagedAt]int{}}
	pass := func(oid.ID, error) error { return nil } // told already
	err := f.r.eachCommit(ctx, f.tips, pass, func(id oid.ID, c *object.Commit) (bool, error) {
		_, err := n.tree(ctx, id, c.Tree, "")
		return true, err
	})
	for i, commits := range n.count {
		if commits > 1 {
			f.rep.Damaged[i].Why += fmt.Sprintf(" (and in %d older commits)", commits-1)
		}
	}
	return err
}

// tree reports what is damaged below a tree and whether nothing is. Depth was bounded by fsck.tree.
func (n *namer) tree(ctx context.Context, commit, id oid.ID, path string) (clean bool, err error) {
	if n.clean[id] || id.IsZero() {
		return true, nil
	}
	why, known := n.f.trees[id]
	if why != "" || !known {
		n.add(commit, damagedAt{path, id}, "directory: "+why)
		return false, ctx.Err()
	}
	t, err := n.f.r.Objects.Tree(ctx, id)
	if err != nil {
		return false, err
	}
	clean = true
	for i := range t.Entries {
		e := &t.Entries[i]
		p := join(path, e.Name)
		switch e.Kind {
		case object.Dir:
			ok, err := n.tree(ctx, commit, e.ID, p)
			if err != nil {
				return false, err
			}
			clean = clean && ok
		case object.File:
			if why := cmp.Or(n.f.files[e.ID], n.f.wrongSize(e)); why != "" {
				n.add(commit, damagedAt{p, e.ID}, why)
				clean = false
			}
		}
	}
	if clean {
		n.clean[id] = true
	}
	return clean, nil
}

func (n *namer) add(commit oid.ID, at damagedAt, why string) {
	if i, ok := n.found[at]; ok {
		n.count[i]++
		return
	}
	n.found[at] = len(n.count)
	n.count = append(n.count, 1)
	path := at.path
	if path == "" {
		path = "."
	}
	n.f.rep.Damaged = append(n.f.rep.Damaged, DamagedFile{Commit: commit, Path: path, Why: why})
}
