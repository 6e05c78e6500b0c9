package content

import (
	"context"
	"fmt"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
)

// TakesBase reports whether n bytes of a tensor of this name may be stored as a delta, and be the base of one, as ingest decides it but for first moments.
func TakesBase(name string, n int64) bool {
	return n >= minDelta && n <= delta.MaxBlob && name != ""
}

// Recodable reports whether Recode can make another record of a blob stored as info.
func Recodable(info objstore.Info) bool {
	switch delta.FrameCodec(info.Codec) {
	case delta.FrameRaw, delta.FrameZstd, delta.FrameBlocks:
		return info.Kind == objstore.Blob && info.RawSize > 0 && info.RawSize <= delta.MaxBlob && info.Stored >= 0 && info.Stored <= objstore.MaxPayload
	}
	return false
}

// RecodeOptions say what a stored blob may become.
type RecodeOptions struct {
	Bases    []RecodeBase // the likelier first
	Solo     bool         // it may be without a base
	LinkCost float64      // a delta at depth d must be smaller than without base by this share times d
	Estimate bool         // only say what would become of it
}

// RecodeBase is a candidate.
type RecodeBase struct {
	ID     oid.ID
	Depth  uint8   // that it has when the new record is read
	Factor float64 // its cost is multiplied by this; 0 is 1
}

// Recoding is a blob's new form.
type Recoding struct {
	Base   oid.ID // zero: alone
	Depth  uint8
	Stored int64   // bytes of the payload; an estimate with RecodeOptions.Estimate
	Cost   float64 // Stored with the cost of links
	Same   bool    // what it is already: nothing was put
}

// Recode decodes the blob id, compares it with its id, codes it in the cheapest way that the options allow and, unless they say Estimate, calls put with the record:
// the payload was decoded and compared, and is only valid during the call. ok is false if no way is allowed or no candidate can be read.
func (s *Store) Recode(ctx context.Context, id oid.ID, opts RecodeOptions, put func(objstore.Record) error) (rec Recoding, ok bool, err error) {
	info, err := s.b.Stat(id)
	if err != nil {
		return rec, false, fmt.Errorf("recode blob %s: %w", id, err)
	}
	if !Recodable(info) || s.Approximated(ctx, id) {
		return rec, false, nil // an approximation is coded as such, which no other form comes near to
	}
	need := bufferSize(int(info.RawSize))
	if err := s.raw.reserve(ctx, need); err != nil {
		return rec, false, err
	}
	defer s.raw.release(need)
	buf := s.raw.take(int(info.RawSize))
	defer s.raw.give(buf)
	raw := buf[:info.RawSize]
	if err := s.decodeBlob(ctx, id, raw); err != nil {
		return rec, false, fmt.Errorf("recode: %w", err)
	}
	if got := oid.Sum(raw); got != id {
		return rec, false, fmt.Errorf("recode: %w", corrupt(id, "decoded bytes have id %s", got))
	}
	sl, err := s.takeSlot(ctx)
	if err != nil {
		return rec, false, err
	}
	defer func() { s.slots <- sl }()
	sl.enc.SetStrategy(delta.Auto)
	dt := dtype.Kind(info.DType)
	base, rec, ok, err := s.cheapest(ctx, sl, raw, dt, opts)
	if rec.Same = ok && rec.Base == info.Base; !ok || err != nil || rec.Same || opts.Estimate {
		return rec, ok, err
	}
	return s.recode(ctx, sl, info, raw, base, opts, put)
}

// cheapest compares what opts allow on samples. base is the zero Info for alone.
func (s *Store) cheapest(ctx context.Context, sl *slot, raw []byte, dt dtype.Kind, opts RecodeOptions) (base objstore.Info, rec Recoding, ok bool, err error) {
	sample := sl.sample[:0]
	for _, r := range samplesOf(len(raw)) {
		sample = append(sample, raw[r.off:r.off+r.n]...)
	}
	sl.sample = sample // keeps its memory
	scale := float64(len(raw)) / float64(len(sample))
	try := func(c objstore.Info, depth uint8, factor float64, baseBytes []byte) {
		stored := float64(sl.enc.Estimate(sample, baseBytes, dt)) * scale
		cost := stored * (1 + opts.LinkCost*float64(depth)) * factor
		if !ok || cost < rec.Cost {
			base, ok = c, true
			rec = Recoding{Base: c.ID, Depth: depth, Stored: int64(stored), Cost: cost}
		}
	}
	if opts.Solo {
		try(objstore.Info{}, 0, 1, nil)
	}
	for _, o := range opts.Bases {
		c, err := s.b.Stat(o.ID)
		if c.Depth = o.Depth; err != nil || c.Kind != objstore.Blob || int(c.Depth) >= delta.MaxDepth || c.RawSize <= 0 || c.RawSize > delta.MaxBlob {
			continue // gone or damaged: fsck names it
		}
		if s.Approximated(ctx, c.ID) {
			continue // what is exact does not hang on what is not
		}
		b, err := s.sampleBase(ctx, sl, c, len(raw))
		if cerr := ctx.Err(); cerr != nil {
			return base, rec, false, cerr
		}
		if err != nil {
			s.log.Warn("base passed over", "op", "recode", "id", c.ID, "err", err)
			continue
		}
		factor := o.Factor
		if factor == 0 {
			factor = 1
		}
		try(c, c.Depth+1, factor, b)
	}
	return base, rec, ok, nil
}

// recode encodes the bytes of the blob stored as info on base and gives the record to put, unless that turns out to be no better than what it is.
func (s *Store) recode(ctx context.Context, sl *slot, info objstore.Info, raw []byte, base objstore.Info, opts RecodeOptions, put func(objstore.Record) error) (rec Recoding, ok bool, err error) {
	id, dt := info.ID, dtype.Kind(info.DType)
	need := bufferSize(len(raw))
	if !base.ID.IsZero() {
		need += bufferSize(int(base.RawSize))
	}
	if err := s.enc.reserve(ctx, need); err != nil {
		return rec, false, err
	}
	defer s.enc.release(need)
	out := s.enc.take(len(raw))
	defer s.enc.give(out)
	var baseRaw []byte
	if !base.ID.IsZero() {
		buf := s.enc.take(int(base.RawSize))
		defer s.enc.give(buf)
		baseRaw = buf[:base.RawSize]
		if err := s.decodeBlob(ctx, base.ID, baseRaw); err != nil {
			return rec, false, fmt.Errorf("recode blob %s: %w", id, err)
		}
	}
	payload, res, err := sl.enc.Encode(out[:0], raw, baseRaw, dt)
	if err != nil {
		return rec, false, fmt.Errorf("recode blob %s: %w", id, err)
	}
	r := objstore.Record{Kind: objstore.Blob, ID: id, Codec: uint16(res.Codec), DType: uint8(dt), RawSize: int64(len(raw)), Payload: payload}
	rec = Recoding{Stored: int64(len(payload))}
	if res.UsesBase {
		r.Base, r.Depth = base.ID, base.Depth+1
	} else if !opts.Solo {
		return rec, false, nil
	}
	rec.Base, rec.Depth = r.Base, r.Depth
	rec.Cost = float64(rec.Stored) * (1 + opts.LinkCost*float64(rec.Depth))
	if alone := info.Base.IsZero(); alone && (rec.Base.IsZero() || opts.Solo && rec.Cost >= float64(info.Stored)) {
		return Recoding{Stored: info.Stored, Cost: float64(info.Stored), Same: true}, true, nil
	}
	if err := put(r); err != nil {
		return rec, false, fmt.Errorf("recode blob %s: %w", id, err)
	}
	return rec, true, nil
}
