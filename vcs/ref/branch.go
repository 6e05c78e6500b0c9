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

// SetHead points HEAD to a branch that exists, or to a commit. The log's line says after why where from and where to.
func (s *Store) SetHead(h Head, who, why string) error {
	return s.Update(who, func(t *Txn) error { return t.SetHead(h, why) })
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
	return s.Update(who, func(t *Txn) error { return t.CreateBranch(name, id, why) })
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
	return s.Update(who, func(t *Txn) error { return t.MoveBranch(name, old, new, why) })
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
	return s.Update(who, func(t *Txn) error { return t.RenameBranch(from, to) })
}

// DeleteBranch deletes a branch that is at old; errs.Conflict if it moved or if HEAD is on it.
func (s *Store) DeleteBranch(name string, old oid.ID, who, why string) error {
	return s.Update(who, func(t *Txn) error { return t.DeleteBranch(name, old, why) })
}
