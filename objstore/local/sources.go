package local

import (
	"context"
	"errors"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/pack"
)

// SourcesFunc names the records besides its base without which a record cannot be decoded; they were put before it and are less deep. read fills p from the
// record's payload at off, or fails. The store keeps them as it keeps bases, and knows nothing of why they are needed.
type SourcesFunc func(info objstore.Info, read func(p []byte, off int64) error) ([]oid.ID, error)

// sourcesOf asks fn. A payload that makes no sense names none: whoever decodes the record says what is wrong with it.
func sourcesOf(fn SourcesFunc, info objstore.Info, read func(p []byte, off int64) error) ([]oid.ID, error) {
	if fn == nil {
		return nil, nil
	}
	ids, err := fn(info, read)
	if errors.Is(err, errs.Corrupt) || errors.Is(err, errs.Unsupported) {
		return nil, nil
	}
	return ids, err
}

// payloadOf returns a function that reads the payload of info from r.
func payloadOf(ctx context.Context, r *pack.Reader, info objstore.Info) func(p []byte, off int64) error {
	return func(p []byte, off int64) error { return r.ReadPayload(ctx, p, info.Offset+off) }
}

// needs returns the ids without which info cannot be decoded: its base and its sources.
func (s *Store) needs(ctx context.Context, info objstore.Info) ([]oid.ID, error) {
	var ids []oid.ID
	if !info.Base.IsZero() {
		ids = append(ids, info.Base)
	}
	more, err := sourcesOf(s.sources, info, func(p []byte, off int64) error { return s.ReadPayload(ctx, info, p, off) })
	return append(ids, more...), err
}
