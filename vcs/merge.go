package vcs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/merge"
	"coral/vcs/merge/method"
	"coral/vcs/object"
	"coral/vcs/tensor"
	"coral/vcs/worktree"
)

// LabelMerge is the label of merge commits that says how they were made: a MergeRecipe as JSON.
const LabelMerge = "merge.recipe"

// MergeOptions say what is merged into what, and how.
type MergeOptions struct {
	Branch    string   // "" is HEAD's
	With      []string // revisions, theirs in order
	Models    []string // if not nil, the sides are these revisions, and With is not looked at: the first gives the containers (mergekit's recipes)
	Base      string   // a revision; "" is the merge base
	Unrelated bool     // without a common ancestor the base is an empty tree; else it is an error
	NoFF      bool     // make a commit where the branch could just move
	Strategy  method.Spec
	Settings  []method.Setting // see merge.Options
	Layers    int              // see merge.Options
	Rules     []merge.Rule
	Fallback  string // see merge.Options
	All       bool   // see merge.Options
	Message   string // "" says what was merged
	Author    string // "" is DefaultAuthor
	Metrics   map[string]float64
	Labels    map[string]string
	DryRun    bool
	Clean     bool    // a dry run refuses a live tree with changes, as the merge would
	Head      *oid.ID // if not nil, what the branch must be at, zero if it has no commit yet: it is errs.Conflict if it moved
	Soup      *Soup   // of models: how they were chosen, for the recipe
	Dir       string  // of models: the result is written to this new or empty directory, and nothing else is done
	Progress  func(path string, done, total int64)
}

// MergeRecipe is how a merge was made: with the same recipe the same tree comes out, on any machine. JSON names are a promise.
type MergeRecipe struct {
	Version  int              `json:"version"` // 1
	Sides    []oid.ID         `json:"sides"`   // commits, ours first
	Base     oid.ID           `json:"base,omitzero"`
	Strategy method.Spec      `json:"strategy"`
	Settings []method.Setting `json:"settings,omitempty"` // parameters of the strategy that depend on the tensor
	Layers   int              `json:"layers,omitempty"`
	Rules    []merge.Rule     `json:"rules,omitempty"`
	Fallback string           `json:"fallback,omitempty"`
	All      bool             `json:"all,omitempty"`
	Soup     *Soup            `json:"soup,omitempty"` // how the sides were chosen
}

// Soup is how the ingredients of a greedy soup were chosen. JSON names are a promise.
type Soup struct {
	Score         string          `json:"score"` // the command
	LowerIsBetter bool            `json:"lower_is_better,omitempty"`
	Candidates    []SoupCandidate `json:"candidates"` // as they were named, that of the branch first
	Trials        []SoupTrial     `json:"trials"`     // in the order they were made
	Final         float64         `json:"final"`      // the soup's
}

// SoupCandidate is a commit that could go into a soup.
type SoupCandidate struct {
	Commit oid.ID  `json:"commit"`
	Name   string  `json:"name"`
	Score  float64 `json:"score"`
	Chosen bool    `json:"chosen"`
}

// SoupTrial is a soup that was tested: what was chosen before, and one more.
type SoupTrial struct {
	Added oid.ID  `json:"added"`
	Score float64 `json:"score"`
	Kept  bool    `json:"kept"`
}

// MergeResult is what Merge did, or would do. JSON names are a promise.
type MergeResult struct {
	Branch      string           `json:"branch"`
	Commit      oid.ID           `json:"commit,omitzero"` // what the branch is at now; zero after a dry run and with conflicts
	Head        oid.ID           `json:"head,omitzero"`   // what it was at
	Sides       []oid.ID         `json:"sides"`           // ours first
	Base        oid.ID           `json:"base,omitzero"`
	Bases       int              `json:"bases"` // best common ancestors: several after criss-cross merges, Base is the newest then
	UpToDate    bool             `json:"up_to_date,omitempty"`
	FastForward bool             `json:"fast_forward,omitempty"`
	Tree        oid.ID           `json:"tree,omitzero"`
	Conflicts   []merge.Conflict `json:"conflicts"`
	Files       []merge.File     `json:"files"`
	Omitted     int              `json:"omitted,omitempty"` // rows that the lists have no room for
	Taken       int              `json:"tensors_taken"`
	Computed    int              `json:"tensors_computed"`
	Bytes       int64            `json:"bytes"`        // of files made
	StoredBytes int64            `json:"stored_bytes"` // what their content added to the store
	Recipe      *MergeRecipe     `json:"recipe,omitempty"`
	DryRun      bool             `json:"dry_run,omitempty"`
	Seconds     float64          `json:"seconds"`
}

