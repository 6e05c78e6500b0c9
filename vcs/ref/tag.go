package ref

import (
	"fmt"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Tag returns a tag; errs.NotFound names it.
func (s *Store) Tag(name string) (r Ref, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		r, err = readTag(tx, name)
		return err
	})
	return r, err
}

func readTag(tx *bbolt.Tx, name string) (Ref, error) {
	v, err := value(tx.Bucket(bucketTags), "tag", name)
	if err != nil {
		return Ref{}, err
	}
	return decodeTag(name, v)
}

// Tags lists tags by name.
func (s *Store) Tags() ([]Ref, error) { return s.list(bucketTags, decodeTag) }

// CreateTag makes a tag, which never moves. errs.Exist and errs.Conflict as CreateBranch.
func (s *Store) CreateTag(r Ref, who, why string) error {
	if err := CheckName(r.Name); err != nil {
		return fmt.Errorf("create tag: %w", err)
	}
	if r.ID.IsZero() {
		return fmt.Errorf("create tag %q: no commit: %w", r.Name, errs.Invalid)
	}
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketTags)
		if err := free(b, "tag", r.Name); err != nil {
			return err
		}
		if err := b.Put([]byte(r.Name), encodeTag(r)); err != nil {
			return err
		}
		return s.log(tx, tagPrefix+r.Name, oid.ID{}, r.ID, who, why)
	})
}

// DeleteTag deletes a tag.
func (s *Store) DeleteTag(name string, who, why string) error {
	return s.update(func(tx *bbolt.Tx) error {
		r, err := readTag(tx, name)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if err := tx.Bucket(bucketTags).Delete([]byte(name)); err != nil {
			return err
		}
		return s.log(tx, tagPrefix+name, r.ID, oid.ID{}, who, why)
	})
}
