package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/merge"
	"coral/vcs/merge/method"
)

// GreedySoup is the strategy of `coral merge` that a command's scores drive. Only the command line runs commands: it asks with a SoupStep for one thing after the
// other, and holds no lock meanwhile.
const GreedySoup = "greedy-soup"

// SoupStep is one thing that is asked for while a greedy soup is made.
type SoupStep struct {
	Members []oid.ID     `json:"members,omitempty"` // of the soup; none: only the candidates and conflicts are wanted
	Base    oid.ID       `json:"base,omitzero"`
	Head    oid.ID       `json:"head,omitzero"`    // where the branch was when it began
	Dir     control.Text `json:"dir,omitempty"`    // in a Scratch: where the soup is written; else it is committed
	Record  *vcs.Soup    `json:"record,omitempty"` // of what is committed
}

// Greedy reports whether a greedy soup is asked for.
func (r *MergeRequest) Greedy() bool { return method.Canonical(r.Strategy) == GreedySoup }

// soupOptions turns a step of a greedy soup into a merge.
func (s *Service) soupOptions(ctx context.Context, r *MergeRequest, o *vcs.MergeOptions) error {
	step := r.Soup
	if step == nil {
		if !r.DryRun {
			return control.Usagef("merge: greedy-soup: only the command line runs commands")
		}
		step = &SoupStep{}
	}
	if !step.Base.IsZero() {
		o.Base = step.Base.String()
	}
	if len(step.Members) > 0 {
		for _, id := range step.Members {
			o.Models = append(o.Models, id.String())
		}
		o.Soup, o.Dir, o.Head = step.Record, string(step.Dir), &step.Head
		if o.Message == "" {
			o.Message = soupSubject(step.Record)
		}
		if o.Dir != "" {
			return inScratch(s.repo.Dir, o.Dir)
		}
		return nil
	}
	o.DryRun, o.Clean = true, !r.DryRun
	return s.candidates(ctx, r, o)
}

// candidates are the head of the branch and the revisions given, each commit once.
func (s *Service) candidates(ctx context.Context, r *MergeRequest, o *vcs.MergeOptions) error {
	type named struct{ name, rev string }
	var list []named
	branch := cmp.Or(o.Branch, s.currentBranch())
	if b, err := s.repo.Refs.Branch(branch); err == nil && !b.ID.IsZero() {
		list = append(list, named{branch, b.ID.String()})
	}
	for _, rev := range o.With {
		list = append(list, named{rev, rev})
	}
	o.Models = []string{}
	o.Soup = &vcs.Soup{Score: validText(r.Score), LowerIsBetter: r.Lower, Candidates: []vcs.SoupCandidate{}, Trials: []vcs.SoupTrial{}}
	for _, c := range list {
		id, err := s.repo.Resolve(ctx, c.rev)
		if err != nil {
			return fmt.Errorf("merge: %w", err)
		}
		if slices.Contains(o.Models, id.String()) {
			continue
		}
		o.Models = append(o.Models, id.String())
		o.Soup.Candidates = append(o.Soup.Candidates, vcs.SoupCandidate{Commit: id, Name: validText(c.name)})
	}
	if len(o.Models) < 2 {
		return fmt.Errorf("merge: greedy-soup: all that is named is one commit, there is nothing to choose: %w", errs.Invalid)
	}
	return nil
}

// soupSubject is the message of a soup that got none.
func soupSubject(r *vcs.Soup) string {
	if r == nil {
		return ""
	}
	var names []string
	for _, c := range r.Candidates {
		if c.Chosen {
			names = append(names, c.Name)
		}
	}
	return fmt.Sprintf("greedy soup of %s (%d of %d candidates)", strings.Join(names, ", "), len(names), len(r.Candidates))
}

// ChooseSoup fills in a record with candidates: their scores, trials, and what was chosen, whose indices it returns ascending. score tests the soup of some candidates,
// ascending; each alone before any others.
func ChooseSoup(rec *vcs.Soup, score func(members []int) (float64, error)) (chosen []int, err error) {
	alone := make([]float64, len(rec.Candidates))
	for i := range alone {
		if alone[i], err = score([]int{i}); err != nil {
			return nil, err
		}
		rec.Candidates[i].Score = alone[i]
	}
	chosen, trials, err := merge.Greedy(alone, rec.LowerIsBetter, score)
	if err != nil {
		return nil, err
	}
	for _, i := range chosen {
		rec.Candidates[i].Chosen = true
		rec.Final = alone[i] // if it is the only one
	}
	for _, t := range trials {
		rec.Trials = append(rec.Trials, vcs.SoupTrial{Added: rec.Candidates[t.Added].Commit, Score: t.Score, Kept: t.Kept})
		if t.Kept {
			rec.Final = t.Score
		}
	}
	return chosen, nil
}
