package worktree

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
)

// wants compares the live tree with a committed one, now and after a restart, and says that a snapshot of it is that tree.
func (e *env) wants(root oid.ID) {
	e.t.Helper()
	check := func(when string) {
		if got := e.snapshot(); got != root {
			e.t.Fatalf("%s: the live tree is %s, want %s\n%v\n%v", when, got.Short(), root.Short(), e.deps.files(e.t, got), e.deps.files(e.t, root))
		}
	}
	before := digest(e.t, e.tree)
	check("at once")
	e.reopen()
	if after := digest(e.t, e.tree); after != before {
		e.t.Fatalf("after a restart\n%s\nbefore\n%s", after, before)
	}
	check("after a restart")
}

// TestSwitchBetweenAnyTrees makes random trees and switches between them in random order, with compactions and forgetting between.
func TestSwitchBetweenAnyTrees(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			e := newEnv(t)
			defer e.close()
			roots := []oid.ID{e.snapshot()}
			for range 6 {
				for range 12 {
					scramble(e, rng)
				}
				roots = append(roots, e.snapshot())
			}
			at := roots[len(roots)-1]
			for range 25 {
				to := roots[rng.IntN(len(roots))]
				if err := e.tree.Switch(bg, at, to, nil); err != nil {
					t.Fatal(err)
				}
				at = to
				switch rng.IntN(4) {
				case 0:
					e.wants(at)
				case 1:
					e.ok(e.tree.Rebase(bg, at))
				case 2:
					e.compact(at)
				case 3:
					e.tree.Forget(e.tree.Root())
				}
			}
			e.wants(at)
		})
	}
}

// scramble does one random change of names, kinds, modes and content.
func scramble(e *env, rng *rand.Rand) {
	e.t.Helper()
	dirs := []string{"", "a", "b", "a/c", "b/d"}
	dir := dirs[rng.IntN(len(dirs))]
	if dir != "" {
		if _, err := findIno(e.tree, dir); err != nil {
			if top, _, deep := strings.Cut(dir, "/"); deep {
				if _, err := findIno(e.tree, top); err != nil {
					e.mkdir(top)
				}
			}
			e.mkdir(dir)
		}
	}
	d := e.ino(dir)
	name := fmt.Sprint("f", rng.IntN(4))
	_ = e.tree.Unlink(bg, d, name)
	switch rng.IntN(7) {
	case 0, 1, 2:
		e.write(join(dir, name), fmt.Sprint("content ", rng.IntN(5)))
	case 3:
		_, err := e.tree.Symlink(bg, d, name, fmt.Sprint("to", rng.IntN(3)), 0, 0)
		e.ok(err)
	case 4:
		mode := uint32(0o700 + rng.IntN(0o77))
		_, err := e.tree.Setattr(bg, d, SetAttr{Mode: &mode})
		e.ok(err)
	case 5: // a directory goes, or changes places with a file
		for _, sub := range dirs[1:] {
			_ = e.tree.Rename(bg, e.tree.Root(), sub, e.tree.Root(), "b", RenameExchange)
		}
	}
}

func TestSwitchKeepsWhatIsCommon(t *testing.T) {
	e := newEnv(t)
	defer e.close()
	e.mkdir("d")
	e.write("d/same", "same")
	e.write("d/other", "one")
	one := e.snapshot()
	same, other := e.ino("d/same"), e.ino("d/other")
	e.write("d/other", "two")
	two := e.snapshot()
	e.ok(e.tree.Setxattr(bg, same, "user.x", []byte("1"), 0))
	h, err := e.tree.Open(bg, e.ino("d/other"), os.O_RDONLY)
	e.ok(err)
	e.ok(e.tree.Switch(bg, e.snapshot(), one, nil))
	if e.ino("d/same") != same || e.ino("d/other") == other {
		t.Errorf("inodes: same %d → %d, other %d → %d", same, e.ino("d/same"), other, e.ino("d/other"))
	}
	if v, err := e.tree.Getxattr(bg, same, "user.x"); err != nil || string(v) != "1" {
		t.Errorf("xattr of a file that did not change: %q, %v", v, err)
	}
	if got, err := readHandle(h); err != nil || got != "two" {
		t.Errorf("an open handle reads %q, %v", got, err)
	}
	if got := e.read("d/other"); got != "one" {
		t.Errorf("the name reads %q", got)
	}
	e.ok(h.Close())
	if one == two {
		t.Fatal("the trees do not differ")
	}
	e.wants(one)
}

