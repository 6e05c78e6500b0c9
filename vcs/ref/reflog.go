package ref

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"coral/internal/oid"
)

// log appends a move to the log in the transaction that makes it, and forgets the oldest past the bound.
func (s *Store) log(tx *bbolt.Tx, name string, old, new oid.ID, who, why string) error {
	b := tx.Bucket(bucketLog)
	seq, err := b.NextSequence()
	if err != nil {
		return err
	}
	m := Move{Time: s.now(), Ref: name, Old: old, New: new, Who: line(who, MaxWho), Why: line(why, MaxWhy)}
	if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), encodeMove(m)); err != nil {
		return err
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.First() {
		if len(k) == 8 && binary.BigEndian.Uint64(k)+s.maxMoves > seq {
			return nil
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// Log returns up to limit moves of refName ("" for all), newest first. The log is bounded: at most MaxMoves are kept.
func (s *Store) Log(refName string, limit int) (out []Move, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLog).Cursor()
		for k, v := c.Last(); k != nil && len(out) < limit; k, v = c.Prev() {
			m, err := decodeMove(v)
			if err != nil {
				return err
			}
			if refName == "" || m.Ref == refName {
				out = append(out, m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
