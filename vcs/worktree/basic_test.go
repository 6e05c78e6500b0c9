package worktree

import (
	"errors"
	"os"
	"testing"

	"coral/internal/oid"
)

func TestCreateWriteReadAcrossStates(t *testing.T) {
	e := newEnv(t)
	e.mkdir("a")
	content := big(10000, 1)
	e.write("a/f", content)
	e.write("a/tiny", "x")
	e.drain()
	e.wantState("a/f", "B")
	e.wantState("a/tiny", "A")
	if got := e.read("a/f"); got != content {
		t.Error("content of a/f differs in state B")
	}
	root := e.snapshot()
	e.ok(e.tree.Rebase(bg, root))
	if _, err := e.set.DropSpool(bg); err != nil {
		t.Fatal(err)
	}
	e.wantState("a/f", "A")
	if got := e.read("a/f"); got != content {
		t.Error("content of a/f differs in state A")
	}
	e.reopen()
	e.wantState("a/f", "A")
	if got := e.read("a/f"); got != content {
		t.Error("content of a/f differs after a restart")
	}
	h, err := e.tree.Open(bg, e.ino("a/f"), os.O_RDWR)
	e.ok(err)
	e.wantState("a/f", "C")
	_, err = h.WriteAt(bg, []byte("new"), 5)
	e.ok(err)
	e.ok(h.Close())
	want := content[:5] + "new" + content[8:]
	if got := e.read("a/f"); got != want {
		t.Error("content after copy up differs")
	}
	e.reopen()
	if got := e.read("a/f"); got != want {
		t.Error("content after copy up and restart differs")
	}
	if got := e.read("a/tiny"); got != "x" {
		t.Errorf("tiny: %q", got)
	}
}

func TestNewTreeFromRoot(t *testing.T) {
	e := newEnv(t)
	e.write("f", "one")
	root := e.snapshot()
	other, err := e.set.Tree(bg, "exp/x", root)
	e.ok(err)
	ino, err := findIno(other, "f")
	e.ok(err)
	if got, err := readFile(other, ino); err != nil || got != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	if st, err := other.Status(bg, root); err != nil || len(st) != 0 {
		t.Errorf("status: %v, %v", st, err)
	}
	if _, err := findIno(other, "nope"); !errors.Is(err, os.ErrNotExist) && err == nil {
		t.Error("found nope")
	}
	_ = oid.ID{}
}
