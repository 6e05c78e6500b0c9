package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/ref"
)

// UndoOptions of Undo.
type UndoOptions struct {
	Redo   bool // make again what was undone last
	Force  bool // changes of a live tree that are not committed are kept as a commit in the ref log, instead of errs.Conflict
	DryRun bool // only say what would be done
	Author string
}

// UndoResult says what was taken back or made again.
type UndoResult struct {
	Moves  []ref.Move // of the one command, oldest first, as they were made
	Kept   oid.ID     // the commit of what was not committed
	Branch string     // whose live tree changed with it; "" for none
}

// Undo takes back the last change of refs: of a branch, tag or HEAD, or of several that were changed together; deleted ones come back. The next Undo goes one further
// back, and Redo forward again. A live tree goes with its branch where it went with the move: not for a snapshot, whose changes become uncommitted ones again.
// errs.NotFound when there is nothing to take back; errs.Conflict when a live tree has changes that would be lost.
func (r *Repo) Undo(ctx context.Context, opts UndoOptions) (UndoResult, error) {
	word := "undo"
	if opts.Redo {
		word = "redo"
	}
	res, err := r.undo(ctx, opts)
	if err != nil {
		return res, fmt.Errorf("%s: %w", word, err)
	}
	return res, nil
}

func (r *Repo) undo(ctx context.Context, opts UndoOptions) (res UndoResult, err error) {
	if !opts.DryRun {
		if err := r.writable("move refs"); err != nil {
			return res, err
		}
	}
	moves, err := r.Refs.Next(opts.Redo)
	if err != nil {
		return res, err
	}
	plan, err := r.planUndo(ctx, moves, opts.Redo)
	if err != nil {
		return res, err
	}
	res = UndoResult{Moves: moves, Branch: plan.follow}
	if opts.DryRun {
		return res, nil
	}
	author := authorOr(opts.Author)
	for _, name := range plan.branches { // sorted: two undos do not wait for each other
		unlock, err := r.snapshots.lock(ctx, name)
		if err != nil {
			return res, err
		}
		defer unlock()
	}
	release, err := r.share(ctx)
	if err != nil {
		return res, err
	}
	defer release()
	for _, id := range plan.points {
		if err := r.whole(ctx, id); err != nil {
			return res, err
		}
	}
	for _, id := range plan.objects {
		if _, err := r.Packs.Stat(id); err != nil {
			return res, fmt.Errorf("tag object %s: %w", id.Short(), err)
		}
	}
	revise := func(first func(*ref.Txn) error) error {
		if opts.Redo {
			return r.Refs.Redo(moves, author, first)
		}
		return r.Refs.Undo(moves, author, first)
	}
	hold := func(fn func() error) error { return r.undoNames(ctx, plan, opts.Force, fn) }
	if plan.follow == "" {
		return res, hold(func() error { return revise(nil) })
	}
	if plan.from == "" && len(plan.remove)+len(plan.add) == 0 {
		hold = nil
	}
	res.Kept, err = r.moveLive(ctx, liveMove{
		op: "undo", branch: plan.follow, author: author, force: opts.Force, harmless: plan.harmless,
		tree: func(context.Context, oid.ID) (oid.ID, error) { return plan.tree, nil },
		hold: hold,
		commit: func(c liveCommit) error {
			return revise(func(t *ref.Txn) error {
				if !c.saved.IsZero() {
					if err := t.MoveBranch(plan.follow, c.head, c.saved, keptWhy+"uncommitted changes"); err != nil {
						return err
					}
					if err := t.MoveBranch(plan.follow, c.saved, c.head, keptWhy+"uncommitted changes"); err != nil {
						return err
					}
				}
				return c.note(t)
			})
		},
	})
	return res, err
}

// undoPlan is what moves of refs need besides.
type undoPlan struct {
	branches    []string // that move, sorted
	points      []oid.ID // commits that get a name
	objects     []oid.ID // tag objects that do
	head        bool     // HEAD moves too
	follow      string   // the branch whose live tree becomes tree
	tree        oid.ID
	harmless    oid.ID   // of the live tree: the ref log has it
	remove, add []string // branches that go, and that come
	from, to    string   // a branch that is renamed
}

