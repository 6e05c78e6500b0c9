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
}

// Flags implements Request.
func (r *CheckoutRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.New, "branch", "b", "", "make this branch `name` at REV (default HEAD) and switch to it")
}

// SetArgs implements Request.
func (r *CheckoutRequest) SetArgs(args []string) error {
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

// CheckoutResult is where HEAD is now. JSON names are a promise.
type CheckoutResult struct {
	Branch   string `json:"branch"` // "" if detached
	Head     oid.ID `json:"head"`
	Detached bool   `json:"detached,omitempty"`
	Created  bool   `json:"created,omitempty"`
}

func (s *Service) checkout(ctx context.Context, r *CheckoutRequest, _ Progress) (CheckoutResult, error) {
	res := CheckoutResult{}
	if r.New != "" {
		id, err := s.start(ctx, r.Rev)
		if err == nil {
			err = s.repo.CreateBranch(ctx, r.New, id)
		}
		if err != nil {
			return res, err
		}
		res = CheckoutResult{Branch: r.New, Head: id, Created: true}
	} else {
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
