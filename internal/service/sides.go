package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs/diff"
)

// Side is what diff and compare take: REV, REV:PATH, :PATH or branches/NAME (live trees), or a path of the disk outside the repository.
type Side struct {
	Text control.Text `json:"text"`
	Disk control.Text `json:"disk,omitempty"` // the absolute path of Text, if there is something of this name where the command was put
}

// localize finds the path of the disk that a side may mean.
func (d *Side) localize() error {
	s := string(d.Text)
	if s == "" {
		return nil
	}
	if _, err := os.Stat(s); err != nil {
		if plainPath(s) {
			return err
		}
		return nil
	}
	abs, err := realPath(s, false)
	d.Disk = control.Text(abs)
	return err
}

// plainPath reports what can only be a path of the disk: absolute, or beginning with ./ or ../, or one of these two.
func plainPath(s string) bool {
	return filepath.IsAbs(s) || s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")
}

// side opens a side. A name goes before a path of the disk: ./NAME means the latter.
func (s *Service) side(ctx context.Context, op string, d Side) (diff.Tree, SideInfo, error) {
	info := SideInfo{Name: d.Text}
	text := string(d.Text)
	if s.repo == nil || plainPath(text) {
		if d.Disk == "" && filepath.IsAbs(text) {
			d.Disk = d.Text
		}
		return s.diskSide(ctx, op, d, info)
	}
	t, err := ParseTarget(op, text)
	if err != nil {
		return nil, info, err
	}
	l, err := s.locate(ctx, op, t)
	if err != nil {
		if d.Disk != "" && errors.Is(err, errs.NotFound) {
			return s.diskSide(ctx, op, d, info)
		}
		return nil, info, err
	}
	return s.locatedSide(l, info)
}

func (s *Service) locatedSide(l *located, info SideInfo) (diff.Tree, SideInfo, error) {
	info.Branch, info.Commit = l.branch, l.commit
	if l.tree != nil {
		return &diff.Live{Tree: l.tree, Content: s.repo.Content, Path: l.target.Path}, info, nil
	}
	return &diff.Stored{Objects: s.repo.Objects, Content: s.repo.Content, Top: l.entry}, info, nil
}

func (s *Service) diskSide(ctx context.Context, op string, d Side, info SideInfo) (diff.Tree, SideInfo, error) {
	path := string(d.Disk)
	if path == "" {
		return nil, info, fmt.Errorf("%s %s: no file or directory of this name: %w", op, d.Text, errs.NotFound)
	}
	if l, err := s.locateDisk(ctx, op, path); err != nil {
		return nil, info, err
	} else if l != nil {
		return s.locatedSide(l, info)
	}
	t, err := diff.OpenDisk(path)
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", op, err)
	}
	info.Disk = d.Disk
	return t, info, nil
}

// headSide is the commit that HEAD is at; before the first one it is empty.
func (s *Service) headSide(ctx context.Context, op string) (diff.Tree, SideInfo, error) {
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, SideInfo{}, fmt.Errorf("%s: %w", op, err)
	}
	if head.Branch != "" {
		b, err := s.repo.Refs.Branch(head.Branch)
		if err != nil {
			return nil, SideInfo{}, fmt.Errorf("%s: %w", op, err)
		}
		if b.ID.IsZero() {
			return diff.Empty{}, SideInfo{Name: "HEAD"}, nil
		}
	}
	return s.side(ctx, op, Side{Text: "HEAD"})
}

// liveSide is the live tree of the current branch, or HEAD's commit if there is no current branch.
func (s *Service) liveSide(ctx context.Context, op string) (diff.Tree, SideInfo, error) {
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, SideInfo{}, fmt.Errorf("%s: %w", op, err)
	}
	if head.Branch == "" {
		return s.headSide(ctx, op)
	}
	return s.side(ctx, op, Side{Text: control.Text(livePrefix + head.Branch)})
}
