package fs

import (
	"context"
	"io"
	"sync"
	"time"
)

// handles is every open file of the mount that has something to close.
type handles struct {
	mu      sync.Mutex
	files   map[*openFile]struct{}
	closing int           // flushed and not yet closed
	changed chan struct{} // closed and replaced when one is closed
}

// openFile is a file that is open: what it closes, once, and whether a close(2) of it was seen.
type openFile struct {
	m    *Mount
	what io.Closer

	// guarded by handles.mu
	flushed bool
	closed  bool
}

func (h *handles) init() {
	h.files = map[*openFile]struct{}{}
	h.changed = make(chan struct{})
}

// track makes c known as open until the openFile returned is closed.
func (m *Mount) track(c io.Closer) *openFile {
	f := &openFile{m: m, what: c}
	m.open.mu.Lock()
	m.open.files[f] = struct{}{}
	m.open.mu.Unlock()
	return f
}

// all returns every open file.
func (h *handles) all() []io.Closer {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]io.Closer, 0, len(h.files))
	for f := range h.files {
		out = append(out, f)
	}
	return out
}

// flush notes a close(2): most often the last one, and then the kernel releases the file soon.
func (f *openFile) flush() {
	h := &f.m.open
	h.mu.Lock()
	if !f.flushed && !f.closed {
		f.flushed = true
		h.closing++
	}
	h.mu.Unlock()
}

// Close closes the file, the first time it is called.
func (f *openFile) Close() error {
	h := &f.m.open
	h.mu.Lock()
	if f.closed {
		h.mu.Unlock()
		return nil
	}
	f.closed = true
	h.mu.Unlock()

	err := f.what.Close()

	h.mu.Lock()
	delete(h.files, f)
	if f.flushed {
		h.closing--
	}
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
	return err
}

// open says whether the file is not closed yet.
func (f *openFile) open() bool {
	f.m.open.mu.Lock()
	defer f.m.open.mu.Unlock()
	return !f.closed
}

// linger takes the files that were flushed for files that stay open.
func (h *handles) linger() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.files {
		f.flushed = false
	}
	h.closing = 0
}

// settleTime is the most that Settle waits. A release takes microseconds; a file of which one of several descriptors was
// closed, or that is still mapped, looks the same until the last is gone: it is waited for once.
const settleTime = 100 * time.Millisecond

// Settle waits until the files that were closed before the call are closed here too. close(2) does not wait for the kernel's
// RELEASE request, so a snapshot taken right after would else find the file open for writing. Call it before a
// command whose result depends on what is closed: snapshot, sync, status.
func (m *Mount) Settle(ctx context.Context) {
	deadline := time.NewTimer(settleTime)
	defer deadline.Stop()
	for {
		m.open.mu.Lock()
		closing, changed := m.open.closing, m.open.changed
		m.open.mu.Unlock()
		if closing == 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			m.open.linger()
			return
		case <-ctx.Done():
			return
		}
	}
}