// Err is errs.Conflict if there are conflicts.
func (r MergeResult) Err() error {
	n := len(r.Conflicts) + r.Omitted
	if len(r.Conflicts) == 0 {
		return nil
	}
	c := r.Conflicts[0]
	where := c.Path
	if c.Tensor != "" {
		where += ":" + c.Tensor
	}
	more := ""
	if n > 1 {
		more = fmt.Sprintf(", and %d more", n-1)
	}
	return fmt.Errorf("merge into %s: %s: %s%s: nothing was changed, choose a strategy: %w", r.Branch, where, c.Why, more, errs.Conflict)
}

// Merge joins commits into a branch: what is stored is a commit with all of them as parents, and the branch moves to it by compare-and-set together with its live tree. Conflicts are
// in the result, and nothing has changed then. A live tree with changes is errs.Conflict, one with files open for writing errs.Busy.
func (r *Repo) Merge(ctx context.Context, opts MergeOptions) (MergeResult, error) {
	start := time.Now()
	res, err := r.merge(ctx, opts)
	res.Seconds = time.Since(start).Seconds()
	if err != nil {
		return res, fmt.Errorf("merge: %w", err)
	}
	return res, nil
}

func (r *Repo) merge(ctx context.Context, opts MergeOptions) (MergeResult, error) {
	if err := r.writable("merge"); err != nil && !opts.DryRun {
		return MergeResult{}, err
	}
	branch, err := r.branchToCommit(opts.Branch)
	if err != nil {
		return MergeResult{}, err
	}
	unlock, err := r.snapshots.lock(ctx, branch)
	if err != nil {
		return MergeResult{}, err
	}
	defer unlock()
	release, err := r.share(ctx)
	if err != nil {
		return MergeResult{}, err
	}
	defer release()
	j := &merging{r: r, opts: opts, res: MergeResult{Branch: branch, DryRun: opts.DryRun, Conflicts: []merge.Conflict{}, Files: []merge.File{}}}
	err = j.run(ctx)
	return j.res, err
}

// merging is one Merge.
type merging struct {
	r    *Repo
	opts MergeOptions
	res  MergeResult
}

func (j *merging) run(ctx context.Context) error {
	if err := j.sides(ctx); err != nil {
		return err
	}
	headTree, err := j.r.rootOf(ctx, j.res.Head)
	if err != nil {
		return err
	}
	if j.opts.Dir != "" {
		return j.models(ctx)
	}
	if !j.opts.DryRun || j.opts.Clean {
		if err := j.r.cleanLive(ctx, j.res.Branch, headTree); err != nil {
			return err
		}
	}
	soup := j.opts.All || j.opts.Models != nil
	if !soup {
		done, err := j.forward(ctx, headTree)
		if done || err != nil {
			return err
		}
	}
	return j.models(ctx)
}

// models merges the sides, whatever the branch is.
func (j *merging) models(ctx context.Context) error {
	if err := j.base(ctx); err != nil {
		return err
	}
	return j.trees(ctx)
}

// sides resolves what is merged.
func (j *merging) sides(ctx context.Context) error {
	head, err := j.r.Refs.Branch(j.res.Branch)
	if err != nil {
		return err
	}
	j.res.Head = head.ID
	if was := j.opts.Head; was != nil && *was != head.ID {
		return fmt.Errorf("branch %q has moved to %s meanwhile, begin again: %w", j.res.Branch, head.ID.Short(), errs.Conflict)
	}
	revs := j.opts.Models
	if revs == nil {
		revs = j.opts.With
		if len(revs) == 0 {
			return fmt.Errorf("nothing to merge: %w", errs.Invalid)
		}
		j.res.Sides = []oid.ID{head.ID}
		if head.ID.IsZero() && len(revs) > 1 {
			return fmt.Errorf("branch %q has no commit yet, and several are to be merged into it: %w", j.res.Branch, errs.Invalid)
		}
	}
	for _, rev := range revs {
		id, err := j.r.Resolve(ctx, rev)
		if err == nil {
			err = j.r.whole(ctx, id)
		}
		if err != nil {
			return err
		}
		j.res.Sides = append(j.res.Sides, id)
	}
	if len(j.res.Sides) > method.MaxSides {
		return fmt.Errorf("%d sides, at most %d: %w", len(j.res.Sides), method.MaxSides, errs.Invalid)
	}
	return nil
}