func (r *Repo) planUndo(ctx context.Context, moves []ref.Move, redo bool) (*undoPlan, error) {
	p := &undoPlan{}
	var first, last *ref.Move // of the branch that moves
	for i := range moves {
		m := &moves[i]
		if redo {
			p.points = append(p.points, m.New)
		} else {
			p.points = append(p.points, m.Old)
		}
		if obj := m.TagObject(); !obj.IsZero() && !p.points[len(p.points)-1].IsZero() {
			p.objects = append(p.objects, obj)
		}
		p.head = p.head || m.Ref == "HEAD"
		name := m.Branch()
		if name == "" {
			continue
		}
		p.branches = append(p.branches, name)
		switch {
		case m.RenameFrom() != "" && redo:
			p.from, p.to = m.RenameFrom(), name
		case m.RenameFrom() != "":
			p.from, p.to = name, m.RenameFrom()
		case m.Created() != redo && (m.Created() || m.Deleted()):
			p.remove = append(p.remove, name)
		case m.Created() || m.Deleted():
			p.add = append(p.add, name)
		case liveStays(m.Reason()):
		default:
			switch {
			case first == nil:
				first = m
			case first.Branch() != name:
				return nil, fmt.Errorf("the change moved several branches with their live trees, %s and %s: move them one by one with reset: %w", first.Branch(), name, errs.Unsupported)
			}
			last = m
			if strings.HasPrefix(m.Reason(), keptWhy) {
				var err error
				if p.harmless, err = r.rootOf(ctx, m.New); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.Sort(p.branches)
	p.branches = slices.Compact(p.branches)
	if first == nil {
		return p, nil
	}
	p.follow = first.Branch()
	var err error
	switch {
	case redo:
		p.tree, err = r.rootOf(ctx, last.New)
	case !p.harmless.IsZero():
		p.tree, p.harmless = p.harmless, oid.ID{}
	default:
		p.tree, err = r.rootOf(ctx, first.Old)
	}
	return p, err
}

// liveStays says whether a move with this reason left the live tree as it was.
func liveStays(why string) bool {
	return strings.HasPrefix(why, "snapshot:") || strings.HasPrefix(why, softReset) || strings.HasPrefix(why, liveHadIt) || strings.HasPrefix(why, compactWhy)
}

// undoNames makes, deletes or renames branches with their live trees, in one step with commit, which moves the refs.
func (r *Repo) undoNames(ctx context.Context, p *undoPlan, force bool, commit func() error) error {
	r.names.Lock()
	defer r.names.Unlock()
	if h, err := r.Refs.Head(); err != nil {
		return err
	} else if slices.Contains(p.remove, h.Branch) && !p.head {
		return fmt.Errorf("delete branch %q: HEAD is on it, check out another first: %w", h.Branch, errs.Conflict)
	}
	check, err := r.deletable(ctx, force, p.remove...)
	if err != nil {
		return err
	}
	gone := slices.Concat(p.remove, p.add) // a killed delete may have left live trees of those that come
	come := p.add
	if p.to != "" {
		gone, come = append(gone, p.to), append(slices.Clone(come), p.to)
	}
	for _, name := range come {
		if _, err := r.Refs.Branch(name); err == nil {
			return fmt.Errorf("branch %q: %w", name, errs.Exist)
		}
	}
	err = r.Live.RemoveWith(ctx, gone, func() error {
		if err := check(ctx); err != nil {
			return err
		}
		return commit()
	})
	if err != nil || p.from == "" {
		return err
	}
	if err := r.Live.Rename(ctx, p.from, p.to); err != nil {
		err = fmt.Errorf("rename branch %q to %q: %w", p.from, p.to, err)
		if back := r.Refs.RenameBranch(p.to, p.from, DefaultAuthor()); back != nil {
			r.log.Error("rename of a branch half done", "op", "undo", "from", p.from, "to", p.to, "err", back)
		}
		return err
	}
	return nil
}
