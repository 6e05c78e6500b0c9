package worktree

import (
	"strings"
	"testing"

	"coral/internal/oid"
	"coral/vcs/object"
)

// ids lists a live tree: what has an id as "path", what has none as "path*"; directories with an id are not entered.
func (e *env) ids(dir Listed, prefix string) string {
	e.t.Helper()
	list, err := e.tree.List(bg, dir)
	e.ok(err)
	var out []string
	for _, l := range list {
		name := prefix + l.Name
		if l.ID.IsZero() {
			name += "*"
		}
		out = append(out, name)
		if l.Kind == object.Dir && l.ID.IsZero() {
			if below := e.ids(l, prefix+l.Name+"/"); below != "" {
				out = append(out, below)
			}
		}
	}
	return strings.Join(out, " ")
}

func TestListShowsWhatChanged(t *testing.T) {
	e := newEnv(t)
	e.mkdir("a")
	e.mkdir("b")
	e.write("a/f", "one")
	e.write("b/g", "two")
	root := e.snapshot()
	var err error
	e.tree, err = e.set.Tree(bg, "exp/x", root) // a branch that was just made from a commit
	e.ok(err)
	if top := e.tree.Top(); top.ID != root {
		t.Errorf("the root of a clean tree has id %s, want %s", top.ID, root)
	}
	if got := e.ids(e.tree.Top(), ""); got != "a b" {
		t.Errorf("clean: %q", got)
	}
	e.write("a/f", "changed")
	e.write("a/new", "x")
	if got := e.ids(e.tree.Top(), ""); got != "a* a/f* a/new* b" {
		t.Errorf("dirty: %q", got)
	}
	e.drain()
	if got := e.ids(e.tree.Top(), ""); got != "a* a/f a/new b" {
		t.Errorf("ingested: %q", got)
	}
	if e.tree.Top().ID != (oid.ID{}) {
		t.Error("a changed root has an id")
	}
}
