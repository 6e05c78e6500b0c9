package service

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
)

// ResetRequest is `coral reset`.
type ResetRequest struct {
	Rev    string `json:"rev,omitempty"`
	Branch string `json:"branch,omitempty"`
	Hard   bool   `json:"hard,omitempty"`
	Force  bool   `json:"force,omitempty"`
	Author string `json:"author,omitempty"`
	soft   bool
}

// Flags implements Request.
func (r *ResetRequest) Flags(f *pflag.FlagSet) {
	f.BoolVar(&r.Hard, "hard", false, "the live tree becomes REV's too")
	f.BoolVar(&r.soft, "soft", false, "the live tree stays as it is (default)")
	f.BoolVarP(&r.Force, "force", "f", false, "with --hard: keep what is not committed as a commit of the ref log, instead of refusing")
	f.StringVarP(&r.Branch, "branch", "b", "", "move this `branch` (default the current one)")
}

// SetArgs implements Request.
func (r *ResetRequest) SetArgs(args []string) error {
	switch {
	case r.Hard && r.soft:
		return control.Usagef("reset: --hard and --soft exclude each other")
	case r.Force && !r.Hard:
		return control.Usagef("reset: --force goes with --hard")
	}
	r.Rev = arg(args, 0)
	if err := refuseEmpty("reset", args); err != nil {
		return err
	}
	return atMost("reset", args, 1)
}

// Access implements Request.
func (r *ResetRequest) Access() Access { return Writes }

// Localize implements Localizer.
func (r *ResetRequest) Localize() error { return localAuthor(&r.Author) }

// localAuthor fills in who the caller is.
func localAuthor(author *string) error {
	if *author == "" {
		*author = vcs.DefaultAuthor()
	}
	return nil
}

func (s *Service) reset(ctx context.Context, r *ResetRequest, _ Progress) (vcs.ResetResult, error) {
	s.settle(ctx)
	id, err := s.revOf(ctx, r.Rev, r.Branch)
	if err != nil {
		return vcs.ResetResult{}, fmt.Errorf("reset: %w", err)
	}
	rev := r.Rev
	if rev == "" {
		rev = "HEAD"
	}
	res, err := s.repo.Reset(ctx, vcs.ResetOptions{Branch: r.Branch, To: id, Rev: rev, Hard: r.Hard, Force: r.Force, Author: r.Author})
	return res, err
}

// revOf resolves rev; "" is the head of branch ("": the current one).
func (s *Service) revOf(ctx context.Context, rev, branch string) (oid.ID, error) {
	if rev == "" && branch != "" {
		rev = livePrefix + branch
	}
	return s.repo.Resolve(ctx, rev)
}

// pickRequest is what revert and cherry-pick have in common.
type pickRequest struct {
	Revs     []string `json:"revs"`
	Branch   string   `json:"branch,omitempty"`
	Mainline int      `json:"mainline,omitempty"`
	Message  string   `json:"message,omitempty"`
	Author   string   `json:"author,omitempty"`
	Caller   string   `json:"caller,omitempty"` // who moves the branch
}

// Flags implements Request.
func (r *pickRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Branch, "branch", "b", "", "on this `branch` (default the current one)")
	f.IntVar(&r.Mainline, "mainline", 0, "of a merge: its changes against this parent, a `number` from 1")
	f.StringVarP(&r.Message, "message", "m", "", "message of the new commit")
	f.StringVar(&r.Author, "author", "", "`\"Name <email>\"` of the new commits")
}

func (r *pickRequest) setArgs(op string, args []string) error {
	r.Revs, r.Message = args, validText(r.Message)
	switch {
	case len(args) == 0:
		return control.Usagef("%s: name at least one commit", op)
	case len(args) > 1 && r.Message != "":
		return control.Usagef("%s: -m goes with one commit", op)
	case r.Mainline < 0:
		return control.Usagef("%s: --mainline %d: parents are counted from 1", op, r.Mainline)
	}
	return refuseEmpty(op, args)
}

// Access implements Request.
func (r *pickRequest) Access() Access { return Writes }

// RevertRequest is `coral revert`.
type RevertRequest struct{ pickRequest }

// SetArgs implements Request.
func (r *RevertRequest) SetArgs(args []string) error { return r.setArgs("revert", args) }

// Localize implements Localizer.
func (r *RevertRequest) Localize() error { return localAuthor(&r.Author) }

// CherryPickRequest is `coral cherry-pick`.
type CherryPickRequest struct{ pickRequest }

// SetArgs implements Request.
func (r *CherryPickRequest) SetArgs(args []string) error { return r.setArgs("cherry-pick", args) }

func (s *Service) revert(ctx context.Context, r *RevertRequest, _ Progress) (vcs.PickResult, error) {
	return s.pick(ctx, &r.pickRequest, true)
}

func (s *Service) cherryPick(ctx context.Context, r *CherryPickRequest, _ Progress) (vcs.PickResult, error) {
	return s.pick(ctx, &r.pickRequest, false)
}

