package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/ref"
)

// CreateBranch, DeleteBranch, RenameBranch, SetHead and tags keep refs and live trees in step.
// CreateBranch makes a branch at a commit (zero: one without commits).
func (r *Repo) CreateBranch(ctx context.Context, name string, at oid.ID) error {
	return r.createBranch(ctx, name, at, false)
}

// CheckoutNew is CreateBranch and SetHead to the new branch in one transaction.
func (r *Repo) CheckoutNew(ctx context.Context, name string, at oid.ID) error {
	return r.createBranch(ctx, name, at, true)
}

func (r *Repo) createBranch(ctx context.Context, name string, at oid.ID, checkout bool) error {
	release, err := r.prepareName(ctx, "create branch", at)
	if err != nil {
		return err
	}
	defer release()
	r.names.Lock()
	defer r.names.Unlock()
	if _, err := r.Refs.Branch(name); err == nil {
		return fmt.Errorf("create branch %q: %w", name, errs.Exist)
	}
	if err := ref.CheckName(name); err != nil {
		return fmt.Errorf("create branch: %w", err)
	}
	// A live tree that a killed delete left behind must not come back under the new branch.
	if err := r.Live.Remove(ctx, name); err != nil {
		return fmt.Errorf("create branch %q: %w", name, err)
	}
	why := "branch: created"
	if !at.IsZero() {
		why += " at " + at.Short()
	}
	return r.Refs.Update(DefaultAuthor(), func(t *ref.Txn) error {
		if err := t.CreateBranch(name, at, why); err != nil || !checkout {
			return err
		}
		return t.SetHead(ref.Head{Branch: name}, "checkout")
	})
}

// prepareName shares with GC and proves that the commit at can be given a name.
func (r *Repo) prepareName(ctx context.Context, what string, at oid.ID) (release func(), err error) {
	if err := r.writable(what); err != nil {
		return nil, err
	}
	if release, err = r.share(ctx); err != nil {
		return nil, err
	}
	if err := r.whole(ctx, at); err != nil {
		release()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return release, nil
}

// DeleteBranch refuses (errs.Conflict) a branch whose live tree has changes, unless force, and HEAD's always. Files open in it are errs.Busy.
func (r *Repo) DeleteBranch(ctx context.Context, name string, force bool) error {
	if err := r.writable("delete branch"); err != nil {
		return err
	}
	if err := r.deletable(ctx, name, force); err != nil {
		return fmt.Errorf("delete branch %q: %w", name, err)
	}
	r.names.Lock()
	defer r.names.Unlock()
	b, err := r.Refs.Branch(name)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	h, err := r.Refs.Head()
	if err != nil {
		return err
	}
	if h.Branch == name {
		return fmt.Errorf("delete branch %q: HEAD is on it, check out another first: %w", name, errs.Conflict)
	}
	// The live tree first: if it is busy nothing has happened, and if we are killed between the two the branch is there and clean.
	if err := r.Live.Remove(ctx, name); err != nil {
		return fmt.Errorf("delete branch %q: %w", name, err)
	}
	return r.Refs.DeleteBranch(name, b.ID, DefaultAuthor(), "branch: deleted")
}

// BranchesDeletable says why DeleteBranch would refuse one of names, so that several can be deleted, all or none.
func (r *Repo) BranchesDeletable(ctx context.Context, names []string, force bool) error {
	h, err := r.Refs.Head()
	if err != nil {
		return err
	}
	for _, name := range names {
		err := r.deletable(ctx, name, force)
		if err == nil && h.Branch == name {
			err = fmt.Errorf("HEAD is on it, check out another first: %w", errs.Conflict)
		}
		if err != nil {
			return fmt.Errorf("delete branch %q: %w", name, err)
		}
	}
	return nil
}

func (r *Repo) deletable(ctx context.Context, name string, force bool) error {
	b, err := r.Refs.Branch(name)
	if err != nil || force || !slices.Contains(r.Live.Branches(), name) {
		return err
	}
	live, err := r.LiveTree(ctx, name)
	if err != nil {
		return err
	}
	root, err := r.rootOf(ctx, b.ID)
	if err != nil {
		return err
	}
	changes, err := live.Status(ctx, root)
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		return fmt.Errorf("%d changes are not committed (%s …): snapshot them, or force: %w", len(changes), changes[0].Path, errs.Conflict)
	}
	return nil
}

