package vcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/ref"
	"coral/vcs/worktree"
)

// keptWhy begins the log's line of a commit that holds what a command took out of a live tree.
const keptWhy = "kept: "

// liveHadIt begins the log's line of a move to a tree that the live tree was already: undo leaves it as it is, uncommitted again.
const liveHadIt = "live tree kept, "

// liveReason is the log's line of a move of branch and live tree.
func liveReason(why string, had bool) string {
	if had {
		return liveHadIt + why
	}
	return why
}

// moveTries is how often a live tree that changes under a command is looked at again.
const moveTries = 5

// liveMove is a change of a branch's live tree as a whole, and of refs with it.
type liveMove struct {
	op       string // "reset": in errors and in the log
	branch   string
	author   string
	force    bool // keep what would be lost as a commit, instead of errs.Conflict
	clean    bool // refuse any change, forced or not
	tree     func(ctx context.Context, live oid.ID) (oid.ID, error)
	harmless oid.ID // the live tree that is lost without a loss, if it is that
	inWay    func(path string) bool
	commit   func(c liveCommit) error // moves refs
	// hold keeps the names of branches as they are while fn, which commits, runs; nil: nothing but that.
	hold func(fn func() error) error
}

// liveCommit is what the refs that move with a live tree have to know.
type liveCommit struct {
	head  oid.ID // of the branch
	saved oid.ID // the commit that holds what would be lost, zero for none
	had   bool   // the live tree was the new one already
	// note puts the switch into the transaction: if the process dies right after it, the live tree follows at the next start.
	note func(t *ref.Txn) error
}

// moveLive does m: it stores what the live tree holds, refuses or keeps what is not committed, and switches live tree and refs together. Files open for writing
// are errs.Busy. The caller has locked snapshots of the branch and shares with GC. What was stored is durable before the switch.
func (r *Repo) moveLive(ctx context.Context, m liveMove) (saved oid.ID, err error) {
	defer r.liveChanged(m.branch)
	for try := 1; ; try++ {
		saved, err = r.tryMoveLive(ctx, m)
		if !errors.Is(err, worktree.ErrMoved) || try == moveTries {
			return saved, err
		}
	}
}

func (r *Repo) tryMoveLive(ctx context.Context, m liveMove) (saved oid.ID, err error) {
	head, err := r.Refs.Branch(m.branch)
	if err != nil {
		return oid.ID{}, err
	}
	live, err := r.LiveTree(ctx, m.branch)
	if err != nil {
		return oid.ID{}, err
	}
	frozen, err := live.Snapshot(ctx, true, nil)
	if err != nil {
		return oid.ID{}, err
	}
	to, err := m.tree(ctx, frozen.Root)
	if err != nil {
		return oid.ID{}, err
	}
	if frozen.Root != to && (m.harmless.IsZero() || frozen.Root != m.harmless) {
		if saved, err = r.keep(ctx, m, live, head.ID, frozen.Root); err != nil {
			return oid.ID{}, err
		}
	}
	if err := r.Packs.Sync(ctx); err != nil {
		return oid.ID{}, err
	}
	hold := m.hold
	if hold == nil {
		hold = func(fn func() error) error {
			r.names.RLock() // the branch keeps its name and its live tree
			defer r.names.RUnlock()
			return fn()
		}
	}
	return saved, hold(func() error {
		return live.Switch(ctx, frozen.Root, to, func(mark string) error {
			note := func(t *ref.Txn) error { return t.NoteSwitch(m.branch, mark) }
			return m.commit(liveCommit{head: head.ID, saved: saved, had: frozen.Root == to, note: note})
		})
	})
}

// keep refuses to lose what is not committed, or makes a commit of it. A file that was only deleted is no loss if it comes back; the commit keeps that too, for undo.
func (r *Repo) keep(ctx context.Context, m liveMove, live *worktree.Tree, head, root oid.ID) (oid.ID, error) {
	headTree, err := r.rootOf(ctx, head)
	if err != nil {
		return oid.ID{}, err
	}
	changes, err := live.Status(ctx, headTree)
	if err != nil {
		return oid.ID{}, err
	}
	first, lost, deleted := "", 0, 0
	for _, c := range changes {
		switch {
		case m.inWay != nil && !m.inWay(c.Path):
		case c.Kind == "deleted" && !m.clean:
			deleted++
		default:
			first = cmp.Or(first, c.Path)
			lost++
		}
	}
	switch {
	case lost+deleted == 0:
		return oid.ID{}, nil
	case lost > 0 && (m.clean || !m.force):
		return oid.ID{}, dirtyError(m.branch, lost, first, !m.clean)
	}
	c := &object.Commit{Tree: root, Author: m.author, Time: time.Now(), Message: fmt.Sprintf("uncommitted changes of %s, kept by %s", m.branch, m.op)}
	if !head.IsZero() {
		c.Parents = []oid.ID{head}
	}
	return r.Objects.PutCommit(ctx, c)
}

