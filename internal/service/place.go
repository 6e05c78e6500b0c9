package service

import (
	"fmt"
	"os"
	"path"
	"strings"

	"coral/internal/control"
	"coral/internal/errs"
)

// Place is where the caller of a command stands.
type Place struct {
	Cwd control.Text `json:"cwd,omitempty"` // absolute and without symbolic links; "" if that is not known
}

// localize finds out. Where it cannot, paths are of the tree.
func (p *Place) localize() {
	if wd, err := os.Getwd(); err == nil {
		if wd, err = realPath(wd, false); err == nil {
			p.Cwd = control.Text(wd)
		}
	}
}

// rawPaths refuses what is no path anywhere.
func rawPaths(op string, args []string) ([]control.Text, error) {
	if err := refuseEmpty(op, args); err != nil {
		return nil, err
	}
	out := []control.Text{}
	for _, a := range args {
		if strings.IndexByte(a, 0) >= 0 {
			return nil, control.Usagef("%s: NUL byte in a path", op)
		}
		out = append(out, control.Text(a))
	}
	return out, nil
}

// treePaths returns paths of a tree as the caller means them: below the working directory where that is in a tree of a mount, else from the root of the tree, as /PATH is in any
// place; a path that is itself inside a mount is the one that it shows. live is the branch whose live tree is to change because it is the current one: a
// path in the live tree of another is errs.Invalid.
func (s *Service) treePaths(op string, at Place, live string, paths []control.Text) ([]control.Text, error) {
	cwd, inside := s.mountTarget(string(at.Cwd))
	out := []control.Text{}
	for _, raw := range paths {
		p := string(raw)
		shown := cwd
		switch {
		case path.IsAbs(p):
			var ok bool
			if shown, ok = s.mountTarget(path.Clean(p)); ok {
				p = shown.Path
			}
		case inside:
			p = path.Join(cwd.Path, p)
		}
		if live != "" && shown.Live && shown.Rev != live {
			return nil, fmt.Errorf("%s %s: this is in the live tree of %s, and the current branch is %s: say with restore --branch which is meant: %w", op, raw, shown.Rev, live, errs.Invalid)
		}
		p, err := treePath(op, p)
		if err != nil {
			return nil, err
		}
		out = append(out, control.Text(p))
	}
	return out, nil
}

// currentBranch returns the branch that HEAD is on; "" if there is none, or none can be read, as the command will say itself.
func (s *Service) currentBranch() string {
	head, err := s.repo.Refs.Head()
	if err != nil {
		return ""
	}
	return head.Branch
}