// RenameBranch renames a branch with its live tree, and HEAD with it. Files open in it are errs.Busy.
func (r *Repo) RenameBranch(ctx context.Context, from, to string) error {
	if err := r.writable("rename branch"); err != nil {
		return err
	}
	r.names.Lock()
	defer r.names.Unlock()
	if slices.Contains(r.Live.Branches(), to) {
		if _, err := r.Refs.Branch(to); err == nil {
			return fmt.Errorf("rename branch %q to %q: %w", from, to, errs.Exist)
		}
		if err := r.Live.Remove(ctx, to); err != nil { // left behind by a killed delete
			return fmt.Errorf("rename branch %q to %q: %w", from, to, err)
		}
	}
	// The ref first: if we are killed between the two, mendRenames finds what is left to do in the ref log.
	if err := r.Refs.RenameBranch(from, to, DefaultAuthor()); err != nil {
		return err
	}
	if err := r.Live.Rename(ctx, from, to); err != nil {
		err = fmt.Errorf("rename branch %q to %q: %w", from, to, err)
		if back := r.Refs.RenameBranch(to, from, DefaultAuthor()); back != nil {
			r.log.Error("rename of a branch half done", "op", "rename", "from", from, "to", to, "err", back)
		}
		return err
	}
	return nil
}

// mendRenames finishes renames that were killed between the ref and the live tree: a live tree without branch whose branch was
// last renamed to one that has no live tree.
func (r *Repo) mendRenames(ctx context.Context) error {
	if r.opts.ReadOnly {
		return nil
	}
	branches, err := r.Refs.Branches()
	if err != nil {
		return err
	}
	isBranch := map[string]bool{}
	for _, b := range branches {
		isBranch[b.Name] = true
	}
	live := r.Live.Branches()
	for _, old := range live {
		if isBranch[old] {
			continue
		}
		to, err := r.renamedTo(old, isBranch, live)
		if err != nil {
			return err
		}
		if to == "" {
			r.log.Warn("live tree without a branch: it is kept", "branch", old)
			continue
		}
		if err := r.Live.Rename(ctx, old, to); err != nil {
			return fmt.Errorf("finish the rename of branch %q to %q: %w", old, to, err)
		}
		r.log.Info("finished the rename of a branch", "from", old, "to", to)
	}
	return nil
}

// renamedTo returns the branch that old was last renamed to, if it has no live tree of its own.
func (r *Repo) renamedTo(old string, isBranch map[string]bool, live []string) (string, error) {
	moves, err := r.Refs.Log("", ref.MaxMoves)
	if err != nil {
		return "", err
	}
	for _, m := range moves {
		if m.Ref == "branches/"+old {
			return "", nil // there was such a branch later
		}
		if m.RenameFrom() == old {
			to := strings.TrimPrefix(m.Ref, "branches/")
			if isBranch[to] && !slices.Contains(live, to) {
				return to, nil
			}
			return "", nil
		}
	}
	return "", nil
}

// SetHead points HEAD to a branch that exists, or to a commit.
func (r *Repo) SetHead(ctx context.Context, h ref.Head) error {
	release, err := r.prepareName(ctx, "set HEAD", h.Commit)
	if err != nil {
		return err
	}
	defer release()
	return r.Refs.SetHead(h, DefaultAuthor(), "checkout")
}

// CreateTag tags a commit, with a tag object if there is a message.
func (r *Repo) CreateTag(ctx context.Context, name string, at oid.ID, message, tagger string) error {
	if err := r.tagIsFree(name); err != nil {
		return fmt.Errorf("create %w", err)
	}
	if name == "" || at.IsZero() {
		return fmt.Errorf("create tag %q: want a name and a commit: %w", name, errs.Invalid)
	}
	release, err := r.prepareName(ctx, "create tag", at)
	if err != nil {
		return err
	}
	defer release()
	if tagger = oneLine(tagger); tagger == "" {
		tagger = DefaultAuthor()
	}
	t := ref.Ref{Name: name, ID: at}
	if message != "" {
		t.Tag, err = r.Objects.PutTag(ctx, &object.Tag{Target: at, Tagger: tagger, Time: time.Now(), Message: strings.ToValidUTF8(message, "\uFFFD")})
		if err != nil {
			return fmt.Errorf("create tag %q: %w", name, err)
		}
		if err := r.Packs.Sync(ctx); err != nil {
			return fmt.Errorf("create tag %q: %w", name, err)
		}
	}
	return r.Refs.CreateTag(t, tagger, "tag: created at "+at.Short())
}

// DeleteTag deletes tags, all or none. What only they kept goes with a GC.
func (r *Repo) DeleteTag(ctx context.Context, names ...string) error {
	if err := r.writable("delete tag"); err != nil {
		return err
	}
	return r.Refs.Update(DefaultAuthor(), func(t *ref.Txn) error {
		for _, name := range names {
			if err := t.DeleteTag(name, "tag: deleted"); err != nil {
				return err
			}
		}
		return nil
	})
}