// dirtyError is errs.Conflict for a live tree in the way.
func dirtyError(branch string, n int, first string, force bool) error {
	changes, more := "1 change is", ""
	if n > 1 {
		changes, more = fmt.Sprintf("%d changes are", n), " …"
	}
	way := "snapshot them"
	if force {
		way += ", or --force keeps them as a commit of the ref log"
	}
	return fmt.Errorf("%s not committed in the live tree of %s (%s%s): %s: %w", changes, branch, first, more, way, errs.Conflict)
}

// ResetOptions say where a branch goes.
type ResetOptions struct {
	Branch string // "" is HEAD's
	To     oid.ID
	Rev    string // how the caller named To, for the log
	Hard   bool   // the live tree becomes To's; else it stays as it is
	Force  bool   // with Hard: changes that are not committed are kept as a commit in the ref log, instead of errs.Conflict
	Author string // "" is DefaultAuthor
}

// ResetResult says what a reset did. JSON field names are a promise.
type ResetResult struct {
	Branch    string `json:"branch"`
	Commit    oid.ID `json:"commit"`
	Was       oid.ID `json:"was"`            // "" if the branch had no commit
	Kept      oid.ID `json:"kept,omitzero"`  // the commit of what was not committed
	Hard      bool   `json:"hard,omitempty"` // the live tree is the commit's
	Unchanged bool   `json:"unchanged,omitempty"`
}

// Reset moves the head of a branch to a commit. All of it happens or nothing; the ref log has where the branch was.
func (r *Repo) Reset(ctx context.Context, opts ResetOptions) (ResetResult, error) {
	res, err := r.reset(ctx, opts)
	if err != nil {
		return ResetResult{}, fmt.Errorf("reset: %w", err)
	}
	return res, nil
}

func (r *Repo) reset(ctx context.Context, opts ResetOptions) (res ResetResult, err error) {
	author := authorOr(opts.Author)
	branch, done, err := r.beginMove(ctx, opts.Branch, opts.To)
	if err != nil {
		return res, err
	}
	defer done()
	head, err := r.Refs.Branch(branch)
	if err != nil {
		return res, err
	}
	res = ResetResult{Branch: branch, Commit: opts.To, Was: head.ID, Hard: opts.Hard}
	rev := cmp.Or(opts.Rev, opts.To.Short())
	if !opts.Hard {
		if res.Unchanged = head.ID == opts.To; res.Unchanged {
			return res, nil
		}
		return res, r.Refs.MoveBranch(branch, head.ID, opts.To, author, softReset+rev)
	}
	tree, err := r.rootOf(ctx, opts.To)
	if err != nil {
		return res, err
	}
	res.Kept, err = r.moveLive(ctx, liveMove{
		op: "reset", branch: branch, author: author, force: opts.Force,
		tree: func(_ context.Context, live oid.ID) (oid.ID, error) {
			res.Unchanged = live == tree && head.ID == opts.To
			return tree, nil
		},
		commit: func(c liveCommit) error {
			return r.moveBranch(c, branch, c.head, opts.To, author, liveReason("reset: hard to "+rev, c.had))
		},
	})
	return res, err
}

// softReset begins the log's line of a reset that leaves the live tree as it is.
const softReset = "reset: soft to "

// moveBranch moves a branch that is at head with its live tree, past the commit that keeps what was in it, in one transaction.
func (r *Repo) moveBranch(c liveCommit, branch string, head, to oid.ID, author, why string) error {
	if c.saved.IsZero() && head == to {
		return nil // the live tree alone changes
	}
	return r.Refs.Update(author, func(t *ref.Txn) error {
		at := head
		if !c.saved.IsZero() {
			if err := t.MoveBranch(branch, head, c.saved, keptWhy+why); err != nil {
				return err
			}
			at = c.saved
		}
		if err := t.MoveBranch(branch, at, to, why); err != nil {
			return err
		}
		return c.note(t)
	})
}

// beginMove finds the branch ("" is HEAD's), keeps its snapshots and GC out until done is called, and proves that it may go to the commit to (zero: not known yet).
func (r *Repo) beginMove(ctx context.Context, name string, to oid.ID) (branch string, done func(), err error) {
	if err := r.writable("move branch"); err != nil {
		return "", nil, err
	}
	if branch, err = r.branchToCommit(name); err != nil {
		return "", nil, err
	}
	if _, err := r.Refs.Branch(branch); err != nil {
		return "", nil, err
	}
	unlock, err := r.snapshots.lock(ctx, branch)
	if err != nil {
		return "", nil, err
	}
	release, err := r.prepareName(ctx, "move branch "+branch, to)
	if err != nil {
		unlock()
		return "", nil, err
	}
	return branch, func() { release(); unlock() }, nil
}
