package content

import (
	"bytes"
	"context"
	"fmt"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// slot is the right to use a processor for storing, and what goes with it.
type slot struct {
	enc    *delta.Encoder
	sample []byte // of the blob
	base   []byte // the same of a candidate
}

func (s *Store) takeSlot(ctx context.Context) (*slot, error) {
	select {
	case sl := <-s.slots:
		if sl.enc == nil {
			sl.enc = delta.NewEncoder()
		}
		return sl, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// store makes the segments of a batch.
func (in *ingest) store(ctx context.Context, b *batch) error {
	sl, err := in.s.takeSlot(ctx)
	if err != nil {
		return err
	}
	defer func() { in.s.slots <- sl }()
	for i := range b.jobs {
		j := &b.jobs[i]
		raw := b.buf[j.lo:j.hi]
		if j.inline {
			b.segs[i] = object.Segment{Length: int64(len(raw)), Inline: bytes.Clone(raw)}
			continue
		}
		id := oid.Sum(raw)
		if err := in.storeBlob(ctx, sl, id, raw, j); err != nil {
			return err
		}
		b.segs[i] = object.Segment{Blob: id, Length: int64(len(raw))}
	}
	return nil
}

// storeBlob makes sure that id is stored, and that the next checkpoint finds it.
func (in *ingest) storeBlob(ctx context.Context, sl *slot, id oid.ID, raw []byte, j *job) error {
	s := in.s
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.b.Has(id) {
			s.count.blobsShared.Add(1)
			break
		}
		wait := s.flights.begin(id)
		if wait == nil {
			if err := in.storeNew(ctx, sl, id, raw, j); err != nil {
				return err
			}
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if role := in.role(j, raw); role.track {
		s.remember(role.key, id)
	}
	return nil
}

// storeNew encodes and puts a blob that the caller has begun the flight of.
func (in *ingest) storeNew(ctx context.Context, sl *slot, id oid.ID, raw []byte, j *job) (err error) {
	s := in.s
	defer s.flights.end(id)
	if s.b.Has(id) { // stored between the first look and begin
		s.count.blobsShared.Add(1)
		return nil
	}
	base, ok, look, err := in.findBase(ctx, sl, raw, j)
	if err != nil {
		return err
	}
	need := bufferSize(len(raw))
	if ok {
		need += bufferSize(int(base.RawSize))
	}
	if err := s.enc.reserve(ctx, need); err != nil {
		return err
	}
	defer s.enc.release(need)
	out := s.enc.take(len(raw))
	defer s.enc.give(out)
	if look != nil {
		defer func() {
			if err == nil {
				s.near.Add(id, look)
			}
		}()
	}
	if !ok {
		return in.putBlob(ctx, sl.enc, id, raw, j.dt, nil, base, out)
	}
	buf := s.enc.take(int(base.RawSize))
	defer s.enc.give(buf)
	buf = buf[:base.RawSize]
	if err := s.decodeBlob(ctx, base.ID, buf); err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		s.log.Warn("base passed over", "op", "ingest", "path", in.hint.Path, "id", base.ID, "err", err)
		buf = nil
	}
	return in.putBlob(ctx, sl.enc, id, raw, j.dt, buf, base, out)
}

// putBlob encodes raw, against the bytes of base unless they are nil, into out's memory, and appends it to the packs.
func (in *ingest) putBlob(ctx context.Context, enc *delta.Encoder, id oid.ID, raw []byte, dt dtype.Kind, baseRaw []byte, base objstore.Info, out []byte) error {
	s := in.s
	enc.SetStrategy(in.strategy)
	payload, res, err := enc.Encode(out[:0], raw, baseRaw, dt)
	if err != nil {
		return fmt.Errorf("encode blob %s: %w", id, err)
	}
	rec := objstore.Record{
		Kind: objstore.Blob, ID: id, Codec: uint16(res.Codec), DType: uint8(dt), RawSize: int64(len(raw)), Payload: payload,
	}
	if res.UsesBase {
		rec.Base, rec.Depth = base.ID, base.Depth+1
		s.count.deltasStored.Add(1)
	}
	if err := s.b.Put(ctx, rec); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	in.added.Add(int64(len(payload)))
	s.count.blobsStored.Add(1)
	s.count.bytesStored.Add(int64(len(payload)))
	return nil
}
