package content

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"coral/delta"
	"coral/delta/derive"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// blobMeta is what a reader needs to know of a blob before it reads its payload. It is shared; only checked changes.
type blobMeta struct {
	info objstore.Info
	hdr  *delta.Header // of delta.FrameBlocks and delta.FrameDerived, else nil
	cost int64         // estimated memory

	recipe *derive.Recipe // of delta.FrameDerived, else nil
	body   int64          // where in the payload the header and blocks begin: after the recipe

	// payload is all that follows the recipe, if any, of a blob with blocks so small that reading its header has read all of it; else nil.
	payload []byte

	checkMu sync.Mutex  // one goroutine checks a raw frame
	checked atomic.Bool // a raw frame's bytes were compared with the id
}

func (m *blobMeta) codec() delta.FrameCodec { return delta.FrameCodec(m.info.Codec) }

// blockLen and blocks describe how a blob is decoded: what is not delta.FrameBlocks is one block.
func (m *blobMeta) blockLen() int64 {
	if m.hdr != nil {
		return m.hdr.BlockLen()
	}
	return max(m.info.RawSize, 1)
}

func (m *blobMeta) blockRaw(i int) int {
	if m.hdr != nil {
		return m.hdr.Block(i).Raw
	}
	return int(m.info.RawSize)
}

// headerGuess is read in the hope that it holds the whole header: 16 MiB of F32 has 256 blocks.
const headerGuess = 8 << 10

// loadMeta reads and checks the index entry and header of blob id, again if the blob got another frame between the two.
func (s *Store) loadMeta(ctx context.Context, id oid.ID) (*blobMeta, error) {
	info, err := s.b.Stat(id)
	for moves := 0; ; moves++ {
		if err != nil {
			return nil, fmt.Errorf("blob %s: %w", id, err)
		}
		m, ferr := s.loadFrame(ctx, info)
		if ferr == nil || ctx.Err() != nil || moves == maxMoves {
			return m, ferr
		}
		was := info
		if info, err = s.b.Stat(id); err == nil && info == was {
			return nil, ferr
		}
	}
}

func (s *Store) loadFrame(ctx context.Context, info objstore.Info) (m *blobMeta, err error) {
	id := info.ID
	m = &blobMeta{info: info, cost: 512}
	switch {
	case info.Kind != objstore.Blob:
		return nil, fmt.Errorf("blob %s: stored as a %s: %w", id, info.Kind, errs.Invalid)
	case info.RawSize < 0 || info.RawSize > delta.MaxBlob:
		return nil, corrupt(id, "raw size %d", info.RawSize)
	case info.Stored < 0 || info.Stored > objstore.MaxPayload:
		return nil, corrupt(id, "payload of %d bytes", info.Stored)
	case int(info.Depth) > delta.MaxDepth || (info.Depth == 0) != info.Base.IsZero():
		return nil, corrupt(id, "depth %d with base %s", info.Depth, info.Base)
	}
	switch m.codec() {
	case delta.FrameRaw:
		if info.Stored != info.RawSize {
			return nil, corrupt(id, "raw frame of %d bytes for %d", info.Stored, info.RawSize)
		}
	case delta.FrameZstd:
	case delta.FrameBlocks, delta.FrameDerived:
		if err = s.readHeader(ctx, m); err != nil {
			return nil, fmt.Errorf("header of blob %s: %w", id, err)
		}
		if m.hdr.RawSize() != info.RawSize {
			return nil, corrupt(id, "header says %d bytes, index %d", m.hdr.RawSize(), info.RawSize)
		}
		if n := m.hdr.BlockLen(); n <= 0 || int64(m.hdr.Blocks()) != (info.RawSize+n-1)/n {
			return nil, corrupt(id, "%d blocks of %d for %d bytes", m.hdr.Blocks(), n, info.RawSize)
		}
	default:
		return nil, fmt.Errorf("blob %s: frame codec %d: %w", id, info.Codec, errs.Unsupported)
	}
	return m, nil
}

// headerTables is what a header with entropy tables keeps of them when parsed: 20 KiB for a Huffman table, 33 KiB for one of differences, 16 KiB
// for a predictor.
const headerTables = 72 << 10

