package content

import (
	"sync"

	"coral/internal/oid"
)

// flights makes sure that a blob is stored by one goroutine at a time, whichever ingests it is part of.
type flights struct {
	mu  sync.Mutex
	ids map[oid.ID]chan struct{} // closed when the goroutine that stores the blob is done, well or not
}

// begin makes the caller the one who stores id (then it must call end), or returns a channel to wait on. Who has waited
// looks again whether the blob is stored: the other one may have failed for a reason of its own.
func (f *flights) begin(id oid.ID) (wait <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ch, ok := f.ids[id]; ok {
		return ch
	}
	if f.ids == nil {
		f.ids = map[oid.ID]chan struct{}{}
	}
	f.ids[id] = make(chan struct{})
	return nil
}

func (f *flights) end(id oid.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.ids[id])
	delete(f.ids, id)
}
