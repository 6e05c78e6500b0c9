package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"coral/internal/control"
)

// within reports whether path is dir or below it. Both are absolute and clean.
func within(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// absolute refuses a path that depends on somebody's working directory.
func absolute(op, path string) error {
	if !filepath.IsAbs(path) {
		return control.Usagef("%s: %q: give an absolute path here", op, path)
	}
	return nil
}

// realPath makes path absolute and resolves symbolic links in as much of it as exists. With keepLast the last
// component is left as it is: `coral add link` adds the link.
func realPath(path string, keepLast bool) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if keepLast {
		dir, err := realPath(filepath.Dir(abs), false)
		return filepath.Join(dir, filepath.Base(abs)), err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err == nil || !errors.Is(err, os.ErrNotExist) || abs == "/" {
		return real, err
	}
	dir, err := realPath(filepath.Dir(abs), false)
	return filepath.Join(dir, filepath.Base(abs)), err
}

// treePath cleans a path inside a tree: no leading or trailing slash, "" for the root; ".." may not leave it.
func treePath(op, path string) (string, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return "", control.Usagef("%s: NUL byte in a path", op)
	}
	p := strings.TrimLeft(path, "/")
	if p == "" {
		return "", nil
	}
	p = filepath.Clean(p)
	switch {
	case p == ".":
		return "", nil
	case p == ".." || strings.HasPrefix(p, "../"):
		return "", control.Usagef("%s: path %q leaves the tree", op, path)
	}
	return p, nil
}

// Target is the REV[:PATH] of show, ls, cat and export.
type Target struct {
	Rev     string `json:"rev,omitempty"`
	Path    string `json:"-"`                  // in JSON as control.Text
	HasPath bool   `json:"has_path,omitempty"` // there was a colon
	Live    bool   `json:"live,omitempty"`     // Rev is a branch whose live tree is meant; "" is HEAD's
}

// targetJSON is a Target on the wire.
type targetJSON struct {
	plainTarget
	Path control.Text `json:"path,omitempty"`
}

type plainTarget Target // without its methods

// MarshalJSON implements json.Marshaler.
func (t Target) MarshalJSON() ([]byte, error) {
	return json.Marshal(targetJSON{plainTarget(t), control.Text(t.Path)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Target) UnmarshalJSON(b []byte) error {
	var j targetJSON
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	*t = Target(j.plainTarget)
	t.Path = string(j.Path)
	return nil
}

// livePrefix before a branch's name means its live tree, as it is called in a mount.
const livePrefix = "branches/"

// ParseTarget reads REV, REV:PATH, :PATH (the current branch's live tree) or branches/NAME[:PATH] (that branch's).
// A ref name has no colon, so the first one divides; a path may have more of them.
func ParseTarget(op, s string) (Target, error) {
	var t Target
	var path string
	t.Rev, path, t.HasPath = strings.Cut(s, ":")
	if t.HasPath {
		p, err := treePath(op, path)
		if err != nil {
			return Target{}, err
		}
		t.Path = p
		t.Live = t.Rev == ""
	}
	if name, ok := strings.CutPrefix(t.Rev, livePrefix); ok {
		t.Rev, t.Live, t.HasPath = name, true, true
	}
	return t, nil
}

// String is the inverse of ParseTarget.
func (t Target) String() string {
	rev := t.Rev
	if t.Live && rev != "" {
		rev = livePrefix + rev
	}
	if t.HasPath {
		return rev + ":" + t.Path
	}
	return rev
}
