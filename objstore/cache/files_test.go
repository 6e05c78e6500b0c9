package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

func content(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func writes(p []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(p)
		return err
	}
}

func mustOpen(t *testing.T, dir string, quota int64) *Files {
	t.Helper()
	c, err := Open(dir, quota)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustFill(t *testing.T, c *Files, p []byte) oid.ID {
	t.Helper()
	id := oid.Sum(p)
	if err := c.Fill(t.Context(), id, int64(len(p)), writes(p)); err != nil {
		t.Fatal(err)
	}
	return id
}

// read returns the file's bytes, or nil if it is a miss.
func read(t *testing.T, c *Files, id oid.ID) []byte {
	t.Helper()
	f, ok := c.Open(id)
	if !ok {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFillOpenReopen(t *testing.T) {
	dir := t.TempDir()
	c := mustOpen(t, dir, 0)
	want := content('a', 5000)
	id := mustFill(t, c, want)
	if got := read(t, c, id); !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes back, want %d", len(got), len(want))
	}
	if err := os.WriteFile(c.path(oid.Sum([]byte("half")))+tmpSuffix, []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Close()

	c = mustOpen(t, dir, 0)
	if got := read(t, c, id); !bytes.Equal(got, want) {
		t.Fatal("the file is lost after a reopen in the same boot")
	}
	if files, n := c.Stats(); files != 1 || n != 5000 {
		t.Fatalf("Stats = %d, %d", files, n)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix)); len(left) != 0 {
		t.Fatalf("half-written files are left: %v", left)
	}
}

func TestOtherBootDropsAll(t *testing.T) {
	dir := t.TempDir()
	c := mustOpen(t, dir, 0)
	id := mustFill(t, c, content('a', 10))
	c.Close()
	other := filepath.Join(dir, "README")
	for path, text := range map[string]string{filepath.Join(dir, bootName): "another boot\n", other: "not ours"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = mustOpen(t, dir, 0)
	if read(t, c, id) != nil {
		t.Fatal("a file written before the reboot is served")
	}
	if _, err := os.Stat(other); err != nil {
		t.Fatalf("a file that is not the cache's was removed: %v", err)
	}
	id = mustFill(t, c, content('b', 10))
	c.Close()
	if c = mustOpen(t, dir, 0); read(t, c, id) == nil {
		t.Fatal("the marker of this boot was not written")
	}
}

func TestEvictsLeastRecentlyUsed(t *testing.T) {
	c := mustOpen(t, t.TempDir(), 100)
	a, b := mustFill(t, c, content('a', 40)), mustFill(t, c, content('b', 40))
	held, ok := c.Open(a) // a is now used later than b
	if !ok {
		t.Fatal("miss")
	}
	defer held.Close()
	d := mustFill(t, c, content('d', 40))
	if !c.Has(a) || c.Has(b) || !c.Has(d) {
		t.Fatalf("has a, b, d = %v, %v, %v; want b evicted", c.Has(a), c.Has(b), c.Has(d))
	}
	if freed, err := c.Drop(); err != nil || freed != 80 {
		t.Fatalf("Drop = %d, %v", freed, err)
	}
	if got, err := io.ReadAll(held); err != nil || !bytes.Equal(got, content('a', 40)) {
		t.Fatalf("an open descriptor lost its bytes: %q, %v", got, err)
	}
	if files, n := c.Stats(); files != 0 || n != 0 {
		t.Fatalf("Stats after Drop = %d, %d", files, n)
	}
}

func TestQuotaOnReopen(t *testing.T) {
	dir := t.TempDir()
	c := mustOpen(t, dir, 0)
	old := mustFill(t, c, content('a', 60))
	young := mustFill(t, c, content('b', 60))
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.path(old), past, past); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c = mustOpen(t, dir, 100)
	if c.Has(old) || !c.Has(young) {
		t.Fatalf("has old, young = %v, %v", c.Has(old), c.Has(young))
	}
}

func TestFillErrors(t *testing.T) {
	c := mustOpen(t, t.TempDir(), 100)
	id := oid.Sum([]byte("x"))
	boom := errors.New("boom")
	for _, tc := range []struct {
		name string
		size int64
		fn   func(*os.File) error
		want error
	}{
		{"too-large", 101, writes(nil), errs.NoSpace},
		{"negative", -1, writes(nil), errs.NoSpace},
		{"short", 10, writes([]byte("short")), errs.Invalid},
		{"fails", 10, func(*os.File) error { return boom }, boom},
	} {
		if err := c.Fill(t.Context(), id, tc.size, tc.fn); !errors.Is(err, tc.want) {
			t.Errorf("%s: Fill = %v, want %v", tc.name, err, tc.want)
		}
		if read(t, c, id) != nil {
			t.Errorf("%s: a failed fill is served", tc.name)
		}
	}
	if left, _ := os.ReadDir(c.dir); len(left) != 1 { // the boot marker
		t.Errorf("files are left: %v", left)
	}
	if c.reserved != 0 {
		t.Errorf("%d bytes are still reserved", c.reserved)
	}
	c.Close()
	if err := c.Fill(t.Context(), id, 1, writes([]byte("x"))); !errors.Is(err, errs.Busy) {
		t.Errorf("Fill of a closed cache = %v", err)
	}
}

func TestMissWhenDeletedOrCut(t *testing.T) {
	c := mustOpen(t, t.TempDir(), 0)
	gone, cut := mustFill(t, c, content('a', 10)), mustFill(t, c, content('b', 10))
	if err := os.Remove(c.path(gone)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.path(cut), 3); err != nil {
		t.Fatal(err)
	}
	if read(t, c, gone) != nil || read(t, c, cut) != nil {
		t.Fatal("a deleted or cut file is served")
	}
	if files, n := c.Stats(); files != 0 || n != 0 {
		t.Fatalf("Stats = %d, %d", files, n)
	}
	if got := read(t, c, mustFill(t, c, content('b', 10))); len(got) != 10 {
		t.Fatalf("refilled file has %d bytes", len(got))
	}
}

func TestSingleFlight(t *testing.T) {
	c := mustOpen(t, t.TempDir(), 0)
	id, p := oid.Sum([]byte("x")), content('x', 100)
	var calls atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	fn := func(f *os.File) error {
		if calls.Add(1) == 1 {
			close(started)
		}
		<-release
		return writes(p)(f)
	}
	for range 8 {
		wg.Go(func() {
			if err := c.Fill(context.Background(), id, 100, fn); err != nil {
				t.Error(err)
			}
		})
	}
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Fill(ctx, id, 100, fn); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter whose context ended got %v", err)
	}
	close(release)
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Fatalf("filled %d times", n)
	}
	if got := read(t, c, id); !bytes.Equal(got, p) {
		t.Fatal("wrong bytes")
	}
}

