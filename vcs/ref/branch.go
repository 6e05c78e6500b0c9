package ref

import (
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Head returns HEAD.
func (s *Store) Head() (h Head, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		h, err = readHead(tx)
		return err
	})
	return h, err
}

func readHead(tx *bbolt.Tx) (Head, error) {
	v := tx.Bucket(bucketMeta).Get(keyHead)
	if v == nil {
		return Head{}, corrupt(headName, "missing")
	}
	return decodeHead(v)
}

// SetHead points HEAD to a branch that exists, or to a commit.
func (s *Store) SetHead(h Head, who, why string) error {
	if (h.Branch == "") == h.Commit.IsZero() {
		return fmt.Errorf("set HEAD: want a branch or a commit: %w", errs.Invalid)
	}
	return s.update(func(tx *bbolt.Tx) error {
		old, err := readHead(tx)
		if err != nil {
			return err
		}
		from, err := commitOf(tx, old)
		if err != nil {
			return err
		}
		to, err := commitOf(tx, h)
		if err != nil {
			return fmt.Errorf("set HEAD: %w", err)
		}
		if err := tx.Bucket(bucketMeta).Put(keyHead, encodeHead(h)); err != nil {
			return err
		}
		return s.log(tx, headName, from, to, who, why)
	})
}

// commitOf returns the commit that h stands for now.
func commitOf(tx *bbolt.Tx, h Head) (oid.ID, error) {
	if h.Branch == "" {
		return h.Commit, nil
	}
	r, err := readBranch(tx, h.Branch)
	return r.ID, err
}

// Branch returns a branch; errs.NotFound names it.
func (s *Store) Branch(name string) (r Ref, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		r, err = readBranch(tx, name)
		return err
	})
	return r, err
}

func readBranch(tx *bbolt.Tx, name string) (Ref, error) {
	v, err := value(tx.Bucket(bucketBranches), "branch", name)
	if err != nil {
		return Ref{}, err
	}
	return decodeBranch(name, v)
}

// value returns what is at name; names that bbolt would refuse are not found.
func value(b *bbolt.Bucket, kind, name string) ([]byte, error) {
	v := b.Get([]byte(name))
	if v == nil {
		return nil, fmt.Errorf("%s %q: %w", kind, clip(name, MaxName), errs.NotFound)
	}
	return v, nil
}

// Branches lists branches by name.
func (s *Store) Branches() ([]Ref, error) { return s.list(bucketBranches, decodeBranch) }

func (s *Store) list(bucket []byte, decode func(string, []byte) (Ref, error)) (out []Ref, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			r, err := decode(string(k), v)
			out = append(out, r)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CreateBranch makes a branch at id (zero: no commit yet). errs.Exist if it exists; errs.Conflict when it would need a name that is a directory of
// branches, or the other way round ("a" and "a/b").
func (s *Store) CreateBranch(name string, id oid.ID, who, why string) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("create branch: %w", err)
	}
	return s.update(func(tx *bbolt.Tx) error {
		if err := free(tx.Bucket(bucketBranches), "branch", name); err != nil {
			return err
		}
		if err := tx.Bucket(bucketBranches).Put([]byte(name), encodeBranch(Ref{ID: id})); err != nil {
			return err
		}
		return s.log(tx, branchPrefix+name, oid.ID{}, id, who, why)
	})
}

// free says why name cannot be added to b.
func free(b *bbolt.Bucket, kind, name string) error {
	if b.Get([]byte(name)) != nil {
		return fmt.Errorf("create %s %q: %w", kind, name, errs.Exist)
	}
	for i := range len(name) {
		if name[i] == '/' && b.Get([]byte(name[:i])) != nil {
			return fmt.Errorf("create %s %q: %q is a %s: %w", kind, name, name[:i], kind, errs.Conflict)
		}
	}
	below := name + "/"
	if k, _ := b.Cursor().Seek([]byte(below)); strings.HasPrefix(string(k), below) {
		return fmt.Errorf("create %s %q: there is %q: %w", kind, name, k, errs.Conflict)
	}
	return nil
}

// MoveBranch sets the branch to new if it is at old; else errs.Conflict.
func (s *Store) MoveBranch(name string, old, new oid.ID, who, why string) error {
	if new.IsZero() {
		return fmt.Errorf("move branch %q: to no commit: %w", clip(name, MaxName), errs.Invalid)
	}
	return s.update(func(tx *bbolt.Tx) error {
		if err := at(tx, "move", name, old); err != nil {
			return err
		}
		if err := tx.Bucket(bucketBranches).Put([]byte(name), encodeBranch(Ref{ID: new})); err != nil {
			return err
		}
		return s.log(tx, branchPrefix+name, old, new, who, why)
	})
}

// at is the compare of compare-and-set.
func at(tx *bbolt.Tx, what, name string, old oid.ID) error {
	r, err := readBranch(tx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.ID != old {
		return fmt.Errorf("%s branch %q: it moved to %s meanwhile: %w", what, name, r.ID.Short(), errs.Conflict)
	}
	return nil
}

// RenameBranch renames a branch, and HEAD with it.
func (s *Store) RenameBranch(from, to string, who string) error {
	if err := CheckName(to); err != nil {
		return fmt.Errorf("rename branch: %w", err)
	}
	return s.update(func(tx *bbolt.Tx) error {
		r, err := readBranch(tx, from)
		if err != nil {
			return fmt.Errorf("rename: %w", err)
		}
		head, err := readHead(tx)
		if err != nil {
			return err
		}
		b := tx.Bucket(bucketBranches)
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
			if err := tx.Bucket(bucketMeta).Put(keyHead, encodeHead(Head{Branch: to})); err != nil {
				return err
			}
		}
		return s.log(tx, branchPrefix+to, r.ID, r.ID, who, RenamedFrom+from)
	})
}

// RenamedFrom begins the Why of a rename's move; the old name follows.
const RenamedFrom = "branch: renamed from "

// DeleteBranch deletes a branch that is at old; errs.Conflict if it moved or if HEAD is on it.
func (s *Store) DeleteBranch(name string, old oid.ID, who, why string) error {
	return s.update(func(tx *bbolt.Tx) error {
		if err := at(tx, "delete", name, old); err != nil {
			return err
		}
		head, err := readHead(tx)
		if err != nil {
			return err
		}
		if head.Branch == name {
			return fmt.Errorf("delete branch %q: HEAD is on it, check out another first: %w", name, errs.Conflict)
		}
		if err := tx.Bucket(bucketBranches).Delete([]byte(name)); err != nil {
			return err
		}
		return s.log(tx, branchPrefix+name, old, oid.ID{}, who, why)
	})
}
