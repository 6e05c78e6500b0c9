package ref

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coral/internal/errs"
	"coral/internal/oid"
)

// names is all that a store names: branches, tags with their objects, HEAD.
func names(t interface{ Fatal(...any) }, s *Store) string {
	branches, err := s.Branches()
	if err != nil {
		t.Fatal(err)
	}
	tags, err := s.Tags()
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.Head()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(branches, tags, head)
}

// move makes a random change of one or several refs; false if it was refused.
func move(t *rapid.T, s *Store) bool {
	name := rapid.SampledFrom([]string{"main", "a", "b", "c/d"})
	id := func() oid.ID { return idOf(rapid.IntRange(1, 5).Draw(t, "id")) }
	who := "me"
	one := func(x *Txn) error {
		n := name.Draw(t, "name")
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			at := id()
			if rapid.Bool().Draw(t, "empty") {
				at = oid.ID{}
			}
			return x.CreateBranch(n, at, "branch: created")
		case 1, 2:
			r, err := x.Branch(n)
			if err != nil {
				return err
			}
			return x.MoveBranch(n, r.ID, id(), "snapshot: x")
		case 3:
			return x.RenameBranch(n, name.Draw(t, "to"))
		case 4:
			r, err := x.Branch(n)
			if err != nil {
				return err
			}
			return x.DeleteBranch(n, r.ID, "")
		case 5:
			if rapid.Bool().Draw(t, "detach") {
				return x.SetHead(Head{Commit: id()}, "checkout")
			}
			return x.SetHead(Head{Branch: n}, "checkout")
		case 6:
			r := Ref{Name: n, ID: id()}
			if rapid.Bool().Draw(t, "annotated") {
				r.Tag = idOf(77)
			}
			return x.CreateTag(r, "tag: created")
		}
		return x.DeleteTag(n, "tag: deleted")
	}
	err := s.Update(who, func(x *Txn) error {
		for range rapid.IntRange(1, 3).Draw(t, "together") {
			if err := one(x); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errs.Conflict) && !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Exist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestUndoProperty: after any moves, undos and redos, names are what a pair of stacks says, and as many undos as there are moves restore the first state.
func TestUndoProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := Open(t.TempDir(), false)
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		s.db.NoSync = true
		frozen := time.Unix(1e9, 0)
		s.now = func() time.Time { return frozen } // a clock that stands still must not join transactions
		past, future := []string{names(rt, s)}, []string{}
		step := func(redo bool) {
			group, err := s.Next(redo)
			if empty := redo && len(future) == 0 || !redo && len(past) == 1; empty {
				if !errors.Is(err, errs.NotFound) {
					rt.Fatalf("redo %v of nothing: %v, %v", redo, group, err)
				}
				return
			}
			if err == nil && redo {
				err = s.Redo(group, "me", nil)
			} else if err == nil {
				err = s.Undo(group, "me", nil)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if redo {
				past, future = append(past, future[len(future)-1]), future[:len(future)-1]
			} else {
				past, future = past[:len(past)-1], append(future, past[len(past)-1])
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				step(false)
			case 1:
				step(true)
			default:
				if move(rt, s) {
					past, future = append(past, names(rt, s)), future[:0]
				}
			}
			if got := names(rt, s); got != past[len(past)-1] {
				rt.Fatalf("got  %s\nwant %s", got, past[len(past)-1])
			}
		}
		for len(past) > 1 {
			step(false)
			if got := names(rt, s); got != past[len(past)-1] {
				rt.Fatalf("after an undo\ngot  %s\nwant %s", got, past[len(past)-1])
			}
		}
	})
}

func TestUndoRefusals(t *testing.T) {
	s, _ := newStore(t)
	_, err := s.Next(false)
	wantErr(t, err, errs.NotFound, "nothing to undo")
	must(t, s.MoveBranch("main", oid.ID{}, idOf(1), "me", "snapshot: 1"))
	group, err := s.Next(false)
	must(t, err)
	must(t, s.MoveBranch("main", idOf(1), idOf(2), "me", "snapshot: 2"))
	before := names(t, s)
	wantErr(t, s.Undo(group, "me", nil), errs.Conflict, "meanwhile")
	wantErr(t, s.Undo(nil, "me", nil), errs.Conflict, "meanwhile")
	if got := names(t, s); got != before {
		t.Errorf("a refused undo changed %s to %s", before, got)
	}
	// A log line of HEAD that an older program wrote does not say where HEAD was.
	must(t, s.Update("me", func(x *Txn) error { return x.log(headName, idOf(2), idOf(2), "checkout: main") }))
	group, err = s.Next(false)
	must(t, err)
	wantErr(t, s.Undo(group, "me", nil), errs.Unsupported, "HEAD")
}

