package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/object"
)

// LogRequest is `coral log`.
type LogRequest struct {
	Rev     string `json:"rev,omitempty"`
	N       int    `json:"n,omitempty"` // 0: no limit
	All     bool   `json:"all,omitempty"`
	Oneline bool   `json:"oneline,omitempty"` // of the text form; replies are the same
	Graph   bool   `json:"graph,omitempty"`   // every parent is followed, in topological order; parents are those shown

	Author  string         `json:"author,omitempty"`
	Grep    string         `json:"grep,omitempty"`
	Since   *time.Time     `json:"since,omitempty"`
	Until   *time.Time     `json:"until,omitempty"`
	Metrics []string       `json:"metrics,omitempty"`
	Paths   []control.Text `json:"paths,omitempty"`
	Place

	since, until string
	dashed       bool // there was a "--", with
	before       int  // arguments before it
}

// Flags implements Request.
func (r *LogRequest) Flags(f *pflag.FlagSet) {
	f.IntVarP(&r.N, "max-count", "n", 0, "at most this `number` of commits (default all)")
	f.BoolVar(&r.Oneline, "oneline", false, "one line a commit")
	f.BoolVar(&r.Graph, "graph", false, "draw how commits hang together, along every parent")
	f.BoolVar(&r.All, "all", false, "commits of every branch and tag; with REV, along every parent")
	f.StringVar(&r.Author, "author", "", "only of authors that match this `regexp`")
	f.StringVar(&r.Grep, "grep", "", "only with messages that match this `regexp`")
	f.StringVar(&r.since, "since", "", "only from this `time` on: 2026-01-31, '2026-01-31 18:00', 3d, '2 weeks ago'")
	f.StringVar(&r.until, "until", "", "only up to this `time`")
	f.StringArrayVar(&r.Metrics, "metric", nil, "only where this `comparison` of a metric holds: 'loss<0.5' (repeatable)")
}

// SetDash implements Dasher.
func (r *LogRequest) SetDash(n int) { r.dashed, r.before = true, n }

// SetArgs implements Request.
func (r *LogRequest) SetArgs(args []string) (err error) {
	if r.N < 0 {
		return control.Usagef("log: -n %d is negative", r.N)
	}
	if n := r.before; r.dashed && n < len(args) {
		if r.Paths, err = rawPaths("log", args[n:]); err != nil {
			return err
		}
		args = args[:n]
	}
	now := time.Now()
	for _, x := range []struct {
		flag, text string
		to         **time.Time
	}{{"since", r.since, &r.Since}, {"until", r.until, &r.Until}} {
		if x.text == "" {
			continue
		}
		t, err := parseWhen(x.text, now, x.flag == "until")
		if err != nil {
			return control.Usagef("log: --%s: %v", x.flag, err)
		}
		*x.to = &t
	}
	if _, err := newLogFilter(r); err != nil {
		return err
	}
	r.Rev = arg(args, 0)
	return atMost("log", args, 1)
}

// Access implements Request.
func (r *LogRequest) Access() Access { return Reads }

// Localize implements Localizer.
func (r *LogRequest) Localize() error {
	r.localize()
	return nil
}

// CommitInfo is a commit as log and show print it. JSON names are a promise.
type CommitInfo struct {
	Commit  oid.ID            `json:"commit"`
	Tree    oid.ID            `json:"tree"`
	Parents []oid.ID          `json:"parents"`
	Author  string            `json:"author"`
	Time    time.Time         `json:"time"`
	Message string            `json:"message"`
	Metrics metrics           `json:"metrics,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Refs    []string          `json:"refs,omitempty"` // "HEAD", "branches/main", "tags/v1": what points here
}

func commitInfo(id oid.ID, c *object.Commit, refs map[oid.ID][]string) *CommitInfo {
	return &CommitInfo{
		Commit: id, Tree: c.Tree, Parents: append([]oid.ID{}, c.Parents...), Author: c.Author, Time: c.Time.UTC(),
		Message: c.Message, Metrics: c.Metrics, Labels: c.Labels, Refs: refs[id],
	}
}

// refNames lists what points to each commit: HEAD and its branch first, then branches, then tags, by name.
func (s *Service) refNames() (map[oid.ID][]string, error) {
	out := map[oid.ID][]string{}
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, err
	}
	branches, err := s.repo.Refs.Branches()
	if err != nil {
		return nil, err
	}
	tags, err := s.repo.Refs.Tags()
	if err != nil {
		return nil, err
	}
	if head.Branch == "" {
		out[head.Commit] = append(out[head.Commit], "HEAD")
	}
	for _, b := range branches {
		if b.Name == head.Branch {
			out[b.ID] = append(out[b.ID], "HEAD", "branches/"+b.Name)
		}
	}
	for _, b := range branches {
		if b.Name != head.Branch {
			out[b.ID] = append(out[b.ID], "branches/"+b.Name)
		}
	}
	for _, t := range tags {
		out[t.ID] = append(out[t.ID], "tags/"+t.Name)
	}
	delete(out, oid.ID{})
	return out, nil
}

func (s *Service) history(ctx context.Context, r *LogRequest, _ Progress) ([]*CommitInfo, error) {
	list, err := s.commits(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return list, nil
}

func (s *Service) commits(ctx context.Context, r *LogRequest) ([]*CommitInfo, error) {
	refs, err := s.refNames()
	if err != nil {
		return nil, err
	}
	filter, err := newLogFilter(r)
	if err != nil {
		return nil, err
	}
	paths, err := s.treePaths("log", r.Place, "", r.Paths)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		filter.paths = append(filter.paths, string(p))
	}
	var roots []oid.ID
	if r.All && r.Rev == "" {
		for id := range refs {
			roots = append(roots, id)
		}
	} else {
		id, err := s.start(ctx, r.Rev)
		if err != nil {
			return nil, err
		}
		roots = append(roots, id)
	}
	list := []*CommitInfo{}
	shown := map[oid.ID]bool{}
	visit := func(id oid.ID, c *object.Commit) (bool, error) {
		ok := filter.matches(c)
		if ok && len(filter.paths) > 0 {
			if ok, err = s.touches(ctx, c, filter.paths, !r.All && !r.Graph); err != nil {
				return false, err
			}
		}
		if ok || r.Graph {
			list = append(list, commitInfo(id, c, refs))
			shown[id] = ok
		}
		return r.Graph || r.N == 0 || len(list) < r.N, nil
	}
	if r.All || r.Graph {
		err = s.repo.Walk(ctx, roots, visit)
	} else {
		var verr error
		err = s.repo.Log(ctx, roots[0], false, func(id oid.ID, c *object.Commit) (more bool) {
			more, verr = visit(id, c)
			return more
		})
		err = errors.Join(err, verr)
	}
	if err != nil || !r.Graph {
		return list, err
	}
	list = drawable(list, shown)
	if r.N > 0 && len(list) > r.N {
		list = list[:r.N]
	}
	return list, nil
}

// start returns the commit of rev; zero for "" on a branch without commits, which is no error for log.
func (s *Service) start(ctx context.Context, rev string) (oid.ID, error) {
	if rev == "" {
		head, err := s.repo.Refs.Head()
		if err != nil {
			return oid.ID{}, err
		}
		if head.Branch != "" {
			b, err := s.repo.Refs.Branch(head.Branch)
			return b.ID, err
		}
	}
	return s.repo.Resolve(ctx, rev)
}