func (s *Service) pick(ctx context.Context, r *pickRequest, revert bool) (vcs.PickResult, error) {
	s.settle(ctx)
	opts := vcs.PickOptions{Branch: r.Branch, Revert: revert, Mainline: r.Mainline, Message: r.Message, Author: r.Author}
	for _, rev := range r.Revs {
		id, err := s.repo.Resolve(ctx, rev)
		if err != nil {
			return vcs.PickResult{}, fmt.Errorf("%s: %w", pickName(revert), err)
		}
		opts.Commits = append(opts.Commits, id)
	}
	res, err := s.repo.Pick(ctx, opts)
	return res, err
}

func pickName(revert bool) string {
	if revert {
		return "revert"
	}
	return "cherry-pick"
}

// RestoreRequest is `coral restore`.
type RestoreRequest struct {
	Source string         `json:"source,omitempty"`
	Branch string         `json:"branch,omitempty"`
	Paths  []control.Text `json:"paths"`
	Place
	Force  bool   `json:"force,omitempty"`
	Author string `json:"author,omitempty"`
}

// Flags implements Request.
func (r *RestoreRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Source, "source", "s", "", "as they are in this `revision` (default the branch's head)")
	f.StringVarP(&r.Branch, "branch", "b", "", "in the live tree of this `branch` (default the current one)")
	f.BoolVarP(&r.Force, "force", "f", false, "keep what is not committed as a commit of the ref log, instead of refusing")
}

// SetArgs implements Request.
func (r *RestoreRequest) SetArgs(args []string) (err error) {
	if len(args) == 0 {
		return control.Usagef("restore: name at least one path; . is the whole tree")
	}
	r.Paths, err = rawPaths("restore", args)
	return err
}

// Access implements Request.
func (r *RestoreRequest) Access() Access { return Writes }

// Localize implements Localizer.
func (r *RestoreRequest) Localize() error {
	r.localize()
	return localAuthor(&r.Author)
}

// RestoreResult is the reply of restore. JSON names are a promise.
type RestoreResult struct {
	vcs.RestoreResult
	Paths []control.Text `json:"paths"`
}

func (s *Service) restore(ctx context.Context, r *RestoreRequest, _ Progress) (RestoreResult, error) {
	s.settle(ctx)
	id, err := s.revOf(ctx, r.Source, r.Branch)
	if err != nil {
		return RestoreResult{}, fmt.Errorf("restore: %w", err)
	}
	live := ""
	if r.Branch == "" {
		live = s.currentBranch()
	}
	paths, err := s.treePaths("restore", r.Place, live, r.Paths)
	if err != nil {
		return RestoreResult{}, err
	}
	opts := vcs.RestoreOptions{Branch: r.Branch, From: id, Rev: r.Source, Force: r.Force, Author: r.Author}
	for _, p := range paths {
		opts.Paths = append(opts.Paths, string(p))
	}
	res, err := s.repo.Restore(ctx, opts)
	return RestoreResult{res, paths}, err
}

// DescribeRequest is `coral describe`.
type DescribeRequest struct {
	Rev    string `json:"rev,omitempty"`
	Match  string `json:"match,omitempty"`
	Always bool   `json:"always,omitempty"`
	Long   bool   `json:"long,omitempty"`
	Exact  bool   `json:"exact,omitempty"`
}

// Flags implements Request.
func (r *DescribeRequest) Flags(f *pflag.FlagSet) {
	f.StringVar(&r.Match, "match", "", "only by tags that this `glob` matches")
	f.BoolVar(&r.Always, "always", false, "by its id alone if there is no tag")
	f.BoolVar(&r.Long, "long", false, "distance and id also at a tag itself")
	f.BoolVar(&r.Exact, "exact-match", false, "only by a tag of the commit itself")
}

// SetArgs implements Request.
func (r *DescribeRequest) SetArgs(args []string) error {
	r.Rev = arg(args, 0)
	return atMost("describe", args, 1)
}

// Access implements Request.
func (r *DescribeRequest) Access() Access { return Reads }

// DescribeResult is the reply of describe. JSON names are a promise.
type DescribeResult struct {
	vcs.Description
	Text string `json:"text"` // "v1", "v1-3-3f9ac1d24e7b", or an id
}

func (s *Service) describeCommit(ctx context.Context, r *DescribeRequest, _ Progress) (DescribeResult, error) {
	id, err := s.repo.Resolve(ctx, r.Rev)
	if err != nil {
		return DescribeResult{}, fmt.Errorf("describe: %w", err)
	}
	d, err := s.repo.Describe(ctx, id, vcs.DescribeOptions{Match: r.Match})
	if err != nil {
		return DescribeResult{}, err
	}
	if r.Exact && d.Distance > 0 {
		d.Tag, d.Distance = "", 0
	}
	res := DescribeResult{Description: d}
	switch {
	case d.Tag == "" && !r.Always:
		where := "at or before it"
		if r.Exact {
			where = "at it"
		}
		return DescribeResult{}, fmt.Errorf("describe %s: no tag %s: name it by its id with --always: %w", id.Short(), where, errs.NotFound)
	case d.Tag == "":
		res.Text = id.Short()
	case d.Distance == 0 && !r.Long:
		res.Text = d.Tag
	default:
		res.Text = fmt.Sprintf("%s-%d-%s", d.Tag, d.Distance, id.Short())
	}
	return res, nil
}
