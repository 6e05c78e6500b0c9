package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
)

// BlameRequest is `coral blame`.
type BlameRequest struct {
	Target Target `json:"target"`
	Copies bool   `json:"copies,omitempty"`
}

// Flags implements Request.
func (r *BlameRequest) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&r.Copies, "copies", "C", false, "where a file was made, look for its tensors in all files of the parent, not only in those that went")
}

// SetArgs implements Request.
func (r *BlameRequest) SetArgs(args []string) (err error) {
	if err := refuseEmpty("blame", args); err != nil {
		return err
	}
	switch len(args) {
	case 0:
		return control.Usagef("blame: name a file, or REV:PATH")
	case 1:
		if r.Target, err = ParseTarget("blame", args[0]); err != nil {
			return err
		}
		if !r.Target.HasPath {
			r.Target, err = ParseTarget("blame", "HEAD:"+args[0])
		}
	case 2:
		r.Target, err = ParseTarget("blame", args[1]+":"+args[0])
	}
	if err != nil {
		return err
	}
	if r.Target.Path == "" {
		return control.Usagef("blame: name a file, or REV:PATH")
	}
	return atMost("blame", args, 2)
}

// Access implements Request.
func (r *BlameRequest) Access() Access { return Reads }

// BlameResult says who last changed a file and its tensors. JSON names are a promise.
type BlameResult struct {
	Commit  oid.ID        `json:"commit"` // that was asked about
	Path    control.Text  `json:"path"`
	File    BlameCommit   `json:"file"` // that last changed any byte of it
	Tensors []BlameTensor `json:"tensors"`
}

// BlameCommit is the commit that last changed something. JSON names are a promise.
type BlameCommit struct {
	Commit  oid.ID       `json:"commit"`
	Author  string       `json:"author"`
	Time    time.Time    `json:"time"`
	Subject string       `json:"subject"`
	Path    control.Text `json:"path"` // of the file there
}

// BlameTensor is one tensor. JSON names are a promise.
type BlameTensor struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
	BlameCommit
}

func (s *Service) blame(ctx context.Context, r *BlameRequest, p Progress) (*BlameResult, error) {
	if r.Target.Live {
		return nil, fmt.Errorf("blame %s: only files of commits can be blamed, snapshot first: %w", r.Target, errs.Invalid)
	}
	id, err := s.repo.Resolve(ctx, r.Target.Rev)
	if err != nil {
		return nil, fmt.Errorf("blame: %w", err)
	}
	file, tensors, err := s.repo.Blame(ctx, id, r.Target.Path, vcs.BlameOptions{Copies: r.Copies, Progress: func(n int) {
		p(control.Progress{Step: "blame", Done: int64(n), Unit: "commits"})
	}})
	if err != nil {
		return nil, err
	}
	res := &BlameResult{Commit: id, Path: control.Text(r.Target.Path), Tensors: []BlameTensor{}}
	if res.File, err = s.blameCommit(ctx, file); err != nil {
		return nil, fmt.Errorf("blame: %w", err)
	}
	for _, b := range tensors {
		c, err := s.blameCommit(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("blame: %w", err)
		}
		res.Tensors = append(res.Tensors, BlameTensor{Name: b.Tensor.Name, DType: b.Tensor.DType.String(), Shape: append([]int64{}, b.Tensor.Shape...), Bytes: b.Tensor.Length, BlameCommit: c})
	}
	return res, nil
}

func (s *Service) blameCommit(ctx context.Context, b vcs.Blamed) (BlameCommit, error) {
	c, err := s.repo.Objects.Commit(ctx, b.Commit)
	if err != nil {
		return BlameCommit{}, err
	}
	subject, _, _ := strings.Cut(c.Message, "\n")
	return BlameCommit{Commit: b.Commit, Author: c.Author, Time: c.Time.UTC(), Subject: subject, Path: control.Text(b.Path)}, nil
}
