package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/internal/vfs"
	"coral/objstore"
)

// TestConcurrent has writers of the same records, readers, syncs, checks and hints at once, and then readers during collects.
func TestConcurrent(t *testing.T) {
	s := open1(t, t.TempDir(), Options{PackSize: 16 << 10}, env{})
	const n = 400
	var wg sync.WaitGroup
	var done atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for i := range n {
				if err := s.Put(t.Context(), rec(i)); err != nil {
					t.Error(err)
				}
				if i%25 == w {
					if err := s.Sync(t.Context()); err != nil {
						t.Error(err)
					}
				}
				s.SetHint(fmt.Append(nil, i%10), fmt.Append(nil, w))
				done.Store(max(done.Load(), int64(i)))
			}
		})
	}
	for w := range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for done.Load() < n-1 {
				if err := wrong(s, int(r.Int64N(done.Load()+1))); err != nil && !errors.Is(err, errs.NotFound) {
					t.Error(err)
					return
				}
				s.Hint(fmt.Append(nil, r.IntN(10)))
			}
		})
	}
	wg.Go(func() {
		for done.Load() < n-1 {
			if err := s.Check(t.Context(), func(d Damage) { t.Error(d) }); err != nil {
				t.Error(err)
				return
			}
			last := oid.ID{}
			if err := s.ForEach(t.Context(), 0, func(info objstore.Info) error {
				if last.String() >= info.ID.String() {
					t.Errorf("%s after %s", info.ID.Short(), last.Short())
				}
				last = info.ID
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	has(t, s, seq(0, n)...)
	whole(t, s)

	// Half the records die in steps; readers hold on to infos from before.
	var infos []objstore.Info
	for i := range n {
		if i%8 < 4 {
			info, err := s.Stat(rec(i).ID)
			ok(t, err)
			infos = append(infos, info)
		}
	}
	var stop atomic.Bool
	for w := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for !stop.Load() {
				k := r.IntN(len(infos))
				p := make([]byte, infos[k].Stored)
				if err := s.ReadPayload(context.Background(), infos[k], p, 0); err != nil {
					t.Error(err)
					return
				}
				if i := k/4*8 + k%4; string(p) != string(rec(i).Payload) {
					t.Errorf("record %d has other bytes", i)
				}
			}
		})
	}
	for step := 4; step < 8; step++ {
		dead := map[oid.ID]bool{}
		for i := range n {
			if i%8 >= 4 && i/50 <= step {
				dead[rec(i).ID] = true
			}
		}
		_, err := s.Collect(t.Context(), func(id oid.ID) bool { return !dead[id] }, true, false)
		ok(t, err)
	}
	stop.Store(true)
	wg.Wait()
	whole(t, s)
	ok(t, s.Close())
}

// TestSyncsShareWork: calls of Sync that pile up are served by one round.
func TestSyncsShareWork(t *testing.T) {
	var rounds atomic.Int64
	s := open1(t, t.TempDir(), Options{PackSize: 1 << 20}, env{step: func(name string) {
		if name == "packs synced" {
			rounds.Add(1)
		}
	}})
	ok(t, s.lock(t.Context())) // as a Sync that is under way
	var wg, started sync.WaitGroup
	for i := range 20 {
		put(t, s, 4*i)
		started.Add(1)
		wg.Go(func() {
			started.Done()
			if err := s.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	s.unlock()
	wg.Wait()
	if got := rounds.Load(); got != 1 {
		t.Fatalf("%d rounds for 20 calls", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ok(t, s.lock(ctx))
	cancel()
	if err := s.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	s.unlock()
	ok(t, s.Close())
}

// TestManyPacks reads more packs than descriptors are kept for.
func TestManyPacks(t *testing.T) {
	open := map[string]int{}
	var mu sync.Mutex
	counted := &countFS{OS: vfs.OS{}, mu: &mu, open: open}
	s := open1(t, t.TempDir(), Options{PackSize: 300}, env{fs: counted})
	put(t, s, seq(0, 300)...)
	ok(t, s.Sync(t.Context()))
	for range 2 {
		has(t, s, seq(0, 300)...)
	}
	s.files.mu.Lock()
	n := len(s.files.open)
	s.files.mu.Unlock()
	if n > maxOpenPacks {
		t.Fatalf("%d packs are kept open", n)
	}
	ok(t, s.Close())
	for name, n := range open {
		if n != 0 {
			t.Errorf("%s: %d descriptors left", name, n)
		}
	}
}

// countFS counts open files.
type countFS struct {
	vfs.OS
	mu   *sync.Mutex
	open map[string]int
}

func (c *countFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[name]++
	return &countFile{f, c, name}, nil
}

type countFile struct {
	vfs.File
	c    *countFS
	name string
}

func (f *countFile) Close() error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.open[f.name]--
	return f.File.Close()
}

// TestPendingIsBounded: a store that nobody syncs syncs itself.
func TestPendingIsBounded(t *testing.T) {
	if testing.Short() || race.Enabled { // one goroutine: `make race` runs this without the detector
		t.Skip("puts 70,000 records")
	}
	s := open1(t, t.TempDir(), Options{PackSize: DefaultPackSize}, env{})
	for i := range maxPending + 10 {
		r := objstore.Record{Kind: objstore.Blob, ID: oid.Sum(fmt.Append(nil, i))}
		ok(t, s.Put(t.Context(), r))
	}
	if n := len(s.pendingFrom(oid.ID{})); n > 20 {
		t.Fatalf("%d records are pending", n)
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Records["blob"] != maxPending+10 || st.Packs != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	whole(t, s)
	ok(t, s.Close())
}
