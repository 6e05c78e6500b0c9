package fs

import (
	"context"
	"errors"
	"os"
	"time"

	"coral/internal/errs"
)

// smallFile is the largest file that an open materialises before it returns: 4 MiB decode in 3 ms on two cores. Somebody may want no more than the header of a larger
// one: when it was 64 MiB, the first byte of a file of 45 took 100 ms (now 2), and reading all of it no less time.
const smallFile = 4 << 20

// materialiseQueue bounds how many large files wait to be materialised; more are served lazily and asked again at
// their next open.
const materialiseQueue = 64

// materialised returns the whole content of a commit's file on disk if it is to be served from there by a further open.
// nil means lazily; a large file is then materialised behind, for a later open.
func (m *Mount) materialised(n *fileNode) *os.File {
	if m.cache == nil || !m.passthrough.Load() || n.size == 0 {
		return nil
	}
	if busy, pass := n.serving.now(); busy && !pass {
		return nil // lazy until the last handle is gone
	}
	if f, ok := m.cache.Open(n.manifest); ok {
		return f
	}
	if n.size > smallFile {
		m.later.queue(n)
		return nil
	}
	if err := m.materialise(m.base, n); err != nil {
		return nil
	}
	f, _ := m.cache.Open(n.manifest)
	return f
}

// materialise puts a commit's file into the cache. What is damaged is not said here: it is served lazily, and the read of
// the damaged part fails.
func (m *Mount) materialise(ctx context.Context, n *fileNode) error {
	c, err := m.repo.Content.Open(ctx, n.manifest)
	if err != nil {
		return err
	}
	err = m.cache.Fill(ctx, n.manifest, n.size, func(f *os.File) error { return c.Materialize(ctx, f, false) })
	if err != nil && !errors.Is(err, errs.NoSpace) && ctx.Err() == nil && m.loud.allow(err.Error()) {
		m.log.Warn("a file cannot be materialised", "manifest", n.manifest, "err", err)
	}
	return err
}

// quiet is how long no READ must have come before the materialiser starts on a file: it decodes what readers decode too, and
// beside a cold cat of 1.2 GB it made that take twice as long (2 cores, 2026-11-24). A file that is read again at once is in the
// kernel's page cache; what is gained by waiting so long is that this second pass has the machine for itself too.
const quiet = 2 * time.Second

// randomReads is how many short reads that do not follow each other show that a file is read at random. Each decodes a block in every link of a chain, some 0.3 ms;
// all of the file at once decodes at a gigabyte a second, and then pages come from it.
const randomReads = 32

// materialiser fills the cache behind lazily served opens: one file at a time, and when readers rest; but at once what is read at random.
type materialiser struct {
	m    *Mount
	todo chan *fileNode
	soon chan *fileNode
}

func (w *materialiser) init(m *Mount) {
	w.m = m
	w.todo = make(chan *fileNode, materialiseQueue)
	w.soon = make(chan *fileNode, materialiseQueue)
}

// queue asks for n, unless it cannot fit or too many wait.
func (w *materialiser) queue(n *fileNode) { w.offer(w.todo, n) }

// hurry asks for n before what is queued and without waiting for readers to rest.
func (w *materialiser) hurry(n *fileNode) { w.offer(w.soon, n) }

func (w *materialiser) offer(to chan<- *fileNode, n *fileNode) {
	if !w.m.cache.Fits(n.size) {
		return
	}
	select {
	case to <- n:
	default:
	}
}

// run works until the mount ends.
func (w *materialiser) run() {
	for {
		select {
		case <-w.m.ctx.Done():
			return
		case n := <-w.soon:
			w.make(n)
		case n := <-w.todo:
			if w.rest() {
				w.make(n)
			}
		}
	}
}

func (w *materialiser) make(n *fileNode) {
	if !w.m.cache.Has(n.manifest) {
		w.m.materialise(w.m.ctx, n) // logged there; the next open asks again
	}
}

// rest waits until readers rest. It returns false if the mount ends first.
func (w *materialiser) rest() bool {
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	for before := w.m.decoded.Load(); ; {
		select {
		case <-w.m.ctx.Done():
			return false
		case n := <-w.soon:
			w.make(n)
			continue
		case <-tick.C:
		}
		now := w.m.decoded.Load() // who watches .coral/status is no reader
		if now == before {
			return true
		}
		before = now
	}
}
