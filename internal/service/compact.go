package service

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
)

// CompactRequest is `coral compact`.
type CompactRequest struct {
	Lossy     string         `json:"lossy"`
	KeepLast  int            `json:"keep_last"`
	Branch    string         `json:"branch,omitempty"`
	Threshold float64        `json:"threshold,omitempty"`
	Include   []control.Text `json:"include,omitempty"`
	DryRun    bool           `json:"dry_run,omitempty"`
	Author    string         `json:"author,omitempty"`
	Head      oid.ID         `json:"head,omitzero"` // what an earlier dry run saw; the branch must still be there
}

// Flags implements Request.
func (r *CompactRequest) Flags(f *pflag.FlagSet) {
	f.StringVar(&r.Lossy, "lossy", "", "how: `method` int8, int16, sparse or per-axis")
	f.IntVar(&r.KeepLast, "keep-last", 0, "leave the newest `n` commits exact, at least 1")
	f.StringVarP(&r.Branch, "branch", "b", "", "of this `branch` (default the current one)")
	f.Float64Var(&r.Threshold, "threshold", 0, "for sparse: the largest `difference` that is dropped")
	f.Var((*textList)(&r.Include), "include", "only files that match `pattern` (* and ?; without / for the name alone), repeatable")
	f.BoolVar(&r.DryRun, "dry-run", false, "only report what it would do")
}

// SetArgs implements Request.
func (r *CompactRequest) SetArgs(args []string) error {
	if err := noArgs("compact", args); err != nil {
		return err
	}
	if r.Lossy == "" {
		return control.Usagef("compact: --lossy names a method: int8, int16, sparse or per-axis")
	}
	_, err := r.options()
	return err
}

// Localize implements Localizer.
func (r *CompactRequest) Localize() error {
	r.Author = vcs.DefaultAuthor()
	return nil
}

// Access implements Request.
func (r *CompactRequest) Access() Access {
	if r.DryRun {
		return Reads
	}
	return Writes
}

// options checks the request; a value that makes no sense is control.ErrUsage.
func (r *CompactRequest) options() (vcs.CompactOptions, error) {
	method, err := vcs.ParseLossyMethod(r.Lossy)
	if err != nil {
		return vcs.CompactOptions{}, control.Usagef("compact: %v", err)
	}
	o := vcs.CompactOptions{Branch: r.Branch, KeepLast: r.KeepLast, DryRun: r.DryRun, Head: r.Head, Author: r.Author}
	o.Lossy.Method, o.Lossy.Threshold = method, r.Threshold
	for _, p := range r.Include {
		o.Include = append(o.Include, string(p))
	}
	switch {
	case r.KeepLast < 1:
		return o, control.Usagef("compact: --keep-last %d: give how many of the newest commits stay exact, at least 1", r.KeepLast)
	case math.IsNaN(r.Threshold) || r.Threshold < 0:
		return o, control.Usagef("compact: --threshold %s: want a positive number", strconv.FormatFloat(r.Threshold, 'g', -1, 64))
	case r.Threshold != 0 && method.String() != "sparse":
		return o, control.Usagef("compact: --threshold is for --lossy sparse")
	case r.Threshold == 0 && method.String() == "sparse":
		return o, control.Usagef("compact: --lossy sparse needs a --threshold")
	}
	return o, nil
}

// CompactResult says what compact did, or would do. JSON names are a promise.
type CompactResult struct {
	vcs.CompactResult
	Seconds float64 `json:"seconds"`
}

func (s *Service) compact(ctx context.Context, r *CompactRequest, p Progress) (CompactResult, error) {
	start := time.Now()
	opts, err := r.options()
	if err != nil {
		return CompactResult{}, err
	}
	opts.Progress = func(done, total int, path string) {
		p(control.Progress{Step: "compact", Done: int64(done), Total: int64(total), Unit: "commits", What: path})
	}
	res, err := s.repo.Compact(ctx, opts)
	if errors.Is(err, errs.Invalid) && res.Head.IsZero() {
		return CompactResult{}, control.Usagef("%v", err) // a pattern, or HEAD on no branch
	}
	return CompactResult{CompactResult: res, Seconds: time.Since(start).Seconds()}, err
}

// textList is a repeatable flag of texts.
type textList []control.Text

// String implements pflag.Value.
func (l *textList) String() string { return "" }

// Type implements pflag.Value.
func (l *textList) Type() string { return "pattern" }

// Set implements pflag.Value.
func (l *textList) Set(s string) error { *l = append(*l, control.Text(s)); return nil }
