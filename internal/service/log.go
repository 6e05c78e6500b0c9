package service

import (
	"context"
	"fmt"
	"slices"
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
}

// Flags implements Request.
func (r *LogRequest) Flags(f *pflag.FlagSet) {
	f.IntVarP(&r.N, "max-count", "n", 0, "at most this `number` of commits (default all)")
	f.BoolVar(&r.Oneline, "oneline", false, "one line a commit")
	f.BoolVar(&r.All, "all", false, "commits of every branch and tag; with REV, along every parent")
}

// SetArgs implements Request.
func (r *LogRequest) SetArgs(args []string) error {
	if r.N < 0 {
		return control.Usagef("log: -n %d is negative", r.N)
	}
	r.Rev = arg(args, 0)
	return atMost("log", args, 1)
}

// Access implements Request.
func (r *LogRequest) Access() Access { return Reads }

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
	refs, err := s.refNames()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	list := []*CommitInfo{}
	if r.All && r.Rev == "" {
		list, err = s.allHistory(ctx, refs)
		if r.N > 0 && len(list) > r.N {
			list = list[:r.N]
		}
		return list, err
	}
	id, err := s.start(ctx, r.Rev)
	if err != nil || id.IsZero() {
		return list, err
	}
	err = s.repo.Log(ctx, id, r.All, func(id oid.ID, c *object.Commit) bool {
		list = append(list, commitInfo(id, c, refs))
		return r.N == 0 || len(list) < r.N
	})
	return list, err
}

// start returns the commit of rev; zero for "" on a branch without commits, which is no error for log.
func (s *Service) start(ctx context.Context, rev string) (oid.ID, error) {
	if rev == "" {
		head, err := s.repo.Refs.Head()
		if err != nil {
			return oid.ID{}, fmt.Errorf("log: %w", err)
		}
		if head.Branch != "" {
			b, err := s.repo.Refs.Branch(head.Branch)
			return b.ID, err
		}
	}
	return s.repo.Resolve(ctx, rev)
}

// allHistory lists every commit that a ref reaches, newest first.
func (s *Service) allHistory(ctx context.Context, refs map[oid.ID][]string) ([]*CommitInfo, error) {
	seen := map[oid.ID]bool{}
	list := []*CommitInfo{}
	for tip := range refs {
		if seen[tip] {
			continue
		}
		err := s.repo.Log(ctx, tip, true, func(id oid.ID, c *object.Commit) bool {
			if !seen[id] {
				seen[id] = true
				list = append(list, commitInfo(id, c, refs))
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b *CommitInfo) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return slices.Compare(a.Commit[:], b.Commit[:])
	})
	return list, nil
}
