package ref

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Undo and redo are moves like others, marked in Why with the number of the first move of the transaction that they take back or make again. What can be undone
// follows from the log alone:
//
//   - Undo takes back the newest transaction that is neither undone nor itself an undo or redo. So n undos take back the last n.
//   - Redo makes again what was undone last, as long as no other move came after that undo.
//
// A transaction's newest undo or redo says whether it is undone.
const (
	undoMark = "undo of "
	redoMark = "redo of "
)

// parseMark splits the mark of an undo or redo off why: undo is whether it was one, of the number of the transaction (0: neither).
func parseMark(why string) (undo bool, of uint64, rest string) {
	rest, undo = strings.CutPrefix(why, undoMark)
	if !undo {
		var redo bool
		if rest, redo = strings.CutPrefix(why, redoMark); !redo {
			return false, 0, why
		}
	}
	digits, rest, ok := strings.Cut(rest, ": ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || n == 0 {
		return false, 0, why
	}
	return undo, n, rest
}

// Reason is Why without the mark of an undo or redo.
func (m Move) Reason() string {
	_, _, rest := parseMark(m.Why)
	return rest
}

// RenameFrom is the old name of the branch if the move renamed one; "" otherwise.
func (m Move) RenameFrom() string {
	old, ok := strings.CutPrefix(m.Reason(), RenamedFrom)
	if !ok || !strings.HasPrefix(m.Ref, branchPrefix) {
		return ""
	}
	return old
}

// Branch is the name of the branch that was moved; "" for a tag or HEAD.
func (m Move) Branch() string {
	name, ok := strings.CutPrefix(m.Ref, branchPrefix)
	if !ok {
		return ""
	}
	return name
}

// Created says whether the move made its branch.
func (m Move) Created() bool { return m.Branch() != "" && strings.HasPrefix(m.Reason(), createdWhy) }

// Deleted says whether the move deleted its branch.
func (m Move) Deleted() bool { return m.Branch() != "" && strings.HasPrefix(m.Reason(), deletedWhy) }

// Next returns the moves, oldest first, that Undo (or, if redo, Redo) would take back or make again now. errs.NotFound if there are none.
func (s *Store) Next(redo bool) (group []Move, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		group, err = next(tx, redo)
		return err
	})
	return group, err
}

func next(tx *bbolt.Tx, redo bool) ([]Move, error) {
	f := finder{redo: redo, state: map[uint64]bool{}}
	var group []Move // newest first
	err := eachMove(tx, func(m Move) bool {
		if len(group) > 0 && !group[0].Time.Equal(m.Time) {
			if f.add(group) {
				return false
			}
			group = group[:0]
		}
		group = append(group, m)
		return true
	})
	if err != nil {
		return nil, err
	}
	if f.found == nil && len(group) > 0 {
		f.add(group)
	}
	if f.found == nil {
		word := "undo"
		if redo {
			word = "redo"
		}
		return nil, fmt.Errorf("there is nothing to %s: %w", word, errs.NotFound)
	}
	slices.Reverse(f.found)
	return f.found, nil
}

// finder is given the transactions of the log, newest first.
type finder struct {
	redo  bool
	state map[uint64]bool // of transactions by their first move: whether they are undone, by the newest mark
	want  uint64          // of redo: what was undone last
	found []Move
}

// add takes in a transaction, newest move first, and says whether the search is over.
func (f *finder) add(group []Move) (over bool) {
	first := group[len(group)-1]
	undo, of, _ := parseMark(first.Why)
	switch {
	case of != 0:
		if _, known := f.state[of]; !known {
			f.state[of] = undo
			if undo && f.want == 0 {
				f.want = of
			}
		}
		return false
	case !f.redo:
		if f.state[first.Seq] {
			return false
		}
		f.found = slices.Clone(group)
		return true
	case f.want == 0: // a move came after the last undo
		return true
	case first.Seq == f.want:
		f.found = slices.Clone(group)
		return true
	}
	return false // undone too, and before what is wanted was
}

// Undo takes back the moves that Next returned, in one transaction. errs.Conflict if others came meanwhile. first (may be nil) makes other moves before, in the
// transaction, and has to leave refs where they were: the log then has what was passed through.
func (s *Store) Undo(group []Move, who string, first func(*Txn) error) error {
	return s.revise(group, false, who, first)
}

