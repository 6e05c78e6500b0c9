package ref

import "go.etcd.io/bbolt"

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
	return s.Update(who, func(t *Txn) error { return t.CreateTag(r, why) })
}

// DeleteTag deletes a tag.
func (s *Store) DeleteTag(name string, who, why string) error {
	return s.Update(who, func(t *Txn) error { return t.DeleteTag(name, why) })
}
