package service

import (
	"context"
	"path"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/object"
)

// FileChange is one path that differs between two trees. JSON names are a promise.
type FileChange struct {
	Path    control.Text `json:"path"`
	Kind    string       `json:"kind"` // "added", "modified", "deleted", "mode", "type"
	Size    int64        `json:"size"`
	OldSize int64        `json:"old_size,omitempty"`
	ID      oid.ID       `json:"id,omitzero"`
}

// diff compares two trees (zero: empty) in path order. Directories that are the same object are not read. A directory
// appears only when it is empty on its side.
func (s *Service) diff(ctx context.Context, old, new oid.ID) ([]FileChange, error) {
	d := differ{s: s, ctx: ctx, out: []FileChange{}}
	err := d.trees(old, new, "")
	return d.out, err
}

type differ struct {
	s   *Service
	ctx context.Context
	out []FileChange
}

func (d *differ) load(id oid.ID) ([]object.Entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	t, err := d.s.repo.Objects.Tree(d.ctx, id)
	if err != nil {
		return nil, err
	}
	return t.Entries, nil
}

func (d *differ) trees(old, new oid.ID, dir string) error {
	if old == new {
		return nil
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	a, err := d.load(old)
	if err != nil {
		return err
	}
	b, err := d.load(new)
	if err != nil {
		return err
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			err = d.one("deleted", a[0], dir)
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			err = d.one("added", b[0], dir)
			b = b[1:]
		default:
			err = d.both(a[0], b[0], dir)
			a, b = a[1:], b[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one reports an entry that is on one side only, with all that is below it.
func (d *differ) one(kind string, e object.Entry, dir string) error {
	p := path.Join(dir, e.Name)
	if e.Kind == object.Dir {
		list, err := d.load(e.ID)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			if kind == "added" {
				return d.trees(oid.ID{}, e.ID, p)
			}
			return d.trees(e.ID, oid.ID{}, p)
		}
		p += "/"
	}
	c := FileChange{Path: control.Text(p), Kind: kind, Size: e.Size, ID: e.ID}
	if kind == "deleted" {
		c.Size, c.OldSize = 0, e.Size
	}
	d.out = append(d.out, c)
	return nil
}

// both reports what differs in an entry that is on both sides.
func (d *differ) both(a, b object.Entry, dir string) error {
	p := path.Join(dir, b.Name)
	switch {
	case a.Kind != b.Kind && (a.Kind == object.Dir || b.Kind == object.Dir):
		if err := d.one("deleted", a, dir); err != nil {
			return err
		}
		return d.one("added", b, dir)
	case a.Kind != b.Kind:
		d.add(p, "type", a, b)
	case a.Kind == object.Dir:
		if a.ID == b.ID && a.Mode != b.Mode {
			d.add(p+"/", "mode", a, b)
		}
		return d.trees(a.ID, b.ID, p)
	case a.ID != b.ID || a.Target != b.Target:
		d.add(p, "modified", a, b)
	case a.Mode != b.Mode:
		d.add(p, "mode", a, b)
	}
	return nil // a new mtime alone is no change to show
}

func (d *differ) add(p, kind string, a, b object.Entry) {
	d.out = append(d.out, FileChange{Path: control.Text(p), Kind: kind, Size: b.Size, OldSize: a.Size, ID: b.ID})
}
