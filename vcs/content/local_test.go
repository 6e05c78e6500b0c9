package content

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/local"
	"coral/vcs/object"
)

func openLocal(t testing.TB, dir string) (*Store, *local.Store, func()) {
	t.Helper()
	ls, err := local.Open(context.Background(), dir, local.Options{PackSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := New(ls, object.NewStore(ls, 0), Options{Workers: 2})
	return s, ls, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := ls.Close(); err != nil {
			t.Error(err)
		}
	}
}

// On real packs: several writers, a reopen, a collection under readers.
func TestOnLocalStore(t *testing.T) {
	dir := t.TempDir()
	s, ls, done := openLocal(t, dir)
	const runs, saves = 3, 4
	files := map[oid.ID][]byte{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k := range runs {
		wg.Go(func() {
			r := testRand(uint64(k))
			w := gauss(r, dtype.F32, 300_000, 0.02)
			var prev oid.ID
			for i := range saves {
				data := safetensors(tensor{fmt.Sprint("w", k), dtype.F32, w}, tensor{"h", dtype.BF16, gauss(testRand(9), dtype.BF16, 50_000, 1)})
				data = append(data, noise(uint64(k), 100)...) // not safetensors any more for half of them
				if k%2 == 0 {
					data = data[:len(data)-100]
				}
				res, err := s.Ingest(context.Background(), bytes.NewReader(data), int64(len(data)), Hint{Path: "f", Prev: prev})
				if err != nil {
					t.Error(err)
					return
				}
				prev = res.Manifest
				mu.Lock()
				files[prev] = data
				mu.Unlock()
				w = sparseStep(w, 100*k+i)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if err := ls.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	done()

	s, ls, done = openLocal(t, dir)
	defer done()
	for id, data := range files {
		checkFile(t, s, id, data)
	}
	st, err := ls.Stats(t.Context())
	if err != nil || st.Deltas == 0 || st.MaxDepth != saves-1 {
		t.Errorf("stats %+v, %v", st, err)
	}
	collectUnderReaders(t, s, ls, files)
	// Hints survive a reopen: a sibling finds its base.
	var some oid.ID
	for id := range files {
		some = id
	}
	if got := mustIngest(t, s, files[some], Hint{}); got.Manifest != some || got.New != 0 {
		t.Errorf("ingested again: %+v, want %s", got, some)
	}
}

// collectUnderReaders drops junk between the blobs while files are read.
func collectUnderReaders(t *testing.T, s *Store, ls *local.Store, files map[oid.ID][]byte) {
	t.Helper()
	junk := map[oid.ID]bool{}
	for i := range uint64(40) {
		raw := noise(500+i, 300_000)
		id := oid.Sum(raw)
		junk[id] = true
		if err := ls.Put(t.Context(), objstore.Record{Kind: objstore.Blob, ID: id, RawSize: int64(len(raw)), Payload: raw}); err != nil {
			t.Fatal(err)
		}
	}
	open := map[*File][]byte{}
	for id, data := range files {
		f := mustOpen(t, s, id)
		if _, err := f.ReadAt(t.Context(), make([]byte, 1), f.Size()/2); err != nil { // so that a head is cached
			t.Fatal(err)
		}
		open[f] = data
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for f, data := range open {
				select {
				case <-stop:
					return
				default:
				}
				s.blocks.drop()
				got := make([]byte, len(data))
				if n, err := f.ReadAt(context.Background(), got, 0); err != nil && err != io.EOF || !bytes.Equal(got[:n], data) {
					t.Errorf("read during collection: %v", err)
				}
			}
		}
	})
	res, err := ls.Collect(t.Context(), func(id oid.ID) bool { return !junk[id] }, true, false)
	close(stop)
	wg.Wait()
	if err != nil || res.Dropped != int64(len(junk)) {
		t.Fatalf("collect: %+v, %v", res, err)
	}
	for f, data := range open {
		s.blocks.drop()
		checkFile(t, s, f.id, data)
	}
}

// A flipped bit anywhere in a pack gives an error or the right bytes.
func TestDamagedPacks(t *testing.T) {
	dir := t.TempDir()
	s, _, done := openLocal(t, dir)
	data := safetensors(tensor{"w", dtype.F32, gauss(testRand(1), dtype.F32, 30_000, 1)}, tensor{"i", dtype.I32, noise(1, 3000)})
	res := mustIngest(t, s, data, Hint{})
	done()
	packs, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs %v, %v", packs, err)
	}
	whole, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	wrong, found := 0, 0
	s, _, done = openLocal(t, dir)
	defer done()
	for at := 64; at < len(whole); at += len(whole)/150 + 1 {
		f, err := os.OpenFile(packs[0], os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{whole[at] ^ 0x10}, int64(at)); err != nil {
			t.Fatal(err)
		}
		s.DropCache()
		s.objects.DropCache()
		if fl, err := s.Open(t.Context(), res.Manifest); err != nil {
			found++
		} else {
			got := make([]byte, len(data))
			if _, err := fl.ReadAt(t.Context(), got, 0); err != nil {
				found++
			} else if !bytes.Equal(got, data) {
				wrong++
			}
		}
		if _, err := f.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if wrong > 0 || found < 75 {
		t.Errorf("%d of about 150 damages found, %d gave wrong bytes", found, wrong)
	}
}