// Redo makes the moves again that Next(true) returned, as Undo takes them back.
func (s *Store) Redo(group []Move, who string, first func(*Txn) error) error {
	return s.revise(group, true, who, first)
}

func (s *Store) revise(group []Move, redo bool, who string, first func(*Txn) error) error {
	return s.Update(who, func(t *Txn) error {
		now, err := next(t.tx, redo)
		if err != nil {
			return err
		}
		if len(group) == 0 || now[0].Seq != group[0].Seq || len(now) != len(group) {
			return fmt.Errorf("another move came meanwhile: %w", errs.Conflict)
		}
		word, do := "undo", t.undo
		t.mark = undoMark
		list := slices.Clone(now)
		if redo {
			word, do, t.mark = "redo", t.redo, redoMark
		} else {
			slices.Reverse(list)
		}
		t.mark += strconv.FormatUint(now[0].Seq, 10) + ": "
		if first != nil {
			if err := first(t); err != nil {
				return err
			}
		}
		for _, m := range list {
			if err := do(m); err != nil {
				return fmt.Errorf("%s move %d of %s: %w", word, m.Seq, m.Ref, err)
			}
		}
		return nil
	})
}

// undo does the opposite of m.
func (t *Txn) undo(m Move) error {
	switch name := m.Branch(); {
	case m.Ref == headName:
		from, to, ok := headMove(m.Why)
		if !ok {
			return fmt.Errorf("the log does not say where HEAD was: check out what you want: %w", errs.Unsupported)
		}
		return t.turnHead(to, from, m.Why)
	case name == "":
		return t.undoTag(m)
	case m.RenameFrom() != "":
		return t.RenameBranch(name, m.RenameFrom())
	case m.Created():
		return t.DeleteBranch(name, m.New, deletedWhy)
	case m.Deleted():
		return t.CreateBranch(name, m.Old, createdWhy)
	default:
		return t.setBranch(name, m.New, m.Old, m.Why)
	}
}

// redo does m again.
func (t *Txn) redo(m Move) error {
	switch name := m.Branch(); {
	case m.Ref == headName:
		from, to, ok := headMove(m.Why)
		if !ok {
			return fmt.Errorf("the log does not say where HEAD was: %w", errs.Unsupported)
		}
		return t.turnHead(from, to, m.Why)
	case name == "":
		m.Old, m.New = m.New, m.Old
		return t.undoTag(m)
	case m.RenameFrom() != "":
		return t.RenameBranch(m.RenameFrom(), name)
	case m.Created():
		return t.CreateBranch(name, m.New, m.Why)
	case m.Deleted():
		return t.DeleteBranch(name, m.Old, m.Why)
	default:
		return t.setBranch(name, m.Old, m.New, m.Why)
	}
}

// turnHead sets HEAD to to if it is at from.
func (t *Txn) turnHead(from, to Head, why string) error {
	now, err := readHead(t.tx)
	if err != nil {
		return err
	}
	if now != from {
		return fmt.Errorf("HEAD is at %s, not at %s: %w", now, from, errs.Conflict)
	}
	why, _, _ = strings.Cut(why, headMoved)
	return t.SetHead(to, why)
}

// undoTag makes a tag that was deleted, or deletes one that was made.
func (t *Txn) undoTag(m Move) error {
	name := strings.TrimPrefix(m.Ref, tagPrefix)
	if m.New.IsZero() {
		return t.CreateTag(Ref{Name: name, ID: m.Old, Tag: m.TagObject()}, "tag: created")
	}
	r, err := readTag(t.tx, name)
	if err != nil {
		return err
	}
	if want := (Ref{Name: name, ID: m.New, Tag: m.TagObject()}); r != want {
		return fmt.Errorf("tag %q is another by now: %w", name, errs.Conflict)
	}
	return t.DeleteTag(name, "tag: deleted")
}

// At returns where ref ("branches/main", "tags/v1", "HEAD") was before its last n moves: 0 is where the last one left it. errs.NotFound if the log
// does not go back that far.
func (s *Store) At(name string, n int) (oid.ID, error) {
	moves, err := s.Log(name, max(n, 1))
	switch {
	case err != nil:
		return oid.ID{}, err
	case n == 0 && len(moves) > 0:
		return moves[0].New, nil
	case n > 0 && len(moves) >= n:
		return moves[n-1].Old, nil
	}
	return oid.ID{}, fmt.Errorf("the log of %s has %d moves: %w", name, len(moves), errs.NotFound)
}
