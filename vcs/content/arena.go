package content

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

// An arena hands out byte buffers under a budget: who asks for more than is left waits, in order of asking. Buffers come in
// powers of two, each with room for the little that an encoded blob may be larger than its raw bytes, and are
// reused. What is handed out and what is kept for reuse together never exceed the budget.
type arena struct {
	sem    *semaphore.Weighted
	budget int64

	mu   sync.Mutex
	free [maxClass + 1][][]byte
	kept int64 // bytes in free
	out  int64 // bytes handed out
}

const (
	minClass = 16 // 64 KiB
	maxClass = 24 // delta.MaxBlob
	keepIdle = 2 << 20
)

func newArena(budget int64) *arena {
	return &arena{sem: semaphore.NewWeighted(budget), budget: budget}
}

func classOf(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

func classSize(class int) int64 { return 1<<class + 1<<class>>9 + 128 }

// bufferSize returns what a buffer for n bytes takes of the budget, n <= delta.MaxBlob.
func bufferSize(n int) int64 { return classSize(classOf(n)) }

// reserve waits until n bytes (a sum of bufferSize) of the budget are free. Reserve once for all that one job needs: a
// job that reserves twice can deadlock with another one.
func (a *arena) reserve(ctx context.Context, n int64) error { return a.sem.Acquire(ctx, n) }

// release gives a reservation back, after every buffer of it was given back.
func (a *arena) release(n int64) { a.sem.Release(n) }

// take returns a buffer of length 0 and room for n bytes, out of a reservation. Its old bytes are not cleared.
func (a *arena) take(n int) []byte {
	class := classOf(n)
	size := classSize(class)
	a.mu.Lock()
	a.out += size
	if k := len(a.free[class]); k > 0 {
		b := a.free[class][k-1]
		a.free[class][k-1] = nil
		a.free[class] = a.free[class][:k-1]
		a.kept -= size
		a.mu.Unlock()
		return b
	}
	a.shrink(a.budget - a.out)
	a.mu.Unlock()
	return make([]byte, 0, size)
}

// give returns a buffer of take.
func (a *arena) give(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minClass || class > maxClass || int64(cap(b)) != classSize(class) {
		panic("content: buffer given to an arena it is not from")
	}
	size := classSize(class)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out -= size
	a.free[class] = append(a.free[class], b[:0])
	a.kept += size
	if a.out == 0 { // idle: large buffers go back to the runtime
		a.shrink(keepIdle)
	}
}

// shrink drops kept buffers, large ones first, until at most limit bytes are kept. The caller holds mu.
func (a *arena) shrink(limit int64) {
	for class := maxClass; class >= minClass && a.kept > limit; class-- {
		for k := len(a.free[class]); k > 0 && a.kept > limit; k-- {
			a.free[class][k-1] = nil
			a.free[class] = a.free[class][:k-1]
			a.kept -= classSize(class)
		}
	}
}
