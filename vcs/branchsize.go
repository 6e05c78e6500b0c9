package vcs

import (
	"context"
	"fmt"

	"coral/internal/oid"
	"coral/objstore"
)

// BranchSize says how large the history of a branch is, in bytes of the packs.
type BranchSize struct {
	Stored int64 // of all that the branch reaches
	Unique int64 // of this, what no other branch, no tag and no detached HEAD reaches: about what deleting the branch frees
}

// BranchSizes measures every branch. Manifests of all commits are read, contents are not. What blobs are deltas of counts only where it is reached as a version of its own.
func (r *Repo) BranchSizes(ctx context.Context) (map[string]BranchSize, error) {
	out, err := r.branchSizes(ctx)
	if err != nil {
		return nil, fmt.Errorf("branch sizes: %w", err)
	}
	return out, nil
}

// shared is the owner of an object that more than one name reaches.
const shared = -1

func (r *Repo) branchSizes(ctx context.Context) (map[string]BranchSize, error) {
	branches, err := r.Refs.Branches()
	if err != nil {
		return nil, err
	}
	owners := map[oid.ID]int{} // the branch that reaches an object, by its number from 1
	for i, b := range branches {
		m := newMarker(r)
		m.shallow = true
		if err := m.mark(ctx, b.ID, objstore.Commit); err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name, err)
		}
		for id := range m.seen {
			if owners[id] == 0 {
				owners[id] = i + 1
			} else {
				owners[id] = shared
			}
		}
	}
	others, err := r.otherNames(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]BranchSize{}
	for i, b := range branches {
		m := newMarker(r)
		m.shallow = true
		if err := m.mark(ctx, b.ID, objstore.Commit); err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name, err)
		}
		var s BranchSize
		for id := range m.seen {
			info, err := r.Packs.Stat(id)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			s.Stored += info.Stored
			if _, ok := others[id]; !ok && owners[id] == i+1 {
				s.Unique += info.Stored
			}
		}
		out[b.Name] = s
	}
	return out, nil
}

// otherNames returns what tags and a detached HEAD reach.
func (r *Repo) otherNames(ctx context.Context) (map[oid.ID]struct{}, error) {
	m := newMarker(r)
	m.shallow = true
	head, err := r.Refs.Head()
	if err != nil {
		return nil, err
	}
	if err := m.mark(ctx, head.Commit, objstore.Commit); err != nil {
		return nil, fmt.Errorf("HEAD: %w", err)
	}
	tags, err := r.Refs.Tags()
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if err := m.mark(ctx, t.ID, objstore.Commit); err != nil {
			return nil, fmt.Errorf("tag %s: %w", t.Name, err)
		}
	}
	return m.seen, nil
}
