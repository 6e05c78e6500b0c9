package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// Tx is a write transaction. It is used by the goroutine that Update runs it in.
type Tx struct {
	records, packs, hints, meta *bbolt.Bucket
	tx                          *bbolt.Tx
	digest                      digest
}

// Update runs fn in one transaction: all of it is durable when Update returns, or nothing of it happened. It must be given records in any
// order, but is fastest when they are sorted by id.
func (d *DB) Update(fn func(tx *Tx) error) error {
	return d.wrap("write", d.guard(func() error {
		d.stale.Store(true)
		btx, err := d.db.Begin(true)
		if err != nil {
			return err
		}
		// A panic in here skips the rollback on purpose: rolling back walks the damaged pages in a goroutine that nobody can
		// guard. The DB is broken from then on, and the file as it was before.
		tx, err := begin(btx)
		if err == nil {
			if err = fn(tx); err == nil && tx.meta != nil {
				err = tx.meta.Put(metaDigest, tx.digest.encode())
			}
		}
		if err != nil {
			return errors.Join(err, btx.Rollback())
		}
		return btx.Commit()
	}))
}

func begin(btx *bbolt.Tx) (*Tx, error) {
	tx := &Tx{tx: btx}
	tx.bind()
	if tx.meta == nil {
		return tx, nil // Create: init comes next
	}
	if tx.records == nil || tx.packs == nil || tx.hints == nil {
		return nil, bad("a bucket is missing")
	}
	var err error
	tx.digest, err = decodeDigest(tx.meta.Get(metaDigest))
	return tx, err
}

func (t *Tx) bind() {
	t.records, t.packs = t.tx.Bucket(bucketRecords), t.tx.Bucket(bucketPacks)
	t.hints, t.meta = t.tx.Bucket(bucketHints), t.tx.Bucket(bucketMeta)
}

// init makes the buckets.
func (t *Tx) init() error {
	for _, name := range [][]byte{bucketRecords, bucketPacks, bucketHints, bucketMeta} {
		if _, err := t.tx.CreateBucket(name); err != nil {
			return err
		}
	}
	t.bind()
	format := binary.LittleEndian.AppendUint32(nil, Version)
	return errors.Join(t.meta.Put(metaFormat, seal(metaFormat, format)), t.SetNextPack(1))
}

// Get returns the record of id as the transaction sees it, or errs.NotFound.
func (t *Tx) Get(id oid.ID) (objstore.Info, error) {
	v := t.records.Get(id[:])
	if v == nil {
		return objstore.Info{}, errs.NotFound
	}
	info, _, err := decodeRecord(id[:], v)
	return info, err
}

// Put sets the record of info.ID.
func (t *Tx) Put(info objstore.Info) error {
	if info.Pack == 0 || info.Pack >= 1<<32 || info.Stored < 0 || info.Stored > objstore.MaxPayload || info.Offset < 0 || info.RawSize < 0 {
		return fmt.Errorf("record %s: pack %d, offset %d, sizes %d and %d: %w", info.ID.Short(), info.Pack, info.Offset, info.Stored, info.RawSize, errs.Invalid)
	}
	if _, err := t.uncount(info.ID); err != nil {
		return err
	}
	v := encodeRecord(info)
	t.digest.records++
	t.digest.recordSum += binary.LittleEndian.Uint64(v[recordSize-sumSize:])
	return t.records.Put(info.ID[:], v)
}

// Delete removes the record of id if there is one.
func (t *Tx) Delete(id oid.ID) error {
	had, err := t.uncount(id)
	if err != nil || !had {
		return err
	}
	return t.records.Delete(id[:])
}

// uncount takes the record of id out of the digest, if there is one.
func (t *Tx) uncount(id oid.ID) (had bool, err error) {
	v := t.records.Get(id[:])
	if v == nil {
		return false, nil
	}
	_, sum, err := decodeRecord(id[:], v)
	if err != nil {
		return false, err
	}
	t.digest.records--
	t.digest.recordSum -= sum
	return true, nil
}

// PutPack sets the row of pack n.
func (t *Tx) PutPack(n uint64, p Pack) error {
	if err := t.DeletePack(n); err != nil {
		return err
	}
	v := encodePack(n, p)
	t.digest.packs++
	t.digest.packSum += binary.LittleEndian.Uint64(v[packRowSize-sumSize:])
	return t.packs.Put(packKey(n), v)
}

// DeletePack removes the row of pack n if there is one.
func (t *Tx) DeletePack(n uint64) error {
	key := packKey(n)
	v := t.packs.Get(key)
	if v == nil {
		return nil
	}
	_, _, sum, err := decodePack(key, v)
	if err != nil {
		return err
	}
	t.digest.packs--
	t.digest.packSum -= sum
	return t.packs.Delete(key)
}

// Pack returns the row of pack n; ok is false if there is none.
func (t *Tx) Pack(n uint64) (p Pack, ok bool, err error) {
	v := t.packs.Get(packKey(n))
	if v == nil {
		return p, false, nil
	}
	_, p, _, err = decodePack(packKey(n), v)
	return p, err == nil, err
}

// SetNextPack keeps the number of the next pack, so that no number is used twice even when the newest pack is removed.
func (t *Tx) SetNextPack(n uint64) error {
	return t.meta.Put(metaNext, seal(metaNext, binary.LittleEndian.AppendUint64(nil, n)))
}

// SetHint sets the value of key. A value longer than MaxHint is forgotten instead.
func (t *Tx) SetHint(key, value []byte) error {
	k := hintKey(key)
	if len(value) > MaxHint {
		return t.hints.Delete(k)
	}
	return t.hints.Put(k, seal(k, append([]byte{}, value...)))
}
