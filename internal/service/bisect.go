package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// BisectRequest is `coral bisect`.
type BisectRequest struct {
	Word   string   `json:"word,omitempty"` // start, good, bad, skip, reset, log; "" shows where the search is
	Revs   []string `json:"revs,omitempty"`
	Metric string   `json:"metric,omitempty"` // with start
}

// Flags implements Request.
func (r *BisectRequest) Flags(f *pflag.FlagSet) {
	f.StringVar(&r.Metric, "metric", "", "with start: bad is where this holds of a recorded metric, such as 'loss>0.5'; it needs no tests")
}

// bisectRevs is how many revisions each word takes at most; -1 is any number.
var bisectRevs = map[string]int{"": 0, "start": -1, "good": -1, "bad": 1, "skip": -1, "reset": 0, "log": 0}

// SetArgs implements Request.
func (r *BisectRequest) SetArgs(args []string) error {
	if err := refuseEmpty("bisect", args); err != nil {
		return err
	}
	r.Word = arg(args, 0)
	most, ok := bisectRevs[r.Word]
	switch {
	case r.Word == "run":
		return control.Usagef("bisect run: only the command line runs commands")
	case !ok:
		return control.Usagef("bisect: %q is none of start, good, bad, skip, run, log, reset", r.Word)
	case r.Metric != "" && r.Word != "start":
		return control.Usagef("bisect: --metric goes with start")
	}
	if len(args) > 0 {
		r.Revs = args[1:]
	}
	if r.Metric != "" {
		if _, err := parseMetricTest(r.Metric); err != nil {
			return err
		}
	}
	if most >= 0 {
		return atMost("bisect "+r.Word, r.Revs, most)
	}
	return nil
}

// Access implements Request.
func (r *BisectRequest) Access() Access {
	if r.Word == "" || r.Word == "log" {
		return Reads
	}
	return Writes
}

// BisectResult says where a search is. JSON names are a promise.
type BisectResult struct {
	State    string        `json:"state"` // "none", "waiting" (for a good or a bad commit), "testing", "found", "inconclusive"
	Metric   string        `json:"metric,omitempty"`
	Bad      oid.ID        `json:"bad,omitzero"`
	Good     []oid.ID      `json:"good"`
	Skipped  []oid.ID      `json:"skipped"`
	Next     *CommitInfo   `json:"next,omitempty"` // to be tested, if testing
	Left     int           `json:"left"`           // commits that may be the first bad one
	Steps    int           `json:"steps"`          // tests that are left, about
	Found    *CommitInfo   `json:"found,omitempty"`
	Suspects []oid.ID      `json:"suspects,omitempty"` // if inconclusive: the first bad commit is one of them
	Log      []BisectEvent `json:"log,omitempty"`      // of `bisect log`
}

// Failed makes the exit code 1 where the search ended without an answer.
func (r *BisectResult) Failed() bool { return r.State == "inconclusive" }

func (s *Service) bisect(ctx context.Context, r *BisectRequest, p Progress) (*BisectResult, error) {
	st, err := loadBisect(s.repo.Dir)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Word == "reset":
		if err := removeBisect(s.repo.Dir); err != nil {
			return nil, err
		}
		return s.bisectResult(ctx, nil)
	case r.Word == "start":
		st = &bisectState{Metric: r.Metric}
	case st == nil && r.Word == "":
		return s.bisectResult(ctx, nil)
	case st == nil:
		return nil, fmt.Errorf("bisect %s: no search was started: %w", r.Word, errs.NotFound)
	}
	if err := s.markBisect(ctx, st, r); err != nil {
		return nil, err
	}
	if r.Word == "start" && r.Metric != "" {
		if err := s.bisectMetric(ctx, st, p); err != nil {
			return nil, err
		}
	}
	res, err := s.bisectResult(ctx, st)
	if err != nil {
		return nil, err
	}
	if r.Word == "log" {
		res.Log = st.Log
	} else if r.Word != "" { // only what makes sense is kept
		err = saveBisect(s.repo.Dir, st)
	}
	return res, err
}

// markBisect takes the revisions of a request into the state.
func (s *Service) markBisect(ctx context.Context, st *bisectState, r *BisectRequest) error {
	ids := make([]oid.ID, len(r.Revs))
	for i, rev := range r.Revs {
		var err error
		if ids[i], err = s.repo.Resolve(ctx, rev); err != nil {
			return fmt.Errorf("bisect %s: %w", r.Word, err)
		}
	}
	switch r.Word {
	case "start":
		st.mark("start", ids...)
		if len(ids) == 0 && r.Metric != "" {
			head, err := s.repo.Resolve(ctx, "")
			if err != nil {
				return fmt.Errorf("bisect start: %w", err)
			}
			ids = append(ids, head)
		}
		if len(ids) > 0 {
			st.Bad, st.Good = ids[0], ids[1:]
		}
		return nil
	case "good", "bad", "skip":
		if len(ids) == 0 { // the one that was to be tested; before there is one, HEAD
			id, err := s.bisectDefault(ctx, st)
			if err != nil {
				return fmt.Errorf("bisect %s: %w", r.Word, err)
			}
			ids = append(ids, id)
		}
		st.mark(r.Word, ids...)
	}
	switch r.Word {
	case "good":
		st.Good = append(st.Good, ids...)
	case "bad":
		st.Bad = ids[0]
	case "skip":
		st.Skipped = append(st.Skipped, ids...)
	}
	return nil
}