func TestSwitchRefusals(t *testing.T) {
	e := newEnv(t)
	defer e.close()
	e.write("f", "one")
	one := e.snapshot()
	e.write("f", "two")
	two := e.snapshot()
	before := digest(t, e.tree)

	never := func(string) error { t.Error("commit was called"); return nil }
	if err := e.tree.Switch(bg, one, two, never); !errors.Is(err, ErrMoved) || !errors.Is(err, errs.Busy) {
		t.Errorf("from another tree: %v", err)
	}
	failed := errors.New("no")
	if err := e.tree.Switch(bg, two, one, func(string) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("commit fails: %v", err)
	}
	if err := e.tree.Switch(bg, two, oid.Sum([]byte("nothing")), never); !errors.Is(err, errs.NotFound) {
		t.Errorf("to a tree that is not there: %v", err)
	}
	if after := digest(t, e.tree); after != before {
		t.Errorf("refused switches changed\n%s to\n%s", before, after)
	}
	h, err := e.tree.Open(bg, e.ino("f"), os.O_WRONLY)
	e.ok(err)
	if err := e.tree.Switch(bg, two, one, never); !errors.Is(err, errs.Busy) || !strings.Contains(err.Error(), "f") {
		t.Errorf("a file open for writing: %v", err)
	}
	e.ok(h.Close())
	e.write("g", "new")
	if err := e.tree.Switch(bg, two, one, never); !errors.Is(err, ErrMoved) {
		t.Errorf("a new file: %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(e.tree.j.path)); err != nil || len(list) != 1 {
		t.Errorf("a temporary journal is left: %v, %v", list, err)
	}
	e.ok(e.tree.Switch(bg, e.snapshot(), one, func(string) error { return nil }))
	e.wants(one)
}

// TestSwitchDropsDirectories: what was in a directory that goes does not come back by inode numbers that the kernel still has.
func TestSwitchDropsDirectories(t *testing.T) {
	e := newEnv(t)
	defer e.close()
	empty := e.snapshot()
	e.mkdir("a")
	e.mkdir("a/b")
	e.write("a/b/f", "x")
	full := e.snapshot()
	e.drain()
	_, err := e.set.DropSpool(bg)
	e.ok(err)
	e.compact(full)
	e.reopen() // nothing is loaded
	dir, file := e.ino("a/b"), e.ino("a/b/f")
	e.tree.Forget(e.ino("a"))
	e.ok(e.tree.Switch(bg, full, empty, nil))
	for _, ino := range []Ino{file} {
		if a, err := e.tree.Getattr(bg, ino); !errors.Is(err, errs.NotFound) {
			t.Errorf("inode %d of what is gone: %+v, %v", ino, a, err)
		}
	}
	if list, err := e.tree.Readdir(bg, dir); err == nil && len(list) > 0 {
		t.Errorf("a directory that is gone lists %v", list)
	}
	if got := e.deps.files(t, e.snapshot()); !maps.Equal(got, e.deps.files(t, empty)) {
		t.Errorf("left: %v", got)
	}
	e.ok(e.tree.Switch(bg, empty, full, nil))
	e.wants(full)
}

// TestSwitchCutShort: a switch that ended after its commit is finished at the next start, one that was not committed never happened, and neither takes anything away
// from a journal that has grown since.
func TestSwitchCutShort(t *testing.T) {
	for _, c := range []struct {
		name            string
		committed, more bool
	}{{"committed", true, false}, {"not committed", false, false}, {"grown since", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			defer e.close()
			e.write("f", "one")
			one := e.snapshot()
			e.write("f", "two")
			e.write("g", "two")
			two := e.snapshot()
			var note string
			dir, died := filepath.Dir(e.tree.j.path), errors.New("died")
			kept := map[string][]byte{}
			err := e.tree.Switch(bg, two, one, func(mark string) error {
				note = mark
				list, err := os.ReadDir(dir)
				e.ok(err)
				for _, f := range list {
					b, err := os.ReadFile(filepath.Join(dir, f.Name()))
					e.ok(err)
					kept[f.Name()] = b
				}
				return died
			})
			if !errors.Is(err, died) || len(kept) != 2 {
				t.Fatalf("%v, %d files", err, len(kept))
			}
			want := one
			if !c.committed || c.more {
				want = two
			}
			if c.more {
				e.write("h", "three")
				want = e.snapshot()
			}
			for name, b := range kept {
				if strings.HasPrefix(name, nextPrefix) {
					e.ok(os.WriteFile(filepath.Join(dir, name), b, 0o600))
				}
			}
			e.opts.Switched = func(mark string) (bool, error) { return c.committed && mark == note, nil }
			e.reopen()
			e.wants(want)
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}