// TestUpdateIsOne: a transaction that fails changes nothing and logs nothing.
func TestUpdateIsOne(t *testing.T) {
	s, _ := newStore(t)
	before := names(t, s)
	err := s.Update("me", func(x *Txn) error {
		if err := x.CreateBranch("new", idOf(1), ""); err != nil {
			return err
		}
		return x.DeleteTag("none", "")
	})
	wantErr(t, err, errs.NotFound, "none")
	if m, err := s.Log("", 10); err != nil || len(m) != 0 || names(t, s) != before {
		t.Errorf("log %v, %v; names %s", m, err, names(t, s))
	}
}

func TestAt(t *testing.T) {
	s, _ := newStore(t)
	must(t, s.MoveBranch("main", oid.ID{}, idOf(1), "", ""))
	must(t, s.MoveBranch("main", idOf(1), idOf(2), "", ""))
	for n, want := range map[int]oid.ID{0: idOf(2), 1: idOf(1), 2: {}} {
		if got, err := s.At("branches/main", n); err != nil || got != want {
			t.Errorf("main@{%d} = %s, %v", n, got, err)
		}
	}
	_, err := s.At("branches/main", 3)
	wantErr(t, err, errs.NotFound, "2 moves")
}

func FuzzMarks(f *testing.F) {
	for _, s := range []string{"undo of 1: x", "redo of 12: checkout: moving from a to b", "undo of 0: ", "undo of 99999999999999999999: ", "checkout: moving from  to ", "tag: deleted (object )"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, why string) {
		if _, of, rest := parseMark(why); of == 0 && rest != why {
			t.Fatalf("%q without a mark becomes %q", why, rest)
		}
		if from, to, ok := headMove(why); ok && (from == Head{} || to == Head{}) {
			t.Fatalf("%q leads nowhere", why)
		}
		Move{Ref: "tags/x", Why: why}.TagObject()
	})
}

// TestRedoOrder pins the order by example: moves A B, undone both, redone in their order; a new move ends redo.
func TestRedoOrder(t *testing.T) {
	s, _ := newStore(t)
	must(t, s.CreateBranch("a", idOf(1), "", ""))
	must(t, s.CreateBranch("b", idOf(1), "", ""))
	seen := map[string]bool{}
	for _, redo := range []bool{false, false, true, true} {
		g, err := s.Next(redo)
		must(t, err)
		if redo {
			must(t, s.Redo(g, "me", nil))
		} else {
			must(t, s.Undo(g, "me", nil))
		}
		list, err := s.Branches()
		must(t, err)
		var have []string
		for _, r := range list {
			have = append(have, r.Name)
		}
		seen[fmt.Sprint(redo, have)] = true
	}
	want := []string{"false [a main]", "false [main]", "true [a b main]", "true [a main]"}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	g, err := s.Next(false)
	must(t, err)
	must(t, s.Undo(g, "me", nil))
	must(t, s.CreateBranch("c", idOf(1), "", ""))
	_, err = s.Next(true)
	wantErr(t, err, errs.NotFound, "nothing to redo")
}

// TestSwitched: a mark is known once its transaction is committed, until the branch's next, and goes with the branch.
func TestSwitched(t *testing.T) {
	s, _ := newStore(t)
	is := func(mark string, want bool) {
		t.Helper()
		if got, err := s.Switched(mark); err != nil || got != want {
			t.Errorf("%s: %v, %v", mark, got, err)
		}
	}
	note := func(mark string, fail error) {
		t.Helper()
		err := s.Update("me", func(x *Txn) error {
			if err := x.NoteSwitch("main", mark); err != nil {
				return err
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
	}
	is("a", false)
	note("a", nil)
	is("a", true)
	note("b", errs.Busy)
	is("b", false)
	is("a", true)
	note("c", nil)
	is("a", false)
	if err := s.Update("me", func(x *Txn) error { return x.NoteSwitch("main", "") }); !errors.Is(err, errs.Invalid) {
		t.Errorf("an empty mark: %v", err)
	}
	err := s.Update("me", func(x *Txn) error {
		if err := x.CreateBranch("b", idOf(1), ""); err != nil {
			return err
		}
		if err := x.NoteSwitch("b", "d"); err != nil {
			return err
		}
		return x.DeleteBranch("b", idOf(1), "")
	})
	if err != nil {
		t.Fatal(err)
	}
	is("d", false)
	is("c", true)
}
