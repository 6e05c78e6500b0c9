package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/diff"
)

// sideList is a flag of sides.
type sideList []Side

func (l *sideList) Type() string { return "side" }

func (l *sideList) String() string {
	var out []string
	for _, d := range *l {
		out = append(out, string(d.Text))
	}
	return strings.Join(out, ",")
}

func (l *sideList) Set(s string) error {
	if s == "" {
		return control.Usagef("an empty side")
	}
	*l = append(*l, Side{Text: control.Text(s)})
	return nil
}

// soup tells whether the new side is a soup of what the request names, then, with --soup, of the old side, the parents of the new side's commit and the heads of
// branches. A candidate that is the new side itself is none.
func (s *Service) soup(ctx context.Context, op string, r *DiffRequest, res *DiffResult, old, new diff.Tree) error {
	c := candidates{seen: map[oid.ID]bool{}}
	self, err := new.Root(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	c.seen[self.ID] = true
	for _, d := range r.SoupOf {
		t, _, err := s.side(ctx, op, d)
		if err != nil {
			return err
		}
		if err := c.add(ctx, string(d.Text), t); err != nil {
			return err
		}
	}
	if r.Soup {
		if err := c.add(ctx, string(res.From.Name), old); err != nil {
			return err
		}
		if err := s.relatives(ctx, op, r, res, &c); err != nil {
			return err
		}
	}
	if res.Soup, err = diff.Soup(ctx, new, c.list); err != nil {
		return fmt.Errorf("%s: soup: %w", op, err)
	}
	if text := res.Soup.String(); text != "" {
		res.Notes = append(res.Notes, "looks like "+text)
	}
	return nil
}

type candidates struct {
	list []diff.Candidate
	seen map[oid.ID]bool // of trees and manifests
}

func (c *candidates) add(ctx context.Context, name string, t diff.Tree) error {
	root, err := t.Root(ctx)
	if err != nil || !root.ID.IsZero() && c.seen[root.ID] {
		return err
	}
	c.seen[root.ID] = true
	c.list = append(c.list, diff.Candidate{Name: name, Tree: t})
	return nil
}

// relatives adds the parents of the new side's commit, and the heads of branches, at the same path.
func (s *Service) relatives(ctx context.Context, op string, r *DiffRequest, res *DiffResult, c *candidates) error {
	var revs []string
	if !res.To.Commit.IsZero() {
		commit, err := s.repo.Objects.Commit(ctx, res.To.Commit)
		if err != nil {
			return err
		}
		for _, p := range commit.Parents {
			revs = append(revs, p.String())
		}
	}
	list, err := s.repo.Refs.Branches()
	if err != nil {
		return err
	}
	for _, b := range list {
		if !b.ID.IsZero() {
			revs = append(revs, "branches/"+b.Name)
		}
	}
	path := ""
	if t, err := ParseTarget(op, string(r.To.Text)); err == nil && res.To.Disk == "" && t.HasPath {
		path = t.Path
	}
	for _, rev := range revs {
		if len(c.list) >= diff.MaxCandidates {
			return nil
		}
		id, err := s.repo.Resolve(ctx, rev)
		if err != nil {
			return err
		}
		t, _, err := s.side(ctx, op, Side{Text: control.Text(id.String() + ":" + path)})
		if errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir) {
			continue // it has no such path
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(rev, "branches/")
		if rev == id.String() {
			name = id.Short()
		}
		if err := c.add(ctx, name, t); err != nil {
			return err
		}
	}
	return nil
}
