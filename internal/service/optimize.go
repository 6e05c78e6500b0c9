package service

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
)

// OptimizeRequest is `coral optimize`.
type OptimizeRequest struct {
	Path       control.Text `json:"path,omitempty"`
	Branch     string       `json:"branch,omitempty"`
	NewestSolo int          `json:"newest_solo"`
	DryRun     bool         `json:"dry_run,omitempty"`
}

// Flags implements Request.
func (r *OptimizeRequest) Flags(f *pflag.FlagSet) {
	f.StringVar((*string)(&r.Path), "path", "", "only files whose path (without a slash: whose name) matches this `glob`")
	f.StringVarP(&r.Branch, "branch", "b", "", "only what this `branch` reaches (default every branch and tag)")
	f.IntVar(&r.NewestSolo, "newest-solo", 1, "keep the `n` newest versions of each tensor without a base: the fastest to read")
	f.BoolVar(&r.DryRun, "dry-run", false, "only estimate")
}

// SetArgs implements Request.
func (r *OptimizeRequest) SetArgs(args []string) error { return noArgs("optimize", args) }

// Access implements Request.
func (r *OptimizeRequest) Access() Access {
	if r.DryRun {
		return Reads
	}
	return Writes
}

// OptimizeResult says what optimize did, or would. JSON names are a promise.
type OptimizeResult struct {
	vcs.OptimizeResult
	DryRun  bool    `json:"dry_run,omitempty"`
	Seconds float64 `json:"seconds"`
}

func (s *Service) optimize(ctx context.Context, r *OptimizeRequest, p Progress) (OptimizeResult, error) {
	if r.NewestSolo < 0 {
		return OptimizeResult{}, fmt.Errorf("optimize: newest-solo %d: want 0 or more: %w", r.NewestSolo, errs.Invalid)
	}
	opts := vcs.OptimizeOptions{Path: string(r.Path), Solo: r.NewestSolo, DryRun: r.DryRun, Progress: func(done, total int64, what string) {
		p(control.Progress{Step: "optimize", Done: done, Total: total, Unit: "bytes", What: what})
	}}
	if r.Branch != "" {
		b, err := s.repo.Refs.Branch(r.Branch)
		if err != nil {
			return OptimizeResult{}, fmt.Errorf("optimize: %w", err)
		}
		opts.Tips = []oid.ID{b.ID}
	}
	start := time.Now()
	res, err := s.repo.Optimize(ctx, opts)
	if err != nil {
		return OptimizeResult{}, err
	}
	return OptimizeResult{res, r.DryRun, time.Since(start).Seconds()}, nil
}
