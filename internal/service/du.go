package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
)

// DuRequest is `coral du`.
type DuRequest struct {
	Target  Target `json:"target"`
	Depth   int    `json:"depth"`
	Commits bool   `json:"commits,omitempty"`
	N       int    `json:"n,omitempty"`
}

// Flags implements Request.
func (r *DuRequest) Flags(f *pflag.FlagSet) {
	f.IntVarP(&r.Depth, "max-depth", "d", 1, "list paths down to this many `levels`")
	f.BoolVar(&r.Commits, "commits", false, "list commits along first parents instead of paths, with what each added")
	f.IntVarP(&r.N, "max-count", "n", 0, "with --commits: at most this `number` (default all)")
}

// SetArgs implements Request.
func (r *DuRequest) SetArgs(args []string) (err error) {
	if r.Target, err = ParseTarget("du", arg(args, 0)); err != nil {
		return err
	}
	switch {
	case r.Depth < 0:
		return control.Usagef("du: --max-depth %d is negative", r.Depth)
	case r.N < 0:
		return control.Usagef("du: -n %d is negative", r.N)
	case r.N > 0 && !r.Commits:
		return control.Usagef("du: -n goes with --commits")
	}
	return atMost("du", args, 1)
}

// Access implements Request.
func (r *DuRequest) Access() Access { return Reads }

// DuResult is how much space things take. JSON names are a promise.
type DuResult struct {
	Commit  oid.ID       `json:"commit"`
	Path    control.Text `json:"path,omitempty"`
	Paths   []DuPath     `json:"paths,omitempty"` // children before their directory, Path itself last
	Commits []DuCommit   `json:"commits,omitempty"`
}

// DuPath is one path. JSON names are a promise.
type DuPath struct {
	Path control.Text `json:"path"`
	Kind string       `json:"kind"`
	vcs.Usage
}

// DuCommit is one commit. JSON names are a promise.
type DuCommit struct {
	Commit  oid.ID    `json:"commit"`
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
	vcs.Usage
	Added vcs.Usage `json:"added"` // what the commits listed before it have not
}

func (s *Service) du(ctx context.Context, r *DuRequest, p Progress) (*DuResult, error) {
	if r.Target.Live {
		return nil, fmt.Errorf("du %s: only commits can be measured, snapshot first: %w", r.Target, errs.Invalid)
	}
	id, err := s.repo.Resolve(ctx, r.Target.Rev)
	if err != nil {
		return nil, fmt.Errorf("du: %w", err)
	}
	c, err := s.repo.Objects.Commit(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("du: %w", err)
	}
	res := &DuResult{Commit: id, Path: control.Text(r.Target.Path)}
	if !r.Commits {
		list, err := s.repo.UsageOf(ctx, c.Tree, r.Target.Path, r.Depth)
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			res.Paths = append(res.Paths, DuPath{control.Text(u.Path), kindName(u.Kind), u.Usage})
		}
		return res, nil
	}
	var ids []oid.ID
	err = s.repo.Log(ctx, id, false, func(id oid.ID, _ *object.Commit) bool {
		ids = append(ids, id)
		return r.N == 0 || len(ids) < r.N
	})
	if err != nil {
		return nil, fmt.Errorf("du: %w", err)
	}
	list, err := s.repo.UsageOfCommits(ctx, ids, r.Target.Path, func(n int) {
		p(control.Progress{Step: "measure", Done: int64(n), Total: int64(len(ids)), Unit: "commits"})
	})
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		subject, _, _ := strings.Cut(u.Commit.Message, "\n")
		res.Commits = append(res.Commits, DuCommit{u.ID, u.Commit.Time.UTC(), subject, u.Usage, u.Added})
	}
	return res, nil
}
