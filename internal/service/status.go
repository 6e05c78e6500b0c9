package service

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/worktree"
)

// StatusRequest is `coral status`.
type StatusRequest struct {
	Branch string `json:"branch,omitempty"`
}

// Flags implements Request.
func (r *StatusRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Branch, "branch", "b", "", "the live tree of this `branch` (default the current one)")
}

// SetArgs implements Request.
func (r *StatusRequest) SetArgs(args []string) error { return noArgs("status", args) }

// Access implements Request.
func (r *StatusRequest) Access() Access { return Reads }

// StatusResult is the state of the repository. JSON names are a promise.
type StatusResult struct {
	Repo     string               `json:"repo"`
	Branch   string               `json:"branch"` // "" if HEAD is detached
	Head     oid.ID               `json:"head"`   // "" if the branch has no commit
	Detached bool                 `json:"detached,omitempty"`
	ReadOnly bool                 `json:"read_only,omitempty"`
	Dirty    []Change             `json:"dirty"`
	Queue    worktree.QueueStatus `json:"queue"`
	Spool    worktree.SpoolStats  `json:"spool"`
	Daemon   *DaemonStatus        `json:"daemon"` // null without one
}

// Change is one line of status: a worktree.Change with a path that JSON can hold.
type Change struct {
	Path  control.Text `json:"path"`
	Kind  string       `json:"kind"`  // "added", "modified", "deleted", "mode", "type"
	State string       `json:"state"` // "open" (for writing), "queued", "stored"
}

// DaemonStatus is the daemon's part of status.
type DaemonStatus struct {
	PID     int         `json:"pid"`
	Started time.Time   `json:"started"`
	Version string      `json:"version"`
	Mounts  []MountInfo `json:"mounts"`
}

func (s *Service) status(ctx context.Context, r *StatusRequest, _ Progress) (*StatusResult, error) {
	s.settle(ctx)
	res := &StatusResult{Repo: filepath.Dir(s.repo.Dir), ReadOnly: s.opts.ReadOnly, Dirty: []Change{}}
	if s.opts.Daemon != nil {
		d := s.opts.Daemon()
		res.Daemon = &DaemonStatus{PID: d.PID, Started: d.Started, Version: d.Version, Mounts: s.Mounts()}
	}
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	res.Branch = r.Branch
	if r.Branch == "" {
		res.Branch, res.Head, res.Detached = head.Branch, head.Commit, head.Branch == ""
	}
	if !res.Detached {
		var dirty []worktree.Change
		if res.Head, dirty, err = s.changes(ctx, res.Branch); err != nil {
			return nil, fmt.Errorf("status: %w", err)
		}
		for _, c := range dirty {
			res.Dirty = append(res.Dirty, Change{control.Text(c.Path), c.Kind, c.State})
		}
	}
	res.Queue, res.Spool = s.repo.Live.Queue(), s.repo.Live.Spool()
	return res, nil
}

// changes compares the live tree of a branch with its head.
func (s *Service) changes(ctx context.Context, branch string) (head oid.ID, list []worktree.Change, err error) {
	ref, err := s.repo.Refs.Branch(branch)
	if err != nil {
		return head, nil, err
	}
	root := oid.ID{}
	if !ref.ID.IsZero() {
		c, err := s.repo.Objects.Commit(ctx, ref.ID)
		if err != nil {
			return head, nil, err
		}
		root = c.Tree
	}
	tree, err := s.repo.LiveTree(ctx, branch)
	if err != nil {
		return head, nil, err
	}
	list, err = tree.Status(ctx, root)
	if list == nil {
		list = []worktree.Change{}
	}
	return ref.ID, list, err
}

// branchOr returns name, or the current branch if it is "".
func (s *Service) branchOr(name string) (string, error) {
	if name != "" {
		_, err := s.repo.Refs.Branch(name)
		return name, err
	}
	head, err := s.repo.Refs.Head()
	if err != nil {
		return "", err
	}
	if head.Branch == "" {
		return "", fmt.Errorf("HEAD is detached at %s: name a branch: %w", head.Commit.Short(), errs.Invalid)
	}
	return head.Branch, nil
}
