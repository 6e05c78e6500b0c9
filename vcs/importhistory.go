package vcs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/ref"
)

// HistoryCommit is a commit of another system: files in one directory, and what is said of them.
type HistoryCommit struct {
	Key     string   // its name there
	Parents []string // keys of commits that come before it
	Author  string
	Time    time.Time
	Message string
	Metrics map[string]float64
	Labels  map[string]string
	Files   map[string]string // path on disk by name in the tree
}

// HistoryTag is a tag of another system.
type HistoryTag struct{ Name, Key, Message, Tagger string }

// ImportHistory stores commits, the parents first, and then makes branches and tags, named by the keys of commits: each either not there yet, without a commit and with
// nothing in its live tree, or what it would become. Before all are known to be so no ref is changed, and importing the same again changes nothing. It returns the
// ids of the commits by key.
func (r *Repo) ImportHistory(ctx context.Context, commits []HistoryCommit, branches map[string]string, tags []HistoryTag, progress func(done int, bytes int64)) (map[string]oid.ID, error) {
	ids, err := r.importHistory(ctx, commits, branches, tags, progress)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return ids, nil
}

func (r *Repo) importHistory(ctx context.Context, commits []HistoryCommit, branches map[string]string, tags []HistoryTag, progress func(int, int64)) (map[string]oid.ID, error) {
	if err := r.writable("import"); err != nil {
		return nil, err
	}
	release, err := r.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ids, bytes := map[string]oid.ID{}, int64(0)
	for i := range commits {
		n, err := r.importCommit(ctx, &commits[i], ids)
		if err != nil {
			return nil, fmt.Errorf("commit %s: %w", commits[i].Key, err)
		}
		if bytes += n; progress != nil {
			progress(i+1, bytes)
		}
	}
	err = r.Packs.Sync(ctx)
	if err == nil {
		err = r.refsFit(ctx, ids, branches, tags)
	}
	if err == nil {
		err = r.importRefs(ctx, ids, branches, tags)
	}
	return ids, err
}

// importCommit stores one commit.
func (r *Repo) importCommit(ctx context.Context, h *HistoryCommit, ids map[string]oid.ID) (bytes int64, err error) {
	c := &object.Commit{Author: oneLine(h.Author), Time: h.Time, Message: h.Message, Metrics: h.Metrics, Labels: h.Labels}
	before := &object.Tree{}
	for i, p := range h.Parents {
		id, ok := ids[p]
		if !ok {
			return 0, fmt.Errorf("parent %s does not come before it: %w", p, errs.Invalid)
		}
		c.Parents = append(c.Parents, id)
		if i == 0 {
			root, err := r.rootOf(ctx, id)
			if err != nil {
				return 0, err
			}
			if before, err = r.tree(ctx, root); err != nil {
				return 0, err
			}
		}
	}
	t := &object.Tree{}
	for _, name := range slices.Sorted(maps.Keys(h.Files)) {
		was, _ := before.Find(name)
		e, err := r.importFile(ctx, h.Files[name], name, was.ID, h.Time)
		if err != nil {
			return 0, err
		}
		t.Entries = append(t.Entries, e)
		bytes += e.Size
	}
	if c.Tree, err = r.Objects.PutTree(ctx, t); err != nil {
		return 0, err
	}
	ids[h.Key], err = r.Objects.PutCommit(ctx, c)
	return bytes, err
}

func (r *Repo) importFile(ctx context.Context, src, name string, prev oid.ID, at time.Time) (object.Entry, error) {
	f, err := os.Open(src)
	if err != nil {
		return object.Entry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return object.Entry{}, err
	}
	if !info.Mode().IsRegular() {
		return object.Entry{}, fmt.Errorf("%s is no regular file: %w", src, errs.Invalid)
	}
	in, err := r.Content.Ingest(ctx, f, info.Size(), content.Hint{Path: name, Prev: prev})
	return object.Entry{Name: name, Kind: object.File, Mode: 0o644, MTime: at, Size: info.Size(), ID: in.Manifest}, err
}

// refsFit refuses branches and tags that are something else already.
func (r *Repo) refsFit(ctx context.Context, ids map[string]oid.ID, branches map[string]string, tags []HistoryTag) error {
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		id, ok := ids[branches[name]]
		if !ok {
			return fmt.Errorf("branch %q is at commit %s, which was not given: %w", name, branches[name], errs.Invalid)
		}
		if err := ref.CheckName(name); err != nil {
			return err
		}
		b, err := r.Refs.Branch(name)
		switch {
		case errors.Is(err, errs.NotFound):
		case err != nil:
			return err
		case b.ID.IsZero():
			if err := r.cleanLive(ctx, name, oid.ID{}); err != nil {
				return err
			}
		case b.ID != id:
			return fmt.Errorf("branch %q is there, with commits of its own: rename it, or import into a new repository: %w", name, errs.Conflict)
		}
	}
	for _, t := range tags {
		id, ok := ids[t.Key]
		if !ok {
			return fmt.Errorf("tag %q is at commit %s, which was not given: %w", t.Name, t.Key, errs.Invalid)
		}
		if err := ref.CheckName(t.Name); err != nil {
			return err
		}
		if was, err := r.Refs.Tag(t.Name); err == nil && was.ID != id {
			return fmt.Errorf("tag %q is there, at another commit: %w", t.Name, errs.Conflict)
		} else if err != nil && !errors.Is(err, errs.NotFound) {
			return err
		}
	}
	return nil
}

// importRefs makes the branches, or gives those without a commit their first, and the tags: all in one transaction.
func (r *Repo) importRefs(ctx context.Context, ids map[string]oid.ID, branches map[string]string, tags []HistoryTag) error {
	var made []ref.Ref
	for _, h := range tags {
		if _, err := r.Refs.Tag(h.Name); err == nil {
			continue
		}
		t, err := r.newTag(ctx, h.Name, ids[h.Key], h.Message, h.Tagger)
		if err != nil {
			return fmt.Errorf("create tag %q: %w", h.Name, err)
		}
		made = append(made, t)
	}
	if err := r.Packs.Sync(ctx); err != nil {
		return err
	}
	r.names.Lock()
	defer r.names.Unlock()
	var names []string // of branches that move
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		if b, err := r.Refs.Branch(name); err != nil || b.ID != ids[branches[name]] {
			names = append(names, name)
		}
	}
	if len(names)+len(made) == 0 {
		return nil
	}
	// A live tree that is empty, or that a killed delete left behind, goes: the next one begins with the commit.
	return r.Live.RemoveWith(ctx, names, func() error {
		return r.Refs.Update(DefaultAuthor(), func(t *ref.Txn) error {
			for _, name := range names {
				if err := importBranch(t, name, ids[branches[name]], "import: "+branches[name]); err != nil {
					return err
				}
			}
			for _, m := range made {
				if err := t.CreateTag(m, tagCreated+m.ID.Short()); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// importBranch makes a branch, or gives one that has no commit its first.
func importBranch(t *ref.Txn, name string, id oid.ID, why string) error {
	b, err := t.Branch(name)
	switch {
	case errors.Is(err, errs.NotFound):
		return t.CreateBranch(name, id, why)
	case err != nil:
		return err
	case !b.ID.IsZero():
		return fmt.Errorf("branch %q has moved meanwhile: %w", name, errs.Conflict)
	}
	return t.MoveBranch(name, b.ID, id, why)
}
