package ref

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
)

// What Why begins with, where it tells the kind of a move: the ids alone do not (a first commit moves a branch from no commit, as making one does).
const (
	createdWhy = "branch: created"
	deletedWhy = "branch: deleted"
	// RenamedFrom begins the Why of a rename's move; the old name follows.
	RenamedFrom = "branch: renamed from "
)

// Parts of Why that undo needs, at its end.
const (
	headMoved   = ": moving from " // "A to B": names of branches, or full ids
	headMovedTo = " to "
	tagObject   = " (object " // the tag object's full id, ")"
	maxOwnWhy   = 512         // of the caller's text before them, so that they are never cut off
)

// Txn is a change of several refs in one transaction: all of it with its lines of the log, or nothing. It is only valid inside the function that got it.
type Txn struct {
	s    *Store
	tx   *bbolt.Tx
	who  string
	at   time.Time
	mark string // "undo of 12: ", before each Why
}

// Update runs fn and makes what it changed durable, unless it fails: then nothing has changed. fn must not call other methods of the store. The moves of one
// Update are taken back together by Undo.
func (s *Store) Update(who string, fn func(t *Txn) error) error {
	return s.update(func(tx *bbolt.Tx) error {
		t := &Txn{s: s, tx: tx, who: who, at: s.now().UTC()}
		err := eachMove(tx, func(last Move) bool {
			if last.Time.Equal(t.at) { // a coarse clock: the time tells transactions apart
				t.at = t.at.Add(time.Nanosecond)
			}
			return false
		})
		if err != nil {
			return err
		}
		return fn(t)
	})
}

func (t *Txn) log(name string, old, new oid.ID, why string) error {
	return t.s.log(t.tx, t.at, name, old, new, t.who, t.mark+why)
}

// Branch returns a branch as it is in the transaction.
func (t *Txn) Branch(name string) (Ref, error) { return readBranch(t.tx, name) }

// Tag returns a tag as it is in the transaction.
func (t *Txn) Tag(name string) (Ref, error) { return readTag(t.tx, name) }

// NoteSwitch says that the branch's live tree is switched with the transaction: Switched(mark) is true from its commit on, until the branch's next.
func (t *Txn) NoteSwitch(branch, mark string) error {
	if mark == "" || len(mark) > maxMark {
		return fmt.Errorf("mark of %d bytes: %w", len(mark), errs.Invalid)
	}
	return t.tx.Bucket(bucketMeta).Put(switchKey(branch), append([]byte{valueVersion}, mark...))
}

// Switched says whether a transaction that noted the switch called mark was committed, and none after it of the same branch.
func (s *Store) Switched(mark string) (found bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketMeta).Cursor()
		for k, v := c.Seek(keySwitch); bytes.HasPrefix(k, keySwitch); k, v = c.Next() {
			b, err := body(string(k), v)
			if err != nil {
				return err
			}
			found = found || string(b) == mark
		}
		return nil
	})
	return found, err
}

// SetHead is Store.SetHead.
func (t *Txn) SetHead(h Head, why string) error {
	if (h.Branch == "") == h.Commit.IsZero() {
		return fmt.Errorf("set HEAD: want a branch or a commit: %w", errs.Invalid)
	}
	old, err := readHead(t.tx)
	if err != nil {
		return err
	}
	from, err := commitOf(t.tx, old)
	if err != nil {
		return err
	}
	to, err := commitOf(t.tx, h)
	if err != nil {
		return fmt.Errorf("set HEAD: %w", err)
	}
	if err := t.tx.Bucket(bucketMeta).Put(keyHead, encodeHead(h)); err != nil {
		return err
	}
	return t.log(headName, from, to, line(why, maxOwnWhy)+headMoved+old.String()+headMovedTo+h.String())
}

// String is the branch, or the commit's full id.
func (h Head) String() string {
	if h.Branch != "" {
		return h.Branch
	}
	return h.Commit.String()
}

// parseHead is the inverse of Head.String: no branch has a name that is an id.
func parseHead(s string) Head {
	if id, err := oid.Parse(s); err == nil {
		return Head{Commit: id}
	}
	return Head{Branch: s}
}

// headMove reads from where to where a move of HEAD went; moves of older programs do not say it.
func headMove(why string) (from, to Head, ok bool) {
	i := strings.LastIndex(why, headMoved)
	if i < 0 {
		return Head{}, Head{}, false
	}
	a, b, ok := strings.Cut(why[i+len(headMoved):], headMovedTo)
	return parseHead(a), parseHead(b), ok && a != "" && b != ""
}

// CreateBranch is Store.CreateBranch.
func (t *Txn) CreateBranch(name string, id oid.ID, why string) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("create branch: %w", err)
	}
	b := t.tx.Bucket(bucketBranches)
	if err := free(b, "branch", name); err != nil {
		return err
	}
	if err := b.Put([]byte(name), encodeBranch(Ref{ID: id})); err != nil {
		return err
	}
	return t.log(branchPrefix+name, oid.ID{}, id, begins(createdWhy, why))
}

