package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/ref"
)

// ReflogRequest is `coral reflog`.
type ReflogRequest struct {
	Ref string `json:"ref,omitempty"`
	N   int    `json:"n,omitempty"`
}

// Flags implements Request.
func (r *ReflogRequest) Flags(f *pflag.FlagSet) {
	f.IntVarP(&r.N, "max-count", "n", 0, "at most this `number` of moves (default all)")
}

// SetArgs implements Request.
func (r *ReflogRequest) SetArgs(args []string) error {
	if r.N < 0 {
		return control.Usagef("reflog: -n %d is negative", r.N)
	}
	r.Ref = arg(args, 0)
	return atMost("reflog", args, 1)
}

// Access implements Request.
func (r *ReflogRequest) Access() Access { return Reads }

// MoveInfo is one line of the ref log. JSON names are a promise.
type MoveInfo struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Ref  string    `json:"ref"` // "branches/main", "tags/v1", "HEAD"
	Old  oid.ID    `json:"old"` // "" for none
	New  oid.ID    `json:"new"`
	Who  string    `json:"who"`
	Why  string    `json:"why"`
}

func moveInfos(list []ref.Move) []MoveInfo {
	out := []MoveInfo{}
	for _, m := range list {
		out = append(out, MoveInfo(m))
	}
	return out
}

func (s *Service) reflog(_ context.Context, r *ReflogRequest, _ Progress) ([]MoveInfo, error) {
	n := r.N
	if n == 0 {
		n = ref.MaxMoves
	}
	name, err := s.refName(r.Ref)
	if err != nil {
		return nil, fmt.Errorf("reflog: %w", err)
	}
	list, err := s.repo.Refs.Log(name, n)
	if err != nil {
		return nil, fmt.Errorf("reflog: %w", err)
	}
	if len(list) == 0 && name != "" {
		if err := s.known(name); err != nil {
			return nil, fmt.Errorf("reflog: %w", err)
		}
	}
	return moveInfos(list), nil
}

// refName returns the full name of a ref as the log has it: a branch before a tag, unless it says which; "" is all. A deleted one has a log too.
func (s *Service) refName(name string) (string, error) {
	switch {
	case name == "" || name == "HEAD":
		return name, nil
	case name == "@":
		return "HEAD", nil
	case strings.HasPrefix(name, livePrefix) || strings.HasPrefix(name, tagsPrefix):
		return name, nil
	}
	if _, err := s.repo.Refs.Branch(name); err == nil {
		return livePrefix + name, nil
	}
	if _, err := s.repo.Refs.Tag(name); err == nil {
		return tagsPrefix + name, nil
	}
	list, err := s.repo.Refs.Log(tagsPrefix+name, 1)
	if err == nil && len(list) > 0 {
		return tagsPrefix + name, nil
	}
	return livePrefix + name, err
}

// tagsPrefix before a name says that a tag is meant.
const tagsPrefix = "tags/"

// known is errs.NotFound for a full name that there is not.
func (s *Service) known(name string) (err error) {
	if b, ok := strings.CutPrefix(name, livePrefix); ok {
		_, err = s.repo.Refs.Branch(b)
	} else if t, ok := strings.CutPrefix(name, tagsPrefix); ok {
		_, err = s.repo.Refs.Tag(t)
	}
	return err
}

// UndoRequest is `coral undo`.
type UndoRequest struct {
	Redo   bool   `json:"redo,omitempty"`
	Force  bool   `json:"force,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	N      int    `json:"n,omitempty"`
	Author string `json:"author,omitempty"`
}

// Flags implements Request.
func (r *UndoRequest) Flags(f *pflag.FlagSet) {
	f.BoolVar(&r.Redo, "redo", false, "make again what was undone last")
	f.BoolVarP(&r.Force, "force", "f", false, "keep what is not committed as a commit of the ref log, instead of refusing")
	f.BoolVar(&r.DryRun, "dry-run", false, "only say what would be done")
	f.IntVarP(&r.N, "max-count", "n", 1, "this `number` of commands, one after another; it stops at the first that cannot be undone")
}

// SetArgs implements Request.
func (r *UndoRequest) SetArgs(args []string) error {
	switch {
	case r.N < 1:
		return control.Usagef("undo: -n %d: want 1 or more", r.N)
	case r.N > 1 && r.DryRun:
		return control.Usagef("undo: --dry-run shows one command: see coral reflog for more")
	}
	return noArgs("undo", args)
}

// Access implements Request.
func (r *UndoRequest) Access() Access {
	if r.DryRun {
		return Reads
	}
	return Writes
}

// Localize implements Localizer.
func (r *UndoRequest) Localize() error { return localAuthor(&r.Author) }

// UndoResult is the reply of undo. JSON names are a promise.
type UndoResult struct {
	Moves  []MoveInfo `json:"moves"`         // taken back, or made again: as they were made
	Kept   oid.ID     `json:"kept,omitzero"` // the commit of what was not committed
	Redo   bool       `json:"redo,omitempty"`
	DryRun bool       `json:"dry_run,omitempty"`
}

func (s *Service) undo(ctx context.Context, r *UndoRequest, _ Progress) (UndoResult, error) {
	s.settle(ctx)
	out := UndoResult{Moves: []MoveInfo{}, Redo: r.Redo, DryRun: r.DryRun}
	for i := range max(r.N, 1) {
		res, err := s.repo.Undo(ctx, vcs.UndoOptions{Redo: r.Redo, Force: r.Force, DryRun: r.DryRun, Author: r.Author})
		if i > 0 && errors.Is(err, errs.NotFound) {
			return out, nil // as far back as there is
		}
		if err != nil {
			return out, err
		}
		out.Moves = append(out.Moves, moveInfos(res.Moves)...)
		if !res.Kept.IsZero() {
			out.Kept = res.Kept
		}
	}
	return out, nil
}
