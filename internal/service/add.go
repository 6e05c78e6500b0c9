package service

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
)

// AddRequest is `coral add`.
type AddRequest struct {
	Files  []control.Text `json:"files"`
	To     control.Text   `json:"to,omitempty"`
	Branch string         `json:"branch,omitempty"`
	Codec  Codec          `json:"codec,omitempty"`
}

// Flags implements Request.
func (r *AddRequest) Flags(f *pflag.FlagSet) {
	f.StringVar((*string)(&r.To), "to", "", "put them into this `dir` of the branch (default its top)")
	f.StringVarP(&r.Branch, "branch", "b", "", "into the live tree of this `branch` (default the current one)")
	f.Var(&r.Codec, "codec", "code tensors by this `name` instead of by what is smallest; it waits until they are stored")
}

// SetArgs implements Request.
func (r *AddRequest) SetArgs(args []string) error {
	if len(args) == 0 {
		return control.Usagef("add: name at least one file or directory")
	}
	for _, f := range args {
		r.Files = append(r.Files, control.Text(f))
	}
	return refuseEmpty("add", args)
}

// Access implements Request.
func (r *AddRequest) Access() Access { return Writes }

// Localize implements Localizer.
func (r *AddRequest) Localize() error {
	for i, f := range r.Files {
		abs, err := realPath(string(f), true)
		if err != nil {
			return fmt.Errorf("add %s: %w", f, err)
		}
		r.Files[i] = control.Text(abs)
	}
	return nil
}

// AddResult says what was copied in. JSON names are a promise.
type AddResult struct {
	Branch string         `json:"branch"`
	Paths  []control.Text `json:"paths"` // in the branch
	Files  int            `json:"files"`
	Bytes  int64          `json:"bytes"`
}

func (s *Service) add(ctx context.Context, r *AddRequest, p Progress) (AddResult, error) {
	branch, err := s.branchOr(r.Branch)
	if err != nil {
		return AddResult{}, fmt.Errorf("add: %w", err)
	}
	to, err := treePath("add", string(r.To))
	if err != nil {
		return AddResult{}, err
	}
	if r.Codec != "" {
		release, err := s.useCodec(ctx, r.Codec)
		if err != nil {
			return AddResult{}, err
		}
		defer release()
	}
	res := AddResult{Branch: branch, Paths: []control.Text{}}
	from := map[string]string{}
	for i, file := range r.Files {
		src := filepath.Clean(string(file))
		r.Files[i] = control.Text(src)
		if err := s.addable("add", src); err != nil {
			return AddResult{}, err
		}
		dst := path.Join(to, filepath.Base(src))
		if other, twice := from[dst]; twice {
			return AddResult{}, control.Usagef("add: %s and %s would both become %s", other, src, dst)
		}
		from[dst] = src
	}
	for _, file := range r.Files {
		src := string(file)
		dst := path.Join(to, filepath.Base(src))
		files, bytes, err := s.repo.Add(ctx, branch, src, dst, func(files int, bytes int64) {
			p(control.Progress{Step: "add", Done: res.Bytes + bytes, Unit: "bytes", Files: res.Files + files, What: dst})
		})
		res.Files += files
		res.Bytes += bytes
		if err != nil {
			return res, err
		}
		res.Paths = append(res.Paths, control.Text(dst))
	}
	if r.Codec != "" { // ingested after, they would be coded as others are
		if err := s.Drain(ctx, p); err != nil {
			return res, fmt.Errorf("add: %w", err)
		}
	}
	return res, nil
}

// addable checks one source before anything is copied.
func (s *Service) addable(op, src string) error {
	if err := absolute(op, src); err != nil {
		return err
	}
	if src == "/" {
		return control.Usagef("%s: / has no name to be added under", op)
	}
	if err := s.outside(op, src); err != nil {
		return err
	}
	if within(src, s.repo.Dir) || within(s.repo.Dir, src) {
		return fmt.Errorf("%s %s: the repository itself is there: name what is to be added in it: %w", op, src, errs.Invalid)
	}
	if _, err := os.Lstat(src); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
