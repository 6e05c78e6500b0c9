package vcs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// PickOptions say which commits to apply or take back.
type PickOptions struct {
	Branch   string // "" is HEAD's
	Commits  []oid.ID
	Revert   bool   // take their changes back, instead of making them again
	Mainline int    // of a merge: the parent, from 1, against which its changes are meant; 0 for others
	Message  string // instead of the one that says what was done; of one commit only
	Author   string // of the new commits; "" is DefaultAuthor, and for a cherry-pick the commit's own
}

// PickResult says what was made. JSON field names are a promise.
type PickResult struct {
	Branch  string   `json:"branch"`
	Commit  oid.ID   `json:"commit"` // the new head
	Was     oid.ID   `json:"was"`
	Commits []oid.ID `json:"commits"` // new, oldest first
}

// Labels of commits that Pick makes: the full id of the commit that was picked or reverted.
const (
	LabelPicked   = "cherry-pick.of"
	LabelReverted = "revert.of"
)

// Pick makes the changes of commits again on the head of a branch (cherry-pick), or takes them back (revert): three-way, by file. Each becomes a commit; the branch and its
// live tree, which must have no changes (errs.Conflict), move once, at the end. Files that both sides changed are errs.Conflict, and nothing has happened.
func (r *Repo) Pick(ctx context.Context, opts PickOptions) (PickResult, error) {
	res, err := r.pick(ctx, opts)
	if err != nil {
		return PickResult{}, fmt.Errorf("%s: %w", opts.op(), err)
	}
	return res, nil
}

func (o PickOptions) op() string {
	if o.Revert {
		return "revert"
	}
	return "cherry-pick"
}

func (r *Repo) pick(ctx context.Context, opts PickOptions) (res PickResult, err error) {
	branch, done, err := r.beginMove(ctx, opts.Branch, oid.ID{})
	if err != nil {
		return res, err
	}
	defer done()
	head, err := r.Refs.Branch(branch)
	if err != nil {
		return res, err
	}
	res = PickResult{Branch: branch, Was: head.ID, Commit: head.ID}
	tree, err := r.rootOf(ctx, head.ID)
	if err != nil {
		return res, err
	}
	subject := ""
	for _, id := range opts.Commits {
		var c *object.Commit
		if c, err = r.pickOne(ctx, opts, id, tree); err != nil {
			return res, fmt.Errorf("%s: %w", id.Short(), err)
		}
		if !res.Commit.IsZero() {
			c.Parents = []oid.ID{res.Commit}
		}
		if res.Commit, err = r.Objects.PutCommit(ctx, c); err != nil {
			return res, err
		}
		tree, subject = c.Tree, oneLine(c.Message)
		res.Commits = append(res.Commits, res.Commit)
	}
	author := authorOr(opts.Author)
	why := opts.op() + ": " + subject
	_, err = r.moveLive(ctx, liveMove{
		op: opts.op(), branch: branch, author: author, clean: true,
		tree: func(context.Context, oid.ID) (oid.ID, error) { return tree, nil },
		commit: func(c liveCommit) error {
			return r.moveBranch(c, branch, head.ID, res.Commit, author, liveReason(why, c.had))
		},
	})
	return res, err
}

// pickOne makes the commit, without parents, that applies or reverts id on tree.
func (r *Repo) pickOne(ctx context.Context, opts PickOptions, id, tree oid.ID) (*object.Commit, error) {
	if err := r.whole(ctx, id); err != nil {
		return nil, err
	}
	c, err := r.Objects.Commit(ctx, id)
	if err != nil {
		return nil, err
	}
	before, err := r.mainline(ctx, c, opts.Mainline)
	if err != nil {
		return nil, err
	}
	from, to := before, c.Tree
	if opts.Revert {
		from, to = c.Tree, before
	}
	out := &object.Commit{Author: cmp.Or(oneLine(opts.Author), c.Author), Time: time.Now(), Message: c.Message, Labels: map[string]string{}}
	if out.Tree, err = r.mergeFiles(ctx, from, tree, to); err != nil {
		return nil, err
	}
	if out.Tree == tree || tree.IsZero() && out.Tree == emptyTree {
		return nil, fmt.Errorf("its changes are there already, or gone: nothing to commit: %w", errs.Invalid)
	}
	label := LabelPicked
	if opts.Revert {
		label = LabelReverted
		out.Author = authorOr(opts.Author)
		out.Message = fmt.Sprintf("Revert %q\n\nThis reverts commit %s.", oneLine(c.Message), id)
	} else {
		maps.Copy(out.Labels, c.Labels) // not its metrics: they were measured on other weights
		delete(out.Labels, LabelReverted)
	}
	out.Labels[label] = id.String()
	if opts.Message != "" {
		out.Message = strings.TrimRight(strings.ToValidUTF8(opts.Message, "\uFFFD"), " \t\r\n")
	}
	return out, nil
}

// mainline returns the tree that a commit's changes are meant against.
func (r *Repo) mainline(ctx context.Context, c *object.Commit, n int) (oid.ID, error) {
	switch {
	case len(c.Parents) > 1 && n == 0:
		return oid.ID{}, fmt.Errorf("it is a merge: say with --mainline N against which of its %d parents: %w", len(c.Parents), errs.Invalid)
	case n > len(c.Parents) || n < 0:
		return oid.ID{}, fmt.Errorf("it has %d parents, no parent %d: %w", len(c.Parents), n, errs.Invalid)
	case len(c.Parents) == 0:
		return oid.ID{}, nil
	}
	return r.rootOf(ctx, c.Parents[max(n, 1)-1])
}
