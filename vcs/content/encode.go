package content

import (
	"bytes"
	"context"
	"fmt"

	"coral/delta"
	"coral/delta/derive"
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
	plain  plainReader
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
	defer func() {
		sl.plain.close()
		in.s.slots <- sl
	}()
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
	exact := true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.b.Has(id) {
			s.count.blobsShared.Add(1)
			exact = !s.marked(id)
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
	role := in.role(j, raw)
	if role.track && in.again != nil {
		s.plains.put(id, plainRef{in.again, j.off})
	}
	if role.track && exact {
		in.join(role.key[:], id, raw, j)
		in.s.remember(nameKey(in.layout.Payloads[j.payload].Name, j.dt, j.extent), id[:])
	}
	return nil
}

// rememberContent makes a blob just stored, perhaps by a recipe, known by what is in it.
func (in *ingest) rememberContent(id oid.ID, raw []byte, j *job, how *derive.Recipe) {
	if in.derivable(j) {
		in.s.rememberValues(id, raw, j.dt)
		in.rememberMatrix(id, raw, j)
		in.rememberRows(id, raw, j, how)
		in.rememberFlat(id, raw, j)
	}
}

// storeNew encodes and puts a blob that the caller has begun the flight of.
func (in *ingest) storeNew(ctx context.Context, sl *slot, id oid.ID, raw []byte, j *job) (err error) {
	s := in.s
	defer s.flights.end(id)
	if s.b.Has(id) { // stored between the first look and begin
		s.count.blobsShared.Add(1)
		return nil
	}
	c, look, err := in.choose(ctx, sl, raw, j)
	if err != nil {
		return err
	}
	if _, serr := s.b.Stat(id); serr == nil { // its record is damaged: what takes its place must not be deeper, since others may be based on it
		c = choice{}
	}
	need := bufferSize(len(raw))
	if c.baseLen() > 0 {
		need += bufferSize(c.baseLen())
	}
	if err := s.enc.reserve(ctx, need); err != nil {
		return err
	}
	defer s.enc.release(need)
	out := s.enc.take(len(raw))
	defer s.enc.give(out)
	defer func() {
		if err != nil {
			return
		}
		in.rememberContent(id, raw, j, c.recipe)
		if look != nil {
			s.near.Add(id, look)
		}
	}()
	if c.baseLen() == 0 {
		return in.putBlob(ctx, sl.enc, id, raw, j.dt, nil, c, out)
	}
	buf := s.enc.take(c.baseLen())
	defer s.enc.give(buf)
	buf = buf[:c.baseLen()]
	if err := s.baseBytes(ctx, sl, c, buf); err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		s.log.Warn("base passed over", "op", "ingest", "path", in.hint.Path, "id", c.base.ID, "err", err)
		buf = nil
	}
	return in.putBlob(ctx, sl.enc, id, raw, j.dt, buf, c, out)
}

// putBlob encodes raw, against the bytes of what was chosen unless they are nil, into out's memory, and appends it to the packs.
func (in *ingest) putBlob(ctx context.Context, enc *delta.Encoder, id oid.ID, raw []byte, dt dtype.Kind, baseRaw []byte, c choice, out []byte) error {
	s := in.s
	enc.SetStrategy(in.strategy)
	payload := out[:0]
	var err error
	if c.recipe != nil && baseRaw != nil {
		if payload, err = c.recipe.Append(payload); err != nil {
			return fmt.Errorf("encode blob %s: %w", id, err)
		}
	}
	head := len(payload)
	payload, res, err := enc.Encode(payload, raw, baseRaw, dt)
	if err != nil {
		return fmt.Errorf("encode blob %s: %w", id, err)
	}
	rec := objstore.Record{Kind: objstore.Blob, ID: id, Codec: uint16(res.Codec), DType: uint8(dt), RawSize: int64(len(raw))}
	switch {
	case !res.UsesBase:
		payload = payload[head:]
	case c.recipe != nil:
		rec.Codec = uint16(delta.FrameDerived)
		rec.Base, rec.Depth = c.base.ID, c.base.Depth+1
		s.count.derivedStored.Add(1)
	default:
		rec.Base, rec.Depth = c.base.ID, c.base.Depth+1
		s.count.deltasStored.Add(1)
	}
	rec.Payload = payload
	if err := s.b.Put(ctx, rec); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	in.added.Add(int64(len(payload)))
	s.count.blobsStored.Add(1)
	s.count.bytesStored.Add(int64(len(payload)))
	return nil
}