// begins returns why, made to begin with kind.
func begins(kind, why string) string {
	switch {
	case strings.HasPrefix(why, kind):
		return why
	case why == "":
		return kind
	}
	return kind + ": " + why
}

// MoveBranch is Store.MoveBranch.
func (t *Txn) MoveBranch(name string, old, new oid.ID, why string) error {
	if new.IsZero() {
		return fmt.Errorf("move branch %q: to no commit: %w", clip(name, MaxName), errs.Invalid)
	}
	return t.setBranch(name, old, new, why)
}

// setBranch is MoveBranch, also back to no commit.
func (t *Txn) setBranch(name string, old, new oid.ID, why string) error {
	if err := at(t.tx, "move", name, old); err != nil {
		return err
	}
	if err := t.tx.Bucket(bucketBranches).Put([]byte(name), encodeBranch(Ref{ID: new})); err != nil {
		return err
	}
	return t.log(branchPrefix+name, old, new, why)
}

// RenameBranch is Store.RenameBranch.
func (t *Txn) RenameBranch(from, to string) error {
	if err := CheckName(to); err != nil {
		return fmt.Errorf("rename branch: %w", err)
	}
	r, err := readBranch(t.tx, from)
	if err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	head, err := readHead(t.tx)
	if err != nil {
		return err
	}
	b := t.tx.Bucket(bucketBranches)
	if from == to {
		return fmt.Errorf("rename branch %q to itself: %w", from, errs.Exist)
	}
	if err := b.Delete([]byte(from)); err != nil { // first: "a" may become "a/b"
		return err
	}
	if err := free(b, "branch", to); err != nil {
		return fmt.Errorf("rename branch %q: %w", from, err)
	}
	if err := b.Put([]byte(to), encodeBranch(r)); err != nil {
		return err
	}
	if head.Branch == from {
		if err := t.tx.Bucket(bucketMeta).Put(keyHead, encodeHead(Head{Branch: to})); err != nil {
			return err
		}
	}
	return t.log(branchPrefix+to, r.ID, r.ID, RenamedFrom+from)
}

// DeleteBranch is Store.DeleteBranch.
func (t *Txn) DeleteBranch(name string, old oid.ID, why string) error {
	if err := at(t.tx, "delete", name, old); err != nil {
		return err
	}
	head, err := readHead(t.tx)
	if err != nil {
		return err
	}
	if head.Branch == name {
		return fmt.Errorf("delete branch %q: HEAD is on it, check out another first: %w", name, errs.Conflict)
	}
	if err := t.tx.Bucket(bucketBranches).Delete([]byte(name)); err != nil {
		return err
	}
	if err := t.tx.Bucket(bucketMeta).Delete(switchKey(name)); err != nil {
		return err
	}
	return t.log(branchPrefix+name, old, oid.ID{}, begins(deletedWhy, why))
}

// CreateTag is Store.CreateTag.
func (t *Txn) CreateTag(r Ref, why string) error {
	if err := CheckName(r.Name); err != nil {
		return fmt.Errorf("create tag: %w", err)
	}
	if r.ID.IsZero() {
		return fmt.Errorf("create tag %q: no commit: %w", r.Name, errs.Invalid)
	}
	b := t.tx.Bucket(bucketTags)
	if err := free(b, "tag", r.Name); err != nil {
		return err
	}
	if err := b.Put([]byte(r.Name), encodeTag(r)); err != nil {
		return err
	}
	return t.log(tagPrefix+r.Name, oid.ID{}, r.ID, withObject(why, r.Tag))
}

// DeleteTag is Store.DeleteTag.
func (t *Txn) DeleteTag(name, why string) error {
	r, err := readTag(t.tx, name)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := t.tx.Bucket(bucketTags).Delete([]byte(name)); err != nil {
		return err
	}
	return t.log(tagPrefix+name, r.ID, oid.ID{}, withObject(why, r.Tag))
}

// withObject notes the object of an annotated tag in why.
func withObject(why string, tag oid.ID) string {
	if tag.IsZero() {
		return why
	}
	return line(why, maxOwnWhy) + tagObject + tag.String() + ")"
}

// TagObject returns the tag object that a move of an annotated tag names; zero for others.
func (m Move) TagObject() oid.ID {
	if !strings.HasPrefix(m.Ref, tagPrefix) {
		return oid.ID{}
	}
	i := strings.LastIndex(m.Why, tagObject)
	if i < 0 {
		return oid.ID{}
	}
	id, err := oid.Parse(strings.TrimSuffix(m.Why[i+len(tagObject):], ")"))
	if err != nil {
		return oid.ID{}
	}
	return id
}
