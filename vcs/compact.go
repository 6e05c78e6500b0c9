package vcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"coral/delta/lossy"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/ref"
)

// Labels of the commits that Compact makes.
const (
	LabelLossy   = "lossy"      // the method: the commit's tensors are approximations
	LabelLossyOf = "lossy.of"   // the id of the commit that they approximate
	LabelMovedOf = "compact.of" // the id of the commit with the same tree and other parents
)

// CompactTags begins the names of the tags that keep what Compact replaced: compact/<branch>/<id>. They keep nothing from being approximated again.
const CompactTags = "compact/"

// compactWhy begins the log's line of the move of a branch by Compact: its live tree stays as it is, and so it does in an undo.
const compactWhy = "compact: "

// LossyMethod is a way to approximate tensors.
type LossyMethod = lossy.Method

// ParseLossyMethod returns the method of a name; an unknown one is errs.Invalid and lists those there are.
func ParseLossyMethod(name string) (LossyMethod, error) { return lossy.ParseMethod(name) }

// CompactOptions say what Compact approximates.
type CompactOptions struct {
	Branch   string // "" is HEAD's
	Lossy    lossy.Params
	KeepLast int      // how many commits stay exact, at least 1
	Include  []string // only files that one of these patterns matches (path.Match; a pattern without "/" is for the name alone)
	DryRun   bool     // only report
	Head     oid.ID   // errs.Conflict if the branch is elsewhere; zero: wherever it is
	Author   string   // of the move of the branch; "" is DefaultAuthor
	Progress func(commits, total int, path string)
}

// CompactedTensor is a tensor of a commit that was approximated, or would be. JSON names are a promise.
type CompactedTensor struct {
	Commit     oid.ID  `json:"commit"`
	Path       string  `json:"path"`
	Tensor     string  `json:"tensor"`
	DType      string  `json:"dtype"`
	Shape      []int64 `json:"shape"`
	Bytes      int64   `json:"bytes"`
	Was        int64   `json:"stored_before"`
	Now        int64   `json:"stored_after"`
	MaxAbs     float64 `json:"max_abs"`
	RelativeL2 float64 `json:"relative_l2"`
	Cosine     float64 `json:"cosine"`
}

// CompactedExact is a tensor of a commit that was left as it is. JSON names are a promise.
type CompactedExact struct {
	Commit oid.ID `json:"commit"`
	Path   string `json:"path"`
	Tensor string `json:"tensor"`
	Why    string `json:"why"`
}

// maxCompactRows bounds the rows of a result's lists.
const maxCompactRows = 1 << 17

// CompactResult is what Compact did, or would do. JSON names are a promise.
type CompactResult struct {
	Branch     string            `json:"branch"`
	Method     string            `json:"method"`
	Head       oid.ID            `json:"head"`     // before
	NewHead    oid.ID            `json:"new_head"` // after; Head if nothing changed, or in a dry run
	Kept       int               `json:"kept"`     // commits that stay exact
	Lossy      int               `json:"lossy"`    // commits that were approximated
	Already    int               `json:"already"`  // commits that were before
	Backup     string            `json:"backup,omitempty"`
	Tensors    []CompactedTensor `json:"tensors"`           // the worst relative_l2 first
	Exact      []CompactedExact  `json:"exact"`             // those that could not be changed, by name
	Left       map[string]int    `json:"left"`              // all that were left as they are, by reason
	Omitted    int               `json:"omitted,omitempty"` // rows that the lists have no room for
	MaxAbs     float64           `json:"max_abs"`           // of all tensors
	RelativeL2 float64           `json:"relative_l2"`
	Cosine     float64           `json:"cosine"`
	Bytes      int64             `json:"bytes"`       // of tensors that were changed
	NewBytes   int64             `json:"new_bytes"`   // stored for what is in their place
	FreedBytes int64             `json:"freed_bytes"` // what gc frees once the backup is dropped; less than was replaced while exact tensors are differences to it
	HeldBytes  int64             `json:"held_bytes"`  // what these exact tensors hold back
	DryRun     bool              `json:"dry_run,omitempty"`
}

// Unchanged reports that there was nothing to approximate.
func (r *CompactResult) Unchanged() bool { return r.Lossy == 0 }

