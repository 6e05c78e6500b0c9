package ref

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"coral/internal/oid"
)

// log appends a move to the log in the transaction that makes it, and forgets the oldest past the bound.
func (s *Store) log(tx *bbolt.Tx, at time.Time, name string, old, new oid.ID, who, why string) error {
	b := tx.Bucket(bucketLog)
	seq, err := b.NextSequence()
	if err != nil {
		return err
	}
	m := Move{Time: at, Ref: name, Old: old, New: new, Who: line(who, MaxWho), Why: line(why, MaxWhy)}
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
			m, err := readMove(k, v)
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

// readMove decodes an entry of the log with its key.
func readMove(k, v []byte) (Move, error) {
	m, err := decodeMove(v)
	if err != nil {
		return Move{}, err
	}
	if len(k) != 8 {
		return Move{}, corrupt("log", fmt.Sprintf("key of %d bytes", len(k)))
	}
	m.Seq = binary.BigEndian.Uint64(k)
	return m, nil
}

// eachMove calls fn for the moves of the log, newest first, until it returns false.
func eachMove(tx *bbolt.Tx, fn func(Move) bool) error {
	c := tx.Bucket(bucketLog).Cursor()
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		m, err := readMove(k, v)
		if err != nil {
			return err
		}
		if !fn(m) {
			return nil
		}
	}
	return nil
}
