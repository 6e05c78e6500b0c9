package service

import (
	"context"
	"fmt"
	"strings"

	"coral/internal/errs"
)

// mounted says what path is: of the repository, if it is inside one of its mounts, where the daemon must not open it since it would wait for itself; or else of the
// disk, and ok is false. path is absolute, clean and without symbolic links (realPath); it need not exist. Inside a mount but in none of its trees it is errs.Invalid.
func (s *Service) mounted(op, path string) (t Target, ok bool, err error) {
	if t, ok := s.mountTarget(path); ok {
		return t, true, nil
	}
	if err := s.outside(op, path); err != nil {
		return t, false, fmt.Errorf("%s %s: inside a mount of this repository, and no path of a branch, tag or commit there; name it as REV:PATH, or :PATH: %w", op, path, errs.Invalid)
	}
	return t, false, nil
}

// mountTarget returns what a path inside one of the mounts is: a path, or "" for the root, of a tree in branches/, commits/ or tags/, or of the one tree that a mount with --at
// shows; or a version in history/. Nothing is opened: a branch or tag must exist, the rest need not.
func (s *Service) mountTarget(file string) (t Target, ok bool) {
	for _, m := range s.Mounts() {
		if !within(file, m.Mountpoint) {
			continue
		}
		rel := strings.Trim(file[len(m.Mountpoint):], "/")
		if m.At != "" {
			_, err := s.repo.Refs.Branch(m.At)
			return Target{Rev: m.At, Path: rel, HasPath: true, Live: err == nil}, true
		}
		top, rest, _ := strings.Cut(rel, "/")
		switch top {
		case "branches":
			t, ok = refTarget(rest, s.isBranch)
			t.Live = ok
		case "tags":
			t, ok = refTarget(rest, func(name string) bool { _, err := s.repo.Refs.Tag(name); return err == nil })
		case "commits":
			t, ok = refTarget(rest, func(string) bool { return true }) // a revision that is one component
		case "history":
			if t, ok = refTarget(rest, s.isBranch); ok {
				t, ok = versionTarget(t.Path)
			}
		}
		return t, ok
	}
	return Target{}, false
}

func (s *Service) isBranch(name string) bool {
	_, err := s.repo.Refs.Branch(name)
	return err == nil
}

// refTarget divides NAME[/PATH], where NAME may have slashes: the shortest one that exists is it, since no ref is a directory of another.
func refTarget(rest string, exists func(name string) bool) (Target, bool) {
	for i := range len(rest) + 1 {
		if i > 0 && (i == len(rest) || rest[i] == '/') && exists(rest[:i]) {
			return Target{Rev: rest[:i], Path: strings.Trim(rest[i:], "/"), HasPath: true}, true
		}
	}
	return Target{}, false
}

// versionTarget divides PATH/NNNN-ID, a version of a file.
func versionTarget(p string) (Target, bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return Target{}, false
	}
	number, id, ok := strings.Cut(p[i+1:], "-")
	if !ok || strings.Trim(number, "0123456789") != "" || id == "" || strings.Trim(id, "0123456789abcdef") != "" {
		return Target{}, false
	}
	return Target{Rev: id, Path: p[:i], HasPath: true}, true
}

// locateDisk locates a path of the disk that is inside a mount; nil for one outside.
func (s *Service) locateDisk(ctx context.Context, op, path string) (*located, error) {
	t, ok, err := s.mounted(op, path)
	if err != nil || !ok {
		return nil, err
	}
	return s.locate(ctx, op, t)
}
