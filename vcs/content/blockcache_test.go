package content

import (
	"testing"

	"coral/internal/oid"
)

// What a reader goes through once does not drive out what is read again and again, and the cache stays within its bound.
func TestReadOnceSparesTheCache(t *testing.T) {
	const size = 64 << 10
	c := newBlockCache(blockShards * 4 * (size + 512))
	read := func(id oid.ID, i int, prio priority) (hit bool) {
		b, fill := c.acquire(blockKey{id, i}, prio)
		if fill {
			c.fill(b, getBlockBuffer(size), prio)
		}
		if prio == readOnce {
			c.releaseDone(b)
		} else {
			c.release(b)
		}
		return !fill
	}
	hot, long := oid.Sum([]byte("hot")), oid.Sum([]byte("long"))
	hits := func() (n int) {
		for i := range 2 * blockShards {
			if read(hot, i, readHot) {
				n++
			}
		}
		return n
	}
	hits()
	for i := range 1000 {
		read(long, i, readOnce)
	}
	if n := hits(); n != 2*blockShards {
		t.Errorf("%d of %d hot blocks are left after a long read", n, 2*blockShards)
	}
	for i := range 1000 {
		read(long, i, readHot)
	}
	if n := hits(); n != 0 {
		t.Errorf("%d hot blocks are left after a long read of hot blocks", n)
	}
	for i := range c.shards {
		if sh := &c.shards[i]; sh.bytes > sh.limit || len(sh.all) != sh.lru.Len() {
			t.Errorf("shard %d: %d bytes of %d, %d blocks, %d in the list", i, sh.bytes, sh.limit, len(sh.all), sh.lru.Len())
		}
	}
}
