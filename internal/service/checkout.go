package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/ref"
)

// CheckoutRequest is `coral checkout`.
type CheckoutRequest struct {
	Rev string `json:"rev,omitempty"` // a branch, or a commit to detach at; with New where it starts
	New string `json:"new,omitempty"`

	Paths []control.Text `json:"paths,omitempty"` // restore these instead, as they are in Rev
	Place
	Force  bool   `json:"force,omitempty"`
	Author string `json:"author,omitempty"`
	dashed bool   // there was a "--", with
	before int    // arguments before it
}

// Flags implements Request.
func (r *CheckoutRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.New, "branch", "b", "", "make this branch `name` at REV (default HEAD) and switch to it")
	f.BoolVarP(&r.Force, "force", "f", false, "with paths: keep what is not committed as a commit of the ref log, instead of refusing")
}

// SetDash implements Dasher.
func (r *CheckoutRequest) SetDash(n int) { r.dashed, r.before = true, n }

// SetArgs implements Request.
func (r *CheckoutRequest) SetArgs(args []string) (err error) {
	if n := r.before; r.dashed && n < len(args) {
		if r.New != "" {
			return control.Usagef("checkout: -b makes a branch, paths restore files: one at a time")
		}
		if r.Paths, err = rawPaths("checkout", args[n:]); err != nil {
			return err
		}
		args = args[:n]
		r.Rev = arg(args, 0)
		return atMost("checkout", args, 1)
	}
	if r.Force {
		return control.Usagef("checkout: --force goes with paths after --")
	}
	if len(args) == 0 && r.New == "" {
		return control.Usagef("checkout: name a branch or a commit")
	}
	r.Rev = arg(args, 0)
	if err := refuseEmpty("checkout", args); err != nil {
		return err
	}
	return atMost("checkout", args, 1)
}

// Access implements Request.
func (r *CheckoutRequest) Access() Access { return Writes }

// Localize implements Localizer.
func (r *CheckoutRequest) Localize() error {
	r.localize()
	return localAuthor(&r.Author)
}

// CheckoutResult is where HEAD is now. JSON names are a promise.
type CheckoutResult struct {
	Branch   string `json:"branch"` // "" if detached
	Head     oid.ID `json:"head"`
	Detached bool   `json:"detached,omitempty"`
	Created  bool   `json:"created,omitempty"`

	Restored []control.Text `json:"restored,omitempty"` // paths of the live tree
	From     oid.ID         `json:"from,omitzero"`      // the commit they come from
	Kept     oid.ID         `json:"kept,omitzero"`      // the commit of what was not committed
}

// checkoutPaths is checkout REV -- PATHS.
func (s *Service) checkoutPaths(ctx context.Context, r *CheckoutRequest, p Progress) (CheckoutResult, error) {
	got, err := s.restore(ctx, &RestoreRequest{Source: r.Rev, Paths: r.Paths, Place: r.Place, Force: r.Force, Author: r.Author}, p)
	if err != nil {
		return CheckoutResult{}, fmt.Errorf("checkout: %w", err)
	}
	b, err := s.repo.Refs.Branch(got.Branch)
	return CheckoutResult{Branch: got.Branch, Head: b.ID, Restored: got.Paths, From: got.Commit, Kept: got.Kept}, err
}

func (s *Service) checkout(ctx context.Context, r *CheckoutRequest, p Progress) (CheckoutResult, error) {
	res := CheckoutResult{}
	if len(r.Paths) > 0 {
		return s.checkoutPaths(ctx, r, p)
	}
	if r.New != "" {
		id, err := s.start(ctx, r.Rev)
		if err == nil {
			err = s.repo.CheckoutNew(ctx, r.New, id)
		}
		if err != nil {
			return res, err
		}
		return CheckoutResult{Branch: r.New, Head: id, Created: true}, nil
	}
	b, err := s.repo.Refs.Branch(r.Rev)
	switch {
	case err == nil:
		res = CheckoutResult{Branch: b.Name, Head: b.ID}
	case errors.Is(err, errs.NotFound) || errors.Is(err, errs.Invalid): // not a name of a branch: a revision
		id, err := s.repo.Resolve(ctx, r.Rev)
		if err != nil {
			return res, fmt.Errorf("checkout: %w", err)
		}
		res = CheckoutResult{Head: id, Detached: true}
	default:
		return res, fmt.Errorf("checkout: %w", err)
	}
	head := ref.Head{Branch: res.Branch}
	if res.Detached {
		head.Commit = res.Head
	}
	if err := s.repo.SetHead(ctx, head); err != nil {
		return res, fmt.Errorf("checkout: %w", err)
	}
	return res, nil
}