func (s *Service) bisectDefault(ctx context.Context, st *bisectState) (oid.ID, error) {
	if st.Bad.IsZero() || len(st.Good) == 0 {
		return s.repo.Resolve(ctx, "")
	}
	step, err := s.repo.Bisect(ctx, st.Bad, st.Good, st.skipped())
	if err == nil && step.Next.IsZero() {
		err = fmt.Errorf("the search has ended, name a commit: %w", errs.Invalid)
	}
	return step.Next, err
}

// bisectMetric searches by what was recorded. Without a good commit every ancestor with the metric that the test does not hold of is one.
func (s *Service) bisectMetric(ctx context.Context, st *bisectState, p Progress) error {
	test, err := parseMetricTest(st.Metric)
	if err != nil {
		return err
	}
	is := func(id oid.ID) (bad, known bool, err error) {
		c, err := s.repo.Objects.Commit(ctx, id)
		if err != nil {
			return false, false, fmt.Errorf("bisect: %w", err)
		}
		v, ok := c.Metrics[test.name]
		return ok && test.holds(v), ok, nil
	}
	for i, id := range append([]oid.ID{st.Bad}, st.Good...) {
		bad, known, err := is(id)
		if err != nil {
			return err
		}
		if known && bad != (i == 0) || !known && i == 0 {
			return fmt.Errorf("bisect start: %s is given as %s, but %s: %w", id.Short(), map[bool]string{true: "bad", false: "good"}[i == 0], test.of(known, bad), errs.Invalid)
		}
	}
	if len(st.Good) == 0 {
		err := s.repo.Log(ctx, st.Bad, true, func(id oid.ID, c *object.Commit) bool {
			if v, ok := c.Metrics[test.name]; ok && !test.holds(v) {
				st.Good = append(st.Good, id)
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("bisect start: %w", err)
		}
		if len(st.Good) == 0 {
			return fmt.Errorf("bisect start: no ancestor of %s has a recorded %s for which %s does not hold: %w", st.Bad.Short(), test.name, st.Metric, errs.NotFound)
		}
	}
	for n := 0; ; n++ {
		step, err := s.repo.Bisect(ctx, st.Bad, st.Good, st.skipped())
		if err != nil || step.Next.IsZero() {
			return err
		}
		p(control.Progress{Step: "bisect", Done: int64(n), Total: int64(n + step.Steps()), Unit: "commits"})
		bad, known, err := is(step.Next)
		switch {
		case err != nil:
			return err
		case !known:
			st.mark("skip", step.Next)
			st.Skipped = append(st.Skipped, step.Next)
		case bad:
			st.mark("bad", step.Next)
			st.Bad = step.Next
		default:
			st.mark("good", step.Next)
			st.Good = append(st.Good, step.Next)
		}
	}
}

func (s *Service) bisectResult(ctx context.Context, st *bisectState) (*BisectResult, error) {
	if st == nil {
		return &BisectResult{State: "none", Good: []oid.ID{}, Skipped: []oid.ID{}}, nil
	}
	res := &BisectResult{State: "waiting", Metric: st.Metric, Bad: st.Bad, Good: append([]oid.ID{}, st.Good...), Skipped: append([]oid.ID{}, st.Skipped...)}
	if st.Bad.IsZero() || len(st.Good) == 0 {
		return res, nil
	}
	step, err := s.repo.Bisect(ctx, st.Bad, st.Good, st.skipped())
	if err != nil {
		return nil, err
	}
	res.Left, res.Steps = step.Left, step.Steps()
	refs, err := s.refNames()
	if err != nil {
		return nil, fmt.Errorf("bisect: %w", err)
	}
	info := func(id oid.ID) (*CommitInfo, error) {
		c, err := s.repo.Objects.Commit(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("bisect: %w", err)
		}
		return commitInfo(id, c, refs), nil
	}
	switch {
	case !step.Next.IsZero():
		res.State = "testing"
		res.Next, err = info(step.Next)
	case len(step.Suspects) == 1:
		res.State = "found"
		res.Found, err = info(step.Suspects[0])
	default:
		res.State, res.Suspects = "inconclusive", step.Suspects
	}
	return res, err
}

// mark notes what was said, for `bisect log`.
func (st *bisectState) mark(word string, ids ...oid.ID) {
	st.Log = append(st.Log, BisectEvent{Time: time.Now().UTC().Truncate(time.Second), Word: word, Commits: slices.Clone(ids)})
}

func (st *bisectState) skipped() map[oid.ID]bool {
	m := map[oid.ID]bool{}
	for _, id := range st.Skipped {
		m[id] = true
	}
	return m
}
