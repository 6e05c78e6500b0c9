package object

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"unsafe"

	"coral/internal/oid"
	"coral/objstore"
)

// entry is a decoded object with its approximate size in memory.
type entry struct {
	kind  objstore.Kind
	value any
	size  int64
}

// cache is an LRU bounded in bytes. The object used last stays even if it alone is larger than the bound: else
// each name looked up in a huge directory would decode it anew. Loads are single flight.
type cache struct {
	max int64

	mu    sync.Mutex // not held over a load
	byID  map[oid.ID]*list.Element
	order *list.List // of slot, most recently used first
	size  int64
	calls map[oid.ID]*call
	epoch uint64 // counts drops: a load that began before one is not kept
}

type slot struct {
	id oid.ID
	e  entry
}

type call struct {
	done chan struct{} // closed when e and err are set
	e    entry
	err  error
}

func newCache(max int64) *cache {
	return &cache{max: max, byID: map[oid.ID]*list.Element{}, order: list.New(), calls: map[oid.ID]*call{}}
}

// get returns id from the cache or from load, which the first of concurrent callers runs with its own context.
// A caller whose leader was cancelled tries again itself.
func (c *cache) get(ctx context.Context, id oid.ID, load func(context.Context, oid.ID) (entry, error)) (entry, error) {
	for {
		c.mu.Lock()
		if el, ok := c.byID[id]; ok {
			c.order.MoveToFront(el)
			e := el.Value.(*slot).e
			c.mu.Unlock()
			return e, nil
		}
		cl, running := c.calls[id]
		if !running {
			cl = &call{done: make(chan struct{})}
			c.calls[id] = cl
			epoch := c.epoch
			c.mu.Unlock()
			return c.lead(ctx, id, cl, epoch, load)
		}
		c.mu.Unlock()
		select {
		case <-cl.done:
		case <-ctx.Done():
			return entry{}, ctx.Err()
		}
		if !errors.Is(cl.err, context.Canceled) && !errors.Is(cl.err, context.DeadlineExceeded) {
			return cl.e, cl.err
		}
		if err := ctx.Err(); err != nil {
			return entry{}, err
		}
	}
}

func (c *cache) lead(ctx context.Context, id oid.ID, cl *call, epoch uint64, load func(context.Context, oid.ID) (entry, error)) (entry, error) {
	cl.err = context.Canceled // what waiters see if load panics: they try again
	defer func() {
		c.mu.Lock()
		if c.calls[id] == cl {
			delete(c.calls, id)
		}
		if cl.err == nil && c.epoch == epoch {
			c.insert(id, cl.e)
		}
		c.mu.Unlock()
		close(cl.done)
	}()
	cl.e, cl.err = load(ctx, id)
	return cl.e, cl.err
}

func (c *cache) add(id oid.ID, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(id, e)
}

// insert adds e and evicts what is over the bound. mu is held.
func (c *cache) insert(id oid.ID, e entry) {
	if el, ok := c.byID[id]; ok {
		c.order.MoveToFront(el)
		return
	}
	c.byID[id] = c.order.PushFront(&slot{id, e})
	c.size += e.size
	for c.size > c.max && c.order.Len() > 1 {
		el := c.order.Back()
		old := el.Value.(*slot)
		c.order.Remove(el)
		delete(c.byID, old.id)
		c.size -= old.e.size
	}
}

func (c *cache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.byID)
	clear(c.calls) // their callers finish; new callers load again
	c.order.Init()
	c.size = 0
}

// memory estimates the bytes that a decoded object keeps.
func memory(v any) int64 {
	const overhead = 160 // slot, list element, map entry
	n := int64(overhead)
	switch v := v.(type) {
	case *Manifest:
		n += int64(len(v.Segments)) * int64(unsafe.Sizeof(Segment{}))
		for i := range v.Segments {
			n += int64(len(v.Segments[i].Inline))
		}
		for i := range v.Tensors {
			t := &v.Tensors[i]
			n += int64(unsafe.Sizeof(*t)) + int64(len(t.Name)) + 8*int64(len(t.Shape)+len(t.Stride))
		}
	case *Tree:
		for i := range v.Entries {
			e := &v.Entries[i]
			n += int64(unsafe.Sizeof(*e)) + int64(len(e.Name)+len(e.Target))
		}
	case *Commit:
		n += int64(unsafe.Sizeof(*v)) + int64(len(v.Author)+len(v.Message)) + 32*int64(len(v.Parents))
		for k := range v.Metrics {
			n += 64 + int64(len(k))
		}
		for k, l := range v.Labels {
			n += 80 + int64(len(k)+len(l))
		}
	case *Tag:
		n += int64(unsafe.Sizeof(*v)) + int64(len(v.Tagger)+len(v.Message))
	}
	return n
}