// TestConcurrent lets fills, reads, evictions and drops meet; run with -race.
func TestConcurrent(t *testing.T) {
	c := mustOpen(t, t.TempDir(), 1000)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				p := content(byte('a'+(i*7+w)%16), 100+i%3)
				id := oid.Sum(p)
				if err := c.Fill(context.Background(), id, int64(len(p)), writes(p)); err != nil && !errors.Is(err, errs.NoSpace) {
					t.Error(err)
				}
				if got := read(t, c, id); got != nil && !bytes.Equal(got, p) {
					t.Error("wrong bytes")
				}
				if i%40 == 39 {
					if _, err := c.Drop(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if _, n := c.Stats(); n > 1000 || n < 0 {
		t.Fatalf("%d bytes are held, the quota is 1000", n)
	}
}

func TestShare(t *testing.T) {
	dir := t.TempDir()
	a, releaseA, err := Share(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, releaseB, err := Share(dir, 0)
	if err != nil || a != b {
		t.Fatalf("two caches for one directory: %v", err)
	}
	id := mustFill(t, a, content('a', 10))
	for range 2 {
		if err := releaseA(); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, b, id) == nil {
		t.Fatal("closed while another uses it")
	}
	if err := releaseB(); err != nil {
		t.Fatal(err)
	}
	if read(t, b, id) != nil {
		t.Fatal("open after the last release")
	}
	c, release, err := Share(dir, 0)
	if err != nil || c == a || read(t, c, id) == nil {
		t.Fatalf("opened again: %v", err)
	}
	release()
}
