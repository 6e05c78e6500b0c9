package content

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/oid"
)

func TestArenaStaysInBudget(t *testing.T) {
	budget := 3 * bufferSize(delta.MaxBlob)
	a := newArena(budget)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			r := testRand(uint64(k))
			for range 200 {
				n := 1 + r.IntN(delta.MaxBlob)
				if r.IntN(2) == 0 {
					n = 1 + r.IntN(100_000)
				}
				if err := a.reserve(context.Background(), bufferSize(n)); err != nil {
					t.Error(err)
					return
				}
				b := a.take(n)
				if len(b) != 0 || cap(b) < n+n/1000+64 {
					t.Errorf("buffer for %d has length %d, capacity %d", n, len(b), cap(b))
				}
				a.mu.Lock()
				if a.out+a.kept > budget {
					t.Errorf("%d bytes out and %d kept, budget %d", a.out, a.kept, budget)
				}
				a.mu.Unlock()
				a.give(b)
				a.release(bufferSize(n))
			}
		})
	}
	wg.Wait()
	if a.out != 0 || a.kept > keepIdle {
		t.Errorf("idle: %d out, %d kept", a.out, a.kept)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := a.reserve(ctx, budget); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := a.reserve(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("reserve with a cancelled context: %v", err)
	}
}

// What a file becomes does not depend on how many workers store it or what is cached: the same bytes have the same manifest everywhere.
func TestIngestIsDeterministic(t *testing.T) {
	r := testRand(77)
	model := safetensors(tensor{"a", dtype.F32, gauss(r, dtype.F32, 600_000, 1)}, tensor{"b", dtype.BF16, gauss(r, dtype.BF16, 900_000, 1)}, tensor{"c", dtype.F32, gauss(r, dtype.F32, 600, 1)})
	for name, data := range map[string][]byte{"model": model, "opaque": noise(1, 6<<20)} {
		var first oid.ID
		for i, opts := range []Options{{Workers: 1}, {Workers: 2}, {Workers: 7, CacheBytes: 1}} {
			s, _ := newStore(t, opts)
			s.parse = jsonLayout
			id := mustIngest(t, s, data, Hint{}).Manifest
			if i == 0 {
				first = id
			}
			got := make([]byte, len(data))
			if _, err := mustOpen(t, s, id).ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, data) || id != first {
				t.Errorf("%s with %+v: manifest %s, want %s; %v", name, opts, id.Short(), first.Short(), err)
			}
		}
	}
}