// Compact makes a branch's history anew with approximated tensors in all but its newest commits, and moves the branch there by compare-and-set. What is needed exactly elsewhere, by
// the kept commits, other branches, tags or live trees, stays exact: there would be nothing to gain. Commits that are approximations already are not approximated again; the
// kept ones are made again with the same trees. The old head gets a tag (CompactTags). Until the branch moves, last of all, nothing that can be seen has changed.
func (r *Repo) Compact(ctx context.Context, opts CompactOptions) (CompactResult, error) {
	res, err := r.compact(ctx, opts)
	if err != nil {
		return res, fmt.Errorf("compact: %w", err)
	}
	return res, nil
}

func (o *CompactOptions) check() error {
	if o.KeepLast < 1 {
		return fmt.Errorf("keep the last %d commits: at least 1 stays exact: %w", o.KeepLast, errs.Invalid)
	}
	for _, p := range o.Include {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", p, errs.Invalid)
		}
	}
	return o.Lossy.Validate()
}

func (o *CompactOptions) includes(file string) bool {
	if len(o.Include) == 0 {
		return true
	}
	return slices.ContainsFunc(o.Include, func(p string) bool {
		name := file
		if !strings.Contains(p, "/") {
			name = path.Base(file)
		}
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

func (r *Repo) compact(ctx context.Context, opts CompactOptions) (CompactResult, error) {
	if err := opts.check(); err != nil {
		return CompactResult{}, err
	}
	if err := r.writable("approximate"); err != nil && !opts.DryRun {
		return CompactResult{}, err
	}
	branch, err := r.branchToCommit(opts.Branch)
	if err != nil {
		return CompactResult{}, err
	}
	unlock, err := r.snapshots.lock(ctx, branch)
	if err != nil {
		return CompactResult{}, err
	}
	defer unlock()
	release, err := r.share(ctx)
	if err != nil {
		return CompactResult{}, err
	}
	defer release()
	head, err := r.branchCommit(branch)
	if err != nil {
		return CompactResult{}, err
	}
	if !opts.Head.IsZero() && head != opts.Head {
		return CompactResult{}, fmt.Errorf("branch %q: it moved to %s meanwhile: %w", branch, head.Short(), errs.Conflict)
	}
	c := &compaction{r: r, opts: opts, commits: map[oid.ID]oid.ID{}, files: map[oid.ID]content.Approximated{}}
	c.res = CompactResult{Branch: branch, Method: opts.Lossy.Method.String(), Head: head, NewHead: head, DryRun: opts.DryRun, Left: map[string]int{}, Tensors: []CompactedTensor{}, Exact: []CompactedExact{}}
	if err := c.plan(ctx, branch, head); err != nil {
		return c.res, err
	}
	newHead, err := c.rewrite(ctx, head)
	if err != nil {
		return c.res, err
	}
	if err := c.account(ctx); err != nil {
		return c.res, err
	}
	c.finish()
	if opts.DryRun || newHead == head {
		return c.res, nil
	}
	return c.res, c.move(ctx, branch, head, newHead)
}

// compaction is one Compact at work.
type compaction struct {
	r      *Repo
	opts   CompactOptions
	res    CompactResult
	errors lossy.Errors

	kept, old []oid.ID // commits, newest first
	others    *marker  // what something else than the old commits needs, bases left out
	bases     baseTable
	approx    *content.Approximator

	commits map[oid.ID]oid.ID               // old → new, of those that were looked at
	files   map[oid.ID]content.Approximated // by manifest
}

// plan finds what stays exact, and what the rest can be a difference to.
func (c *compaction) plan(ctx context.Context, branch string, head oid.ID) error {
	r := c.r
	err := r.eachCommit(ctx, []oid.ID{head}, nil, func(id oid.ID, _ *object.Commit) (bool, error) {
		if len(c.kept) < c.opts.KeepLast {
			c.kept = append(c.kept, id)
		} else {
			c.old = append(c.old, id)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	c.res.Kept = len(c.kept)
	c.others = newMarker(r)
	c.others.shallow = true
	for _, id := range c.kept {
		commit, err := r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		if err := c.others.mark(ctx, commit.Tree, objstore.Tree); err != nil {
			return err
		}
	}
	if err := r.markOthers(ctx, c.others, branch); err != nil {
		return err
	}
	for _, id := range slices.Backward(c.kept) { // the oldest is the nearest
		commit, err := r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		if err := c.bases.addTree(ctx, r, commit.Tree, "", 0); err != nil {
			return err
		}
	}
	c.approx = r.Content.NewApproximator(content.Approximation{
		Params: c.opts.Lossy, DryRun: c.opts.DryRun, Bases: c.bases.find,
		Stays: func(id oid.ID) bool { _, ok := c.others.seen[id]; return ok },
	})
	return nil
}

// markOthers marks what is reached otherwise than from a branch and the tags that keep what compactions replaced.
func (r *Repo) markOthers(ctx context.Context, m *marker, branch string) error {
	branches, err := r.Refs.Branches()
	if err != nil {
		return err
	}
	tags, err := r.Refs.Tags()
	if err != nil {
		return err
	}
	head, err := r.Refs.Head()
	if err != nil {
		return err
	}
	ids := []oid.ID{head.Commit}
	for _, b := range branches {
		if b.Name != branch {
			ids = append(ids, b.ID)
		}
	}
	for _, t := range tags {
		if !strings.HasPrefix(t.Name, CompactTags) {
			ids = append(ids, t.ID)
		}
	}
	for _, id := range ids {
		if err := m.mark(ctx, id, objstore.Commit); err != nil {
			return err
		}
	}
	return r.Live.Roots(ctx,
		func(id oid.ID) error { return m.mark(ctx, id, objstore.Manifest) },
		func(id oid.ID) error { return m.mark(ctx, id, objstore.Tree) })
}

// finish sorts and sums up.
func (c *compaction) finish() {
	slices.SortStableFunc(c.res.Tensors, func(a, b CompactedTensor) int { return cmp.Compare(b.RelativeL2, a.RelativeL2) })
	c.res.MaxAbs, c.res.RelativeL2, c.res.Cosine = c.errors.MaxAbs, c.errors.RelativeL2(), c.errors.Cosine()
}

// account finds what a collection frees when the old commits are gone.
func (c *compaction) account(ctx context.Context) error {
	if c.res.Lossy == 0 {
		return nil
	}
	after := newMarker(c.r)
	for id := range c.others.seen {
		if info, err := c.r.Packs.Stat(id); err == nil && info.Kind == objstore.Blob {
			if err := after.mark(ctx, id, objstore.Blob); err != nil {
				return err
			}
		}
	}
	replaced := map[oid.ID]bool{}
	for manifest, a := range c.files {
		gone := map[oid.ID]bool{}
		for _, id := range a.Replaced {
			gone[id], replaced[id] = true, true
		}
		for _, id := range a.Bases {
			if err := after.mark(ctx, id, objstore.Blob); err != nil {
				return err
			}
		}
		m, err := c.r.Objects.Manifest(ctx, manifest)
		if err != nil {
			return err
		}
		for i := range m.Segments {
			if id := m.Segments[i].Blob; !gone[id] {
				if err := after.mark(ctx, id, objstore.Blob); err != nil {
					return err
				}
			}
		}
	}
	if err := c.markExcluded(ctx, after); err != nil {
		return err
	}
	for id := range replaced {
		info, err := c.r.Packs.Stat(id)
		if err != nil {
			return err
		}
		if _, held := after.seen[id]; held {
			c.res.HeldBytes += info.Stored
		} else {
			c.res.FreedBytes += info.Stored
		}
	}
	return nil
}

// markExcluded marks the files of old commits that were not looked at: those that the patterns leave out, and those of commits that are approximations.
func (c *compaction) markExcluded(ctx context.Context, m *marker) error {
	for id := range c.files {
		m.seen[id] = struct{}{} // marked blob by blob
	}
	for _, id := range c.old {
		commit, err := c.r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		if err := m.mark(ctx, commit.Tree, objstore.Tree); err != nil {
			return err
		}
	}
	return nil
}

// move makes everything durable, keeps the old head by a tag, and moves the branch.
func (c *compaction) move(ctx context.Context, branch string, head, newHead oid.ID) error {
	r := c.r
	if err := r.Packs.Sync(ctx); err != nil {
		return err
	}
	who := authorOr(c.opts.Author)
	backup := ref.Ref{Name: CompactTags + branch + "/" + head.Short(), ID: head}
	why := fmt.Sprintf("%s%s, %d commits, at %s", compactWhy, c.res.Method, c.res.Lossy, time.Now().UTC().Format(time.RFC3339))
	err := r.Refs.Update(who, func(t *ref.Txn) error {
		was, err := t.Tag(backup.Name)
		switch {
		case errors.Is(err, errs.NotFound):
			err = t.CreateTag(backup, "compact: keeps what was exact")
		case err == nil && was.ID != head: // else one that an older program made and was killed before the branch moved
			err = fmt.Errorf("tag %q: %w", backup.Name, errs.Exist)
		}
		if err != nil {
			return err
		}
		return t.MoveBranch(branch, head, newHead, why)
	})
	if err != nil {
		return err
	}
	c.res.Backup = backup.Name
	c.res.NewHead = newHead
	return nil
}
