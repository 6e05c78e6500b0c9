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
	"coral/vcs/worktree"
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

// DeleteBranch deletes branches with their live trees, all in one transaction or none. It refuses (errs.Conflict) one whose live tree has changes, unless force, and HEAD's
// always. Files open in one are errs.Busy.
func (r *Repo) DeleteBranch(ctx context.Context, force bool, names ...string) error {
	if err := r.writable("delete branch"); err != nil {
		return err
	}
	r.names.Lock()
	defer r.names.Unlock()
	check, err := r.deletable(ctx, force, names...)
	if err != nil {
		return err
	}
	return r.Live.RemoveWith(ctx, names, func() error {
		if err := check(ctx); err != nil {
			return err
		}
		return r.Refs.Update(DefaultAuthor(), func(t *ref.Txn) error {
			for _, name := range names {
				b, err := t.Branch(name)
				if err == nil {
					err = t.DeleteBranch(name, b.ID, "branch: deleted")
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// deletable refuses to delete a branch whose live tree has changes, unless force. check says it once more, when the live trees cannot change any more. names is held.
func (r *Repo) deletable(ctx context.Context, force bool, names ...string) (check func(context.Context) error, err error) {
	type live struct {
		tree *worktree.Tree
		root oid.ID
	}
	var trees []live
	for _, name := range names {
		b, err := r.Refs.Branch(name)
		if err != nil {
			return nil, fmt.Errorf("delete: %w", err)
		}
		if force || !slices.Contains(r.Live.Branches(), name) {
			continue
		}
		root, err := r.rootOf(ctx, b.ID)
		if err != nil {
			return nil, fmt.Errorf("delete branch %q: %w", name, err)
		}
		tree, err := r.Live.Tree(ctx, name, root)
		if err != nil {
			return nil, fmt.Errorf("delete branch %q: %w", name, err)
		}
		trees = append(trees, live{tree, root})
	}
	check = func(ctx context.Context) error {
		for _, l := range trees {
			changes, err := l.tree.Status(ctx, l.root)
			if err == nil && len(changes) > 0 {
				err = fmt.Errorf("%d changes are not committed (%s …): snapshot them, or force: %w", len(changes), changes[0].Path, errs.Conflict)
			}
			if err != nil {
				return fmt.Errorf("delete branch %q: %w", l.tree.Branch(), err)
			}
		}
		return nil
	}
	return check, check(ctx)
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
	// The ref first: if we are killed between the two, mendNames finds what is left to do in the ref log.
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

// mendNames finishes what was killed between refs and live trees. Of a live tree without branch the ref log says why: the branch was renamed to one that has no live tree,
// or it was deleted, and the live tree with it. If it says neither, the live tree is kept.
func (r *Repo) mendNames(ctx context.Context) error {
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
		deleted, to, err := r.lastOf(old)
		if err != nil {
			return err
		}
		switch {
		case deleted:
			if err := r.Live.Remove(ctx, old); err != nil {
				return fmt.Errorf("finish the deletion of branch %q: %w", old, err)
			}
			r.log.Info("finished the deletion of a branch", "branch", old)
		case isBranch[to] && !slices.Contains(live, to):
			if err := r.Live.Rename(ctx, old, to); err != nil {
				return fmt.Errorf("finish the rename of branch %q to %q: %w", old, to, err)
			}
			r.log.Info("finished the rename of a branch", "from", old, "to", to)
		default:
			r.log.Warn("live tree without a branch: it is kept", "branch", old)
		}
	}
	return nil
}

// lastOf says what the log last has of a branch that there is not: it was deleted, or renamed to another; neither, as far as the log knows.
func (r *Repo) lastOf(name string) (deleted bool, to string, err error) {
	moves, err := r.Refs.Log("", ref.MaxMoves)
	if err != nil {
		return false, "", err
	}
	for _, m := range moves {
		switch {
		case m.Branch() == name:
			return m.Deleted(), "", nil
		case m.RenameFrom() == name:
			return false, m.Branch(), nil
		}
	}
	return false, "", nil
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
	t, err := r.newTag(ctx, name, at, message, tagger)
	if err == nil && message != "" {
		err = r.Packs.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("create tag %q: %w", name, err)
	}
	return r.Refs.CreateTag(t, authorOr(tagger), tagCreated+at.Short())
}

const tagCreated = "tag: created at "

// newTag returns a tag of a commit, and stores a tag object, which is not durable yet, if there is a message.
func (r *Repo) newTag(ctx context.Context, name string, at oid.ID, message, tagger string) (t ref.Ref, err error) {
	t = ref.Ref{Name: name, ID: at}
	if message != "" {
		t.Tag, err = r.Objects.PutTag(ctx, &object.Tag{Target: at, Tagger: authorOr(tagger), Time: time.Now(), Message: strings.ToValidUTF8(message, "\uFFFD")})
	}
	return t, err
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
