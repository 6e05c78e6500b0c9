package local

import (
	"container/list"
	"errors"
	"sync"

	"coral/internal/vfs"
	"coral/objstore/pack"
)

// maxOpenPacks bounds the descriptors kept for reading. Packs that are being read may pass it for a moment.
const maxOpenPacks = 64

// files keeps packs open for reading, the least recently used closed first. A pack that was unlinked stays
// readable through a handle somebody holds.
type files struct {
	fs   vfs.FS
	dir  string
	salt func(n uint64) *uint64 // the index's spare copy of a pack's salt

	mu   sync.Mutex
	open map[uint64]*handle
	lru  *list.List // of *handle, most recent first
}

type handle struct {
	n    uint64
	once sync.Once
	r    *pack.Reader
	err  error

	refs int // guarded by files.mu, as are the following
	elem *list.Element
	gone bool // not in files any more: close at the last release
}

func newFiles(fs vfs.FS, dir string, salt func(uint64) *uint64) *files {
	return &files{fs: fs, dir: dir, salt: salt, open: map[uint64]*handle{}, lru: list.New()}
}

// acquire returns a reader of pack n. The caller calls release when done with it.
func (f *files) acquire(n uint64) (r *pack.Reader, release func(), err error) {
	f.mu.Lock()
	h := f.open[n]
	if h == nil {
		h = &handle{n: n}
		h.elem = f.lru.PushFront(h)
		f.open[n] = h
	}
	h.refs++
	f.lru.MoveToFront(h.elem)
	idle := f.evict()
	f.mu.Unlock()
	closeAll(idle)
	h.once.Do(func() { h.r, h.err = pack.Open(f.fs, f.dir, n, f.salt(n)) })
	if h.err != nil {
		f.forget(h)
		f.release(h)
		return nil, nil, h.err
	}
	return h.r, func() { f.release(h) }, nil
}

func (f *files) release(h *handle) {
	f.mu.Lock()
	h.refs--
	last := h.gone && h.refs == 0
	f.mu.Unlock()
	if last {
		closeAll([]*handle{h})
	}
}

// evict takes idle handles out until there are few enough, and returns them to be closed. f.mu is held.
func (f *files) evict() (idle []*handle) {
	for e := f.lru.Back(); e != nil && len(f.open) > maxOpenPacks; {
		h, prev := e.Value.(*handle), e.Prev()
		if h.refs == 0 {
			f.remove(h)
			idle = append(idle, h)
		}
		e = prev
	}
	return idle
}

func (f *files) remove(h *handle) {
	if !h.gone {
		h.gone = true
		delete(f.open, h.n)
		f.lru.Remove(h.elem)
	}
}

// forget takes h out, so that the next acquire opens the pack again.
func (f *files) forget(h *handle) {
	f.mu.Lock()
	f.remove(h)
	f.mu.Unlock()
}

// drop closes pack n as soon as nobody reads it.
func (f *files) drop(n uint64) {
	f.mu.Lock()
	h := f.open[n]
	idle := h != nil && h.refs == 0
	if h != nil {
		f.remove(h)
	}
	f.mu.Unlock()
	if idle {
		closeAll([]*handle{h})
	}
}

// close closes every pack that nobody reads now.
func (f *files) close() error {
	f.mu.Lock()
	var idle []*handle
	for _, h := range f.open {
		f.remove(h)
		if h.refs == 0 {
			idle = append(idle, h)
		}
	}
	f.mu.Unlock()
	return closeAll(idle)
}

func closeAll(hs []*handle) error {
	var err error
	for _, h := range hs {
		if h.r != nil {
			err = errors.Join(err, h.r.Close())
		}
	}
	return err
}
