package object

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// Backend is what Store needs of the record store: objstore.Reader and objstore.Writer without Sync. If it also has
// a method Has(oid.ID) bool, Store does not compress what is there already.
type Backend interface {
	Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error)
	Put(ctx context.Context, rec objstore.Record) error
}

// defaultCache is the bound of the cache when NewStore is given none.
const defaultCache = 32 << 20

// Store reads and writes objects. It compresses with zstd where that helps, verifies ids on read, and keeps a
// bounded cache of decoded objects, in which concurrent readers of one id share one load. Safe for concurrent use.
// What it returns is shared: do not modify.
type Store struct {
	b     Backend
	has   func(oid.ID) bool // nil if b cannot tell
	codec codec
	cache *cache
}

// NewStore returns a Store over b that caches up to cacheBytes of decoded objects (0: 32 MiB).
func NewStore(b Backend, cacheBytes int64) *Store {
	if cacheBytes <= 0 {
		cacheBytes = defaultCache
	}
	s := &Store{b: b, codec: newCodec(), cache: newCache(cacheBytes)}
	if h, ok := b.(interface{ Has(oid.ID) bool }); ok {
		s.has = h.Has
	}
	return s
}

// Manifest returns the manifest id; an id of another kind is errs.Invalid.
func (s *Store) Manifest(ctx context.Context, id oid.ID) (*Manifest, error) {
	return get[*Manifest](ctx, s, id, objstore.Manifest)
}

// Tree returns the tree id.
func (s *Store) Tree(ctx context.Context, id oid.ID) (*Tree, error) {
	return get[*Tree](ctx, s, id, objstore.Tree)
}

// Commit returns the commit id.
func (s *Store) Commit(ctx context.Context, id oid.ID) (*Commit, error) {
	return get[*Commit](ctx, s, id, objstore.Commit)
}

// Tag returns the tag object id.
func (s *Store) Tag(ctx context.Context, id oid.ID) (*Tag, error) {
	return get[*Tag](ctx, s, id, objstore.Tag)
}

// Any returns id decoded, whatever its kind: *Manifest, *Tree, *Commit or *Tag. A blob is errs.Invalid.
func (s *Store) Any(ctx context.Context, id oid.ID) (objstore.Kind, any, error) {
	e, err := s.cache.get(ctx, id, s.load)
	return e.kind, e.value, err
}

// DropCache forgets every decoded object: after a collection, or before a check of what is on disk.
func (s *Store) DropCache() { s.cache.drop() }

func get[T any](ctx context.Context, s *Store, id oid.ID, want objstore.Kind) (T, error) {
	var none T
	e, err := s.cache.get(ctx, id, s.load)
	if err != nil {
		return none, fmt.Errorf("read %s: %w", want, err)
	}
	v, ok := e.value.(T)
	if !ok {
		return none, fmt.Errorf("read %s %s: it is a %s: %w", want, id.Short(), e.kind, errs.Invalid)
	}
	return v, nil
}

// load reads, verifies and decodes one object.
func (s *Store) load(ctx context.Context, id oid.ID) (entry, error) {
	info, payload, err := s.b.Get(ctx, id)
	if err != nil {
		return entry{}, fmt.Errorf("object %s: %w", id.Short(), err)
	}
	if info.Kind < objstore.Manifest || info.Kind > objstore.Tag {
		return entry{}, fmt.Errorf("object %s is a %s: %w", id.Short(), info.Kind, errs.Invalid)
	}
	raw, err := s.codec.decompress(delta.FrameCodec(info.Codec), payload, info.RawSize)
	if err != nil {
		return entry{}, damaged(info, err)
	}
	if sum := Sum(raw); sum != id {
		return entry{}, damaged(info, fmt.Errorf("its bytes have the id %s: %w", sum.Short(), errs.Corrupt))
	}
	kind, v, err := Decode(raw)
	if err != nil {
		return entry{}, damaged(info, err)
	}
	if kind != info.Kind {
		return entry{}, damaged(info, fmt.Errorf("its bytes are a %s: %w", kind, errs.Corrupt))
	}
	return entry{kind: kind, value: v, size: memory(v)}, nil
}

// damaged names the object and where its record is. Only what is corrupt becomes a CorruptError.
func damaged(info objstore.Info, err error) error {
	where := fmt.Sprintf("%s %s in pack %d", info.Kind, info.ID.Short(), info.Pack)
	if errors.Is(err, errs.Corrupt) {
		return &errs.CorruptError{Where: where, Offset: info.Offset, Detail: err.Error()}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// PutManifest stores m and returns its id. Invalid objects (unsorted, not covering, out of bounds) are errs.Invalid.
func (s *Store) PutManifest(ctx context.Context, m *Manifest) (oid.ID, error) { return s.put(ctx, m) }

// PutTree stores t.
func (s *Store) PutTree(ctx context.Context, t *Tree) (oid.ID, error) {
	id, err := s.put(ctx, t)
	if err == nil {
		s.cache.add(id, treeEntry(t))
	}
	return id, err
}

// PutCommit stores c.
func (s *Store) PutCommit(ctx context.Context, c *Commit) (oid.ID, error) { return s.put(ctx, c) }

// PutTag stores t.
func (s *Store) PutTag(ctx context.Context, t *Tag) (oid.ID, error) { return s.put(ctx, t) }

func (s *Store) put(ctx context.Context, v any) (oid.ID, error) {
	kind, raw, err := Encode(v)
	if err != nil {
		return oid.ID{}, fmt.Errorf("put %s: %w", kind, err)
	}
	id := Sum(raw)
	if s.has != nil && s.has(id) {
		return id, nil
	}
	fc, payload := s.codec.compress(raw)
	if len(payload) > objstore.MaxPayload {
		return oid.ID{}, fmt.Errorf("put %s: %d bytes compressed, at most %d can be stored: %w", kind, len(payload), objstore.MaxPayload, errs.TooLarge)
	}
	rec := objstore.Record{Kind: kind, ID: id, Codec: uint16(fc), RawSize: int64(len(raw)), Payload: payload}
	if err := s.b.Put(ctx, rec); err != nil {
		return oid.ID{}, fmt.Errorf("put %s %s: %w", kind, id.Short(), err)
	}
	return id, nil
}

// treeEntry is a copy of t as it would be read back: the caller keeps its own to change. (A snapshot
// reads the trees of the one before it, so what was just written is soon wanted.)
func treeEntry(t *Tree) entry {
	c := &Tree{Entries: slices.Clone(t.Entries)}
	for i := range c.Entries {
		e := &c.Entries[i]
		e.MTime = timeOf(nanos(e.MTime))
	}
	return entry{kind: objstore.Tree, value: c, size: memory(c)}
}