// forward does what needs no merge: nothing, or moving the branch.
func (j *merging) forward(ctx context.Context, headTree oid.ID) (done bool, err error) {
	theirs := j.res.Sides[1:]
	if j.res.Head.IsZero() {
		return true, j.fastForward(ctx, theirs[0], headTree)
	}
	within := true
	for _, id := range theirs {
		is, err := j.r.IsAncestor(ctx, id, j.res.Head)
		if err != nil {
			return false, err
		}
		within = within && is
	}
	if within {
		j.res.UpToDate, j.res.Commit = true, j.res.Head
		return true, nil
	}
	if len(theirs) > 1 || j.opts.NoFF {
		return false, nil
	}
	is, err := j.r.IsAncestor(ctx, j.res.Head, theirs[0])
	if err != nil || !is {
		return false, err
	}
	return true, j.fastForward(ctx, theirs[0], headTree)
}

func (j *merging) fastForward(ctx context.Context, to, headTree oid.ID) error {
	j.res.FastForward = true
	root, err := j.r.rootOf(ctx, to)
	if err != nil {
		return err
	}
	j.res.Tree = root
	if j.opts.DryRun {
		return nil
	}
	return j.move(ctx, to, "fast-forward")
}

// base finds what the sides come from.
func (j *merging) base(ctx context.Context) error {
	if j.opts.Base != "" {
		id, err := j.r.Resolve(ctx, j.opts.Base)
		j.res.Base, j.res.Bases = id, 1
		return err
	}
	base := j.res.Sides[0]
	for _, id := range j.res.Sides[1:] {
		bases, err := j.r.MergeBases(ctx, base, id)
		if err != nil {
			return err
		}
		if len(bases) == 0 {
			if j.opts.Unrelated || j.opts.Models != nil {
				j.res.Base, j.res.Bases = oid.ID{}, 0
				return nil
			}
			return fmt.Errorf("%s and %s have no commit in common: name a base with --base REV, or allow it with --allow-unrelated: %w", base.Short(), id.Short(), errs.Invalid)
		}
		base = bases[0]
		j.res.Bases = max(j.res.Bases, len(bases))
	}
	j.res.Base = base
	return nil
}

// trees merges and commits.
func (j *merging) trees(ctx context.Context) error {
	o := merge.Options{
		Default: j.opts.Strategy, Settings: j.opts.Settings, Layers: j.opts.Layers, Rules: j.opts.Rules, Fallback: cmp.Or(j.opts.Fallback, method.Fail), All: j.opts.All || j.opts.Models != nil,
		DryRun: j.opts.DryRun, TempDir: j.r.Dir, Progress: j.opts.Progress,
	}
	var err error
	if o.Base, err = j.r.rootOf(ctx, j.res.Base); err != nil {
		return err
	}
	for _, id := range j.res.Sides {
		root, err := j.r.rootOf(ctx, id)
		if err != nil {
			return err
		}
		o.Sides = append(o.Sides, root)
	}
	j.res.Recipe = &MergeRecipe{
		Version: 1, Sides: j.res.Sides, Base: j.res.Base, Strategy: o.Default, Settings: o.Settings, Layers: o.Layers,
		Rules: o.Rules, Fallback: o.Fallback, All: o.All, Soup: j.opts.Soup,
	}
	if j.opts.Dir != "" {
		return j.draft(ctx, o)
	}
	got, err := j.join(ctx, mergeStore{j.r}, o)
	if err != nil {
		return err
	}
	if j.opts.DryRun || len(got.Conflicts) > 0 {
		return nil
	}
	if len(j.res.Sides) == 1 && j.res.Sides[0] == j.res.Head {
		j.res.UpToDate, j.res.Commit = true, j.res.Head // a soup of what is there
		return nil
	}
	commit, err := j.commit(ctx)
	if err != nil {
		return err
	}
	return j.move(ctx, commit, j.subject())
}

// subject is the message of a merge that got none.
func (j *merging) subject() string {
	names := j.opts.With
	if j.opts.Models != nil {
		names = j.opts.Models
	}
	how := ""
	if j.opts.Strategy.Computes() {
		how = " (" + j.opts.Strategy.Method + ")"
	}
	return oneLine(fmt.Sprintf("merge %s into %s%s", strings.Join(names, ", "), j.res.Branch, how))
}

