package service

import (
	"context"
	"fmt"
	"path"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/object"
)

// ListRequest is `coral ls`.
type ListRequest struct {
	Target    Target `json:"target"`
	Long      bool   `json:"long,omitempty"`
	Recursive bool   `json:"recursive,omitempty"`
}

// Flags implements Request.
func (r *ListRequest) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&r.Long, "long", "l", false, "sizes in bytes, stored and whole, format and number of tensors of files")
	f.BoolVarP(&r.Recursive, "recursive", "r", false, "directories below, too, with paths for names")
}

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
	out := []EntryInfo{entryInfo(l.entry, l.state.Dirty)}
	if l.entry.Kind == object.Dir {
		out, err = s.listDir(ctx, l, r.Recursive, "", nil, 0)
	}
	for i := 0; i < len(out) && err == nil && r.Long; i++ {
		err = s.describe(ctx, &out[i])
	}
	if err != nil {
		return nil, fmt.Errorf("ls %s: %w", r.Target, err)
	}
	return out, nil
}

// maxListDepth is how deep ls goes: no tree is deeper.
const maxListDepth = 4096

// listDir appends the entries of a located directory to out, their names behind prefix, each directory before what is in it.
func (s *Service) listDir(ctx context.Context, l *located, recursive bool, prefix string, out []EntryInfo, depth int) ([]EntryInfo, error) {
	list, err := s.entries(ctx, l)
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = make([]EntryInfo, 0, len(list))
	}
	for _, e := range list {
		name := string(e.Name)
		e.Name = control.Text(path.Join(prefix, name))
		out = append(out, e)
		if e.Kind != "dir" || !recursive || depth >= maxListDepth {
			continue
		}
		t := l.target
		t.Path, t.HasPath = path.Join(t.Path, name), true
		sub, err := s.locate(ctx, "", t)
		if err != nil {
			return nil, err
		}
		if sub.entry.Kind != object.Dir {
			continue // replaced meanwhile, in a live tree
		}
		if out, err = s.listDir(ctx, sub, recursive, path.Join(prefix, name), out, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// describe fills in what -l shows of a stored file.
func (s *Service) describe(ctx context.Context, e *EntryInfo) error {
	if e.Kind != "file" || e.ID.IsZero() {
		return nil
	}
	m, err := s.repo.Objects.Manifest(ctx, e.ID)
	if err != nil {
		return err
	}
	e.Format, e.Tensors = m.Format, len(m.Tensors)
	seen := map[oid.ID]bool{{}: true}
	stored := int64(0)
	for i := range m.Segments {
		if id := m.Segments[i].Blob; !seen[id] {
			seen[id] = true
			info, err := s.repo.Packs.Stat(id)
			if err != nil {
				return err
			}
			stored += info.Stored
		}
	}
	e.Stored = &stored
	return nil
}
