package service

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/object"
)

// ShowRequest is `coral show`.
type ShowRequest struct {
	Target Target `json:"target"`
}

// Flags implements Request.
func (r *ShowRequest) Flags(*pflag.FlagSet) {}

// SetArgs implements Request.
func (r *ShowRequest) SetArgs(args []string) (err error) {
	if r.Target, err = ParseTarget("show", arg(args, 0)); err != nil {
		return err
	}
	return atMost("show", args, 1)
}

// Access implements Request.
func (r *ShowRequest) Access() Access { return Reads }

// ShowResult is a commit and what it changed, or one of its files or directories. JSON names are a promise; those of
// CommitInfo are at the top level.
type ShowResult struct {
	*CommitInfo
	Branch  string       `json:"branch,omitempty"` // of a live path, which has no commit
	Path    control.Text `json:"path,omitempty"`
	Changes []FileChange `json:"changes,omitempty"` // against the first parent
	File    *FileInfo    `json:"file,omitempty"`
	Entries []EntryInfo  `json:"entries,omitempty"`
}

// FileInfo is what is known of one file.
type FileInfo struct {
	EntryInfo
	Hash     oid.ID       `json:"hash,omitzero"` // BLAKE3-256 of the bytes
	Format   string       `json:"format,omitempty"`
	Segments int          `json:"segments,omitempty"`
	Tensors  []TensorInfo `json:"tensors,omitempty"`
}

// TensorInfo is one row of a file's tensor table.
type TensorInfo struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Bytes  int64   `json:"bytes"`
}

func (s *Service) show(ctx context.Context, r *ShowRequest, _ Progress) (*ShowResult, error) {
	l, err := s.locate(ctx, "show", r.Target)
	if err != nil {
		return nil, err
	}
	res := &ShowResult{Path: control.Text(r.Target.Path), Branch: l.branch}
	if l.c != nil {
		refs, err := s.refNames()
		if err != nil {
			return nil, fmt.Errorf("show: %w", err)
		}
		res.CommitInfo = commitInfo(l.commit, l.c, refs)
	}
	switch {
	case !r.Target.HasPath:
		res.Changes, err = s.commitChanges(ctx, l.c)
	case l.entry.Kind == object.Dir:
		res.Entries, err = s.entries(ctx, l)
	default:
		res.File, err = s.fileInfo(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", r.Target, err)
	}
	return res, nil
}

func (s *Service) fileInfo(ctx context.Context, l *located) (*FileInfo, error) {
	info := &FileInfo{EntryInfo: entryInfo(l.entry, l.state.Dirty)}
	if l.entry.Kind != object.File || l.entry.ID.IsZero() {
		return info, nil
	}
	m, err := s.repo.Objects.Manifest(ctx, l.entry.ID)
	if err != nil {
		return nil, err
	}
	info.Hash, info.Format, info.Segments = m.Hash, m.Format, len(m.Segments)
	for _, t := range m.Tensors {
		info.Tensors = append(info.Tensors, TensorInfo{t.Name, t.DType.String(), append([]int64{}, t.Shape...), t.Offset, t.Length})
	}
	return info, nil
}

// commitChanges compares a commit with its first parent; everything is new in one without.
func (s *Service) commitChanges(ctx context.Context, c *object.Commit) ([]FileChange, error) {
	var old oid.ID
	if len(c.Parents) > 0 {
		p, err := s.repo.Objects.Commit(ctx, c.Parents[0])
		if err != nil {
			return nil, err
		}
		old = p.Tree
	}
	return s.diff(ctx, old, c.Tree)
}

// ListRequest is `coral ls`.
type ListRequest struct {
	Target Target `json:"target"`
}

// Flags implements Request.
func (r *ListRequest) Flags(*pflag.FlagSet) {}

// SetArgs implements Request.
func (r *ListRequest) SetArgs(args []string) (err error) {
	if r.Target, err = ParseTarget("ls", arg(args, 0)); err != nil {
		return err
	}
	return atMost("ls", args, 1)
}

// Access implements Request.
func (r *ListRequest) Access() Access { return Reads }

func (s *Service) list(ctx context.Context, r *ListRequest, _ Progress) ([]EntryInfo, error) {
	l, err := s.locate(ctx, "ls", r.Target)
	if err != nil {
		return nil, err
	}
	if l.entry.Kind != object.Dir {
		return []EntryInfo{entryInfo(l.entry, l.state.Dirty)}, nil
	}
	out, err := s.entries(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("ls %s: %w", r.Target, err)
	}
	return out, nil
}
