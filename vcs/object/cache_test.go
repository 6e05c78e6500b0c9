package object

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"coral/internal/oid"
)

func idOf(i int) oid.ID { return oid.Sum(fmt.Append(nil, i)) }

func TestCacheIsBounded(t *testing.T) {
	c := newCache(1000)
	loads := 0
	load := func(size int64) func(context.Context, oid.ID) (entry, error) {
		return func(context.Context, oid.ID) (entry, error) { loads++; return entry{size: size}, nil }
	}
	ctx := context.Background()
	for i := range 50 {
		if _, err := c.get(ctx, idOf(i), load(100)); err != nil {
			t.Fatal(err)
		}
	}
	if c.size != 1000 || c.order.Len() != 10 || len(c.byID) != 10 {
		t.Fatalf("%d bytes in %d and %d entries, want 1000 in 10", c.size, c.order.Len(), len(c.byID))
	}
	loads = 0
	_, _ = c.get(ctx, idOf(40), load(100)) // oldest still there: now the newest
	_, _ = c.get(ctx, idOf(99), load(100)) // evicts 41
	_, _ = c.get(ctx, idOf(40), load(100))
	if loads != 1 {
		t.Errorf("%d loads, want 1: the entry used last was evicted", loads)
	}
	_, _ = c.get(ctx, idOf(100), load(5000)) // larger than the cache: alone, but kept
	loads = 0
	_, _ = c.get(ctx, idOf(100), load(5000))
	if loads != 0 || c.order.Len() != 1 || c.size != 5000 {
		t.Errorf("the huge object was loaded %d more times; %d entries of %d bytes", loads, c.order.Len(), c.size)
	}
	c.drop()
	if c.size != 0 || len(c.byID) != 0 {
		t.Errorf("after drop: %d bytes, %d entries", c.size, len(c.byID))
	}
}

func TestCacheSingleFlight(t *testing.T) {
	c := newCache(1000)
	var loads atomic.Int32
	release := make(chan struct{})
	load := func(context.Context, oid.ID) (entry, error) {
		loads.Add(1)
		<-release
		return entry{value: "v", size: 1}, nil
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if e, err := c.get(context.Background(), idOf(1), load); err != nil || e.value != "v" {
				t.Errorf("got %v, %v", e.value, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
}

func TestCacheLeaderCancelled(t *testing.T) {
	c := newCache(1000)
	ctx, cancel := context.WithCancel(context.Background())
	started, leaderDone := make(chan struct{}), make(chan error)
	go func() {
		_, err := c.get(ctx, idOf(1), func(ctx context.Context, _ oid.ID) (entry, error) {
			close(started)
			<-ctx.Done()
			return entry{}, ctx.Err()
		})
		leaderDone <- err
	}()
	<-started
	waiter := make(chan error)
	go func() {
		e, err := c.get(context.Background(), idOf(1), func(context.Context, oid.ID) (entry, error) { return entry{value: "mine", size: 1}, nil })
		if err == nil && e.value != "mine" {
			err = errors.New("not the waiter's own load")
		}
		waiter <- err
	}()
	cancel()
	if err := <-leaderDone; !errors.Is(err, context.Canceled) {
		t.Errorf("leader: %v", err)
	}
	if err := <-waiter; err != nil {
		t.Errorf("waiter: %v", err)
	}
}

// A load that began before a drop must not bring back what the drop was to forget.
func TestCacheDropDuringLoad(t *testing.T) {
	c := newCache(1000)
	_, err := c.get(context.Background(), idOf(1), func(context.Context, oid.ID) (entry, error) {
		c.drop()
		return entry{size: 1}, nil
	})
	if err != nil || len(c.byID) != 0 {
		t.Errorf("%v, %d entries after the drop", err, len(c.byID))
	}
}

func TestFailedLoadIsNotKept(t *testing.T) {
	c := newCache(1000)
	boom := errors.New("boom")
	for range 2 {
		if _, err := c.get(context.Background(), idOf(1), func(context.Context, oid.ID) (entry, error) { return entry{}, boom }); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	}
	if e, err := c.get(context.Background(), idOf(1), func(context.Context, oid.ID) (entry, error) { return entry{value: 1, size: 1}, nil }); err != nil || e.value != 1 {
		t.Errorf("got %v, %v", e.value, err)
	}
}