// readHeader fills in hdr and payload, and of a derived blob recipe and body.
func (s *Store) readHeader(ctx context.Context, m *blobMeta) error {
	stored := m.info.Stored
	if stored < delta.PrefixLen {
		return fmt.Errorf("payload of %d bytes: %w", stored, errs.Corrupt)
	}
	b, err := s.extend(ctx, m, nil, min(headerGuess, stored))
	if err != nil {
		return err
	}
	if m.codec() == delta.FrameDerived {
		if b, err = s.readRecipe(ctx, m, b); err != nil {
			return err
		}
	}
	length := stored - m.body
	n, err := delta.HeaderLen(b[m.body:m.body+delta.PrefixLen], length)
	if err != nil {
		return err
	}
	if n < 0 || n > length {
		return fmt.Errorf("header of %d bytes in %d: %w", n, length, errs.Corrupt)
	}
	if b, err = s.extend(ctx, m, b, m.body+n); err != nil {
		return err
	}
	if m.hdr, err = delta.ParseHeader(b[m.body:m.body+n], length); err != nil {
		return err
	}
	if stored <= headerGuess {
		m.payload = b[m.body:]
	}
	m.cost += int64(len(m.payload)) + n
	if index := int64(m.hdr.Blocks()) * 16; n > index+64 {
		m.cost += headerTables
	}
	return nil
}

// extend reads on in m's payload until b holds its first n bytes.
func (s *Store) extend(ctx context.Context, m *blobMeta, b []byte, n int64) ([]byte, error) {
	have := int64(len(b))
	if n <= have {
		return b, nil
	}
	b = append(b, make([]byte, n-have)...)
	return b, s.b.ReadPayload(ctx, m.info, b[have:], have)
}

func corrupt(id oid.ID, format string, args ...any) error {
	return &errs.CorruptError{Where: "blob " + id.String(), Offset: -1, Detail: fmt.Sprintf(format, args...)}
}

// meta returns the cached or loaded head of a blob.
func (s *Store) meta(ctx context.Context, id oid.ID) (*blobMeta, error) {
	if m := s.metas.get(id); m != nil {
		return m, nil
	}
	m, err := s.loadMeta(ctx, id)
	if err != nil {
		return nil, err
	}
	s.metas.put(id, m)
	return m, nil
}

// maxMoves bounds how often a read begins anew since the blob has another frame.
const maxMoves = 8

// withMeta calls fn with the head of a blob. If fn fails and the blob has another frame since the head was read (a collect moves records, optimize replaces
// them on other bases, and what was the head's base may be deeper now), fn is called again with the new head.
func (s *Store) withMeta(ctx context.Context, id oid.ID, fn func(*blobMeta) error) error {
	for moves := 0; ; moves++ {
		m, err := s.meta(ctx, id)
		if err != nil {
			return err
		}
		err = fn(m)
		if err == nil || ctx.Err() != nil || moves == maxMoves {
			return err
		}
		info, serr := s.b.Stat(id)
		if serr != nil || info == m.info {
			return err
		}
		s.metas.remove(id, m)
	}
}

// metaCache keeps the heads of blobs, the least recently used ones dropped beyond metaBudget.
type metaCache struct {
	mu   sync.Mutex
	ids  map[oid.ID]*list.Element // of *metaEntry
	lru  list.List                // most recently used first
	cost int64
}

type metaEntry struct {
	id oid.ID
	m  *blobMeta
}

// metaBudget bounds the estimated memory of parsed headers.
const metaBudget = 16 << 20

func newMetaCache() *metaCache { return &metaCache{ids: map[oid.ID]*list.Element{}} }

func (c *metaCache) get(id oid.ID) *blobMeta {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.ids[id]
	if !ok {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*metaEntry).m
}

func (c *metaCache) put(id oid.ID, m *blobMeta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.ids[id]; ok {
		c.unlink(e)
	}
	c.ids[id] = c.lru.PushFront(&metaEntry{id, m})
	c.cost += m.cost
	for c.cost > metaBudget && c.lru.Len() > 1 {
		c.unlink(c.lru.Back())
	}
}

// remove forgets id if m is still what is known of it.
func (c *metaCache) remove(id oid.ID, m *blobMeta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.ids[id]; ok && e.Value.(*metaEntry).m == m {
		c.unlink(e)
	}
}

func (c *metaCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids, c.cost = map[oid.ID]*list.Element{}, 0
	c.lru.Init()
}

// unlink removes e. The caller holds mu.
func (c *metaCache) unlink(e *list.Element) {
	me := c.lru.Remove(e).(*metaEntry)
	delete(c.ids, me.id)
	c.cost -= me.m.cost
}