// commit stores the merge commit.
func (j *merging) commit(ctx context.Context) (oid.ID, error) {
	recipe, err := json.Marshal(j.res.Recipe)
	if err != nil {
		return oid.ID{}, err
	}
	c := &object.Commit{
		Tree: j.res.Tree, Message: strings.TrimRight(strings.ToValidUTF8(j.opts.Message, "\uFFFD"), " \t\r\n"),
		Author: authorOr(j.opts.Author), Time: time.Now(), Metrics: j.opts.Metrics, Labels: map[string]string{},
	}
	if c.Message == "" {
		c.Message = j.subject()
	}
	for k, v := range j.opts.Labels {
		c.Labels[k] = v
	}
	c.Labels[LabelMerge] = string(recipe)
	for _, id := range append([]oid.ID{j.res.Head}, j.res.Sides...) {
		if !id.IsZero() && !slices.Contains(c.Parents, id) {
			c.Parents = append(c.Parents, id)
		}
	}
	if len(c.Parents) > object.MaxParents {
		return oid.ID{}, fmt.Errorf("%d parents, at most %d: %w", len(c.Parents), object.MaxParents, errs.Invalid)
	}
	id, err := j.r.Objects.PutCommit(ctx, c)
	if err != nil {
		return oid.ID{}, err
	}
	return id, j.r.Packs.Sync(ctx)
}

// move moves the branch, with its live tree.
func (j *merging) move(ctx context.Context, to oid.ID, why string) error {
	who := authorOr(j.opts.Author)
	if err := j.r.moveWithLive(ctx, j.res.Branch, j.res.Head, to, who, "merge: "+why); err != nil {
		return err
	}
	j.res.Commit = to
	if _, err := j.r.Graph.Node(ctx, to); err != nil { // noted while it is at hand; a walk would find it too
		j.r.log.Warn("commit graph", "err", err)
	}
	return nil
}

// cleanLive refuses a live tree that is not as the head's tree.
func (r *Repo) cleanLive(ctx context.Context, branch string, head oid.ID) error {
	if !slices.Contains(r.Live.Branches(), branch) {
		return nil
	}
	live, err := r.LiveTree(ctx, branch)
	if err != nil {
		return err
	}
	return clean(ctx, live, head)
}

// clean refuses a live tree that differs from a committed one.
func clean(ctx context.Context, live *worktree.Tree, head oid.ID) error {
	changes, err := live.Status(ctx, head)
	if err != nil || len(changes) == 0 {
		return err
	}
	return fmt.Errorf("branch %q: %d changes are not committed (%s …): snapshot them first: %w", live.Branch(), len(changes), changes[0].Path, errs.Conflict)
}

// moveWithLive moves a branch from one commit to another, and its live tree, which must have no changes, with it.
func (r *Repo) moveWithLive(ctx context.Context, branch string, from, to oid.ID, who, why string) error {
	_, err := r.moveLive(ctx, liveMove{
		op: "merge", branch: branch, author: who, clean: true,
		tree: func(ctx context.Context, _ oid.ID) (oid.ID, error) { return r.rootOf(ctx, to) },
		commit: func(c liveCommit) error {
			return r.moveBranch(c, branch, from, to, who, liveReason(why, c.had))
		},
	})
	return err
}

// mergeStore gives package merge what it needs of a repository.
type mergeStore struct{ r *Repo }

var _ merge.Store = mergeStore{}

// Tree implements merge.Store.
func (s mergeStore) Tree(ctx context.Context, id oid.ID) (*object.Tree, error) {
	return s.r.tree(ctx, id)
}

// PutTree implements merge.Store.
func (s mergeStore) PutTree(ctx context.Context, t *object.Tree) (oid.ID, error) {
	return s.r.Objects.PutTree(ctx, t)
}

// Manifest implements merge.Store.
func (s mergeStore) Manifest(ctx context.Context, id oid.ID) (*object.Manifest, error) {
	return s.r.Objects.Manifest(ctx, id)
}

// Source implements merge.Store.
func (s mergeStore) Source(ctx context.Context, manifest oid.ID) (tensor.Source, error) {
	f, err := s.r.Content.Open(ctx, manifest)
	if err != nil {
		return nil, err // not a nil *File in an interface
	}
	return f, nil
}

// Ingest implements merge.Store.
func (s mergeStore) Ingest(ctx context.Context, r io.ReaderAt, size int64, path string, prev oid.ID) (oid.ID, int64, error) {
	res, err := s.r.Content.Ingest(ctx, r, size, content.Hint{Path: path, Prev: prev})
	return res.Manifest, res.New, err
}
