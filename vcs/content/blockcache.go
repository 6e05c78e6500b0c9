package content

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"coral/internal/oid"
)

// blockCache keeps decoded blocks, bounded in bytes, least recently used ones dropped first, and sees to it that a block is
// decoded by one goroutine at a time. A block that is in use is pinned: its buffer is not reused before the last user
// has released it. While everything is pinned the bound is exceeded by what the running reads need.
type blockCache struct{ shards [blockShards]blockShard }

const blockShards = 8

// blockKey names a block of a frame, not only of a blob: a blob may be replaced by another frame of it, on another base, while it is read. A frame has one depth for
// ever, and a block waits only for blocks of frames of less depth; if blocks of both frames were one, two readers could wait for each other.
type blockKey struct {
	id   oid.ID
	at   int64 // where the frame is
	pack uint32
	idx  int32
}

func keyOf(m *blobMeta, i int) blockKey {
	return blockKey{m.info.ID, m.info.Offset, uint32(m.info.Pack), int32(i)}
}

type blockShard struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	all   map[blockKey]*block
	lru   list.List // of *block, complete ones, most recently used first
}

// block is one decoded block. All but data is guarded by the shard's mutex; data may be read between acquire and release.
type block struct {
	key   blockKey
	data  []byte
	err   error
	ready chan struct{} // closed when data or err is set
	pins  int
	elem  *list.Element // nil while not in lru
	gone  bool          // dropped while pinned
}

func newBlockCache(limit int64) *blockCache {
	c := &blockCache{}
	for i := range c.shards {
		c.shards[i].limit = limit / blockShards
		c.shards[i].all = map[blockKey]*block{}
	}
	return c
}

// limit returns the bound in bytes.
func (c *blockCache) limit() int64 { return blockShards * c.shards[0].limit }

func (c *blockCache) shard(k blockKey) *blockShard {
	return &c.shards[(binary.LittleEndian.Uint32(k.id[:])+uint32(k.idx))%blockShards]
}

// priority says where in the LRU a block enters.
type priority bool

const (
	readHot  priority = true  // a reader asked for it
	readCold priority = false // only a chain did: first to go, unless used again
)

// has says whether the block is there or being decoded.
func (c *blockCache) has(k blockKey) bool {
	sh := c.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.all[k] != nil
}

// acquire returns the block pinned. If fill is true the caller must decode it and then call fill or fail; otherwise wait
// first.
func (c *blockCache) acquire(k blockKey, prio priority) (b *block, fill bool) {
	sh := c.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b = sh.all[k]; b != nil {
		b.pins++
		if b.elem != nil && prio == readHot {
			sh.lru.MoveToFront(b.elem)
		}
		return b, false
	}
	b = &block{key: k, pins: 1, ready: make(chan struct{})}
	sh.all[k] = b
	return b, true
}

// fill publishes the decoded bytes, which the cache owns from now on.
func (c *blockCache) fill(b *block, data []byte, prio priority) {
	sh := c.shard(b.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b.data = data
	close(b.ready)
	if b.gone {
		return
	}
	sh.bytes += b.cost()
	if prio == readHot {
		b.elem = sh.lru.PushFront(b)
	} else {
		b.elem = sh.lru.PushBack(b)
	}
	sh.evict()
}

// fail publishes that the block cannot be decoded, and unpins it. Errors are not kept: the next reader tries again.
func (c *blockCache) fail(b *block, err error) {
	sh := c.shard(b.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b.err = err
	close(b.ready)
	if !b.gone {
		b.gone = true
		delete(sh.all, b.key)
	}
	b.pins--
}

// wait waits for a block that another goroutine decodes. On an error the block is unpinned.
func (c *blockCache) wait(ctx context.Context, b *block) error {
	select {
	case <-b.ready:
		if b.err == nil {
			return nil
		}
		c.release(b)
		return b.err
	default:
	}
	select {
	case <-b.ready:
	case <-ctx.Done():
		c.release(b)
		return ctx.Err()
	}
	if b.err != nil {
		c.release(b)
	}
	return b.err
}

// release unpins a block.
func (c *blockCache) release(b *block) {
	sh := c.shard(b.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b.pins--
	if b.pins == 0 {
		if b.gone {
			b.recycle()
		} else {
			sh.evict()
		}
	}
}

// drop empties the cache.
func (c *blockCache) drop() {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for _, b := range sh.all {
			sh.remove(b)
		}
		sh.mu.Unlock()
	}
}

// evict drops blocks nobody uses until the shard is within its limit. The caller holds mu.
func (sh *blockShard) evict() {
	for e := sh.lru.Back(); e != nil && sh.bytes > sh.limit; {
		b := e.Value.(*block)
		e = e.Prev()
		if b.pins == 0 {
			sh.remove(b)
		}
	}
}

// remove takes b out of the shard; its buffer is reused when nobody has it pinned. The caller holds mu.
func (sh *blockShard) remove(b *block) {
	delete(sh.all, b.key)
	b.gone = true
	if b.elem != nil {
		sh.lru.Remove(b.elem)
		b.elem = nil
		sh.bytes -= b.cost()
	}
	if b.pins == 0 {
		b.recycle()
	}
}

func (b *block) cost() int64 { return int64(cap(b.data)) + 256 }

// recycle gives the buffer of a block that nobody can reach any more to the next one.
func (b *block) recycle() {
	putBlockBuffer(b.data)
	b.data = nil
}

// Buffers of whole blocks are reused, so that streaming through the cache makes no garbage. Shorter ones, of small blobs, are left to the runtime.
var (
	blockBuffers64  = sync.Pool{New: func() any { return new([64 << 10]byte) }}
	blockBuffers256 = sync.Pool{New: func() any { return new([256 << 10]byte) }}
)

func getBlockBuffer(n int) []byte {
	switch {
	case n > 48<<10 && n <= 64<<10:
		return blockBuffers64.Get().(*[64 << 10]byte)[:n]
	case n > 192<<10 && n <= 256<<10:
		return blockBuffers256.Get().(*[256 << 10]byte)[:n]
	}
	return make([]byte, n)
}

func putBlockBuffer(b []byte) {
	switch cap(b) {
	case 64 << 10:
		blockBuffers64.Put((*[64 << 10]byte)(b[:64<<10]))
	case 256 << 10:
		blockBuffers256.Put((*[256 << 10]byte)(b[:256<<10]))
	}
}

// canceled reports whether err is the end of somebody's context.
func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
