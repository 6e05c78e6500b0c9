package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore/pack"
)

// script uses everything that writes. It returns which records a Sync, and which a Put, acknowledged, and the first error.
func script(dir string, fs vfs.FS, again bool) (safe, put map[int]bool, err error) {
	safe, put = map[int]bool{}, map[int]bool{}
	s, err := openStore(context.Background(), dir, Options{PackSize: 4 << 10}, env{fs: fs})
	if err != nil {
		return safe, put, err
	}
	keep := func(e error) bool {
		if err == nil {
			err = e
		}
		return e == nil
	}
	try := func(fn func() error) {
		if !keep(fn()) && again {
			keep(fn())
		}
	}
	for i := range 16 {
		try(func() error {
			e := s.Put(context.Background(), rec(i))
			if e == nil {
				put[i] = true
			}
			return e
		})
		if i%6 == 5 {
			try(func() error {
				e := s.Sync(context.Background())
				for i := range put {
					safe[i] = safe[i] || e == nil
				}
				return e
			})
		}
	}
	ids := map[oid.ID]bool{}
	for i := range 16 {
		ids[rec(i).ID] = i < 4 || i >= 8
	}
	try(func() error {
		_, e := s.Collect(context.Background(), func(id oid.ID) bool { return ids[id] }, true, false)
		return e
	})
	keep(s.Close())
	return safe, put, err
}

// TestFaultSweep makes the n-th call fail, for every n: what was acknowledged is there when the store is opened again, and nothing else is wrong.
func TestFaultSweep(t *testing.T) {
	for _, no := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(no.Error(), func(t *testing.T) {
			t.Parallel()
			failed := 0
			for n := 1; ; n++ {
				dir, hit := fastDir(t), ""
				f := &vfs.Fault{FS: vfs.OS{}, Rule: func(op vfs.Op) (int, error) {
					if op.N != n || no == syscall.ENOSPC && op.Name == "read" {
						return 0, nil
					}
					hit = op.Name + " " + filepath.Base(op.Path)
					return op.Len / 3, no
				}}
				safe, put, err := script(dir, f, no == syscall.ENOSPC)
				if f.Calls() < n {
					break
				}
				if hit != "" && err != nil {
					failed++
				}
				s, oerr := openStore(t.Context(), dir, Options{}, env{})
				if oerr != nil {
					t.Fatalf("call %d (%s) failed with %v: then %v", n, hit, err, oerr)
				}
				for i := range 16 {
					err2 := wrong(s, i)
					gone := i >= 4 && i < 8
					if safe[i] && !gone && err2 != nil || err2 != nil && !errors.Is(err2, errs.NotFound) {
						t.Fatalf("call %d (%s) failed with %v: record %d: %v", n, hit, err, i, err2)
					}
					if put[i] && !gone && err2 != nil {
						t.Fatalf("call %d (%s) failed with %v: record %d was put: %v", n, hit, err, i, err2)
					}
				}
				whole(t, s)
				ok(t, s.Close())
			}
			if failed < 20 {
				t.Fatalf("only %d calls failed", failed)
			}
		})
	}
}

// TestStickyError: after an I/O error nothing is written any more, and reading goes on.
func TestStickyError(t *testing.T) {
	boom := false
	fs := &vfs.Fault{FS: vfs.OS{}, Rule: func(op vfs.Op) (int, error) {
		if boom && op.Name == "sync" {
			return 0, syscall.EIO
		}
		return 0, nil
	}}
	s := open1(t, t.TempDir(), Options{}, env{fs: fs})
	put(t, s, 0, 1)
	boom = true
	first := s.Sync(t.Context())
	if !errors.Is(first, syscall.EIO) {
		t.Fatalf("sync: %v", first)
	}
	boom = false
	for _, err := range []error{s.Put(t.Context(), rec(2)), s.Sync(t.Context()), s.Put(t.Context(), rec(3))} {
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("after it: %v", err)
		}
	}
	has(t, s, 0, 1)
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("close: %v", err)
	}
}

func TestVanishedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	s := open1(t, dir, Options{}, env{})
	put(t, s, 0)
	ok(t, s.Sync(t.Context()))
	put(t, s, 1)
	has(t, s, 1)
	ok(t, os.RemoveAll(dir))
	if err := s.Put(t.Context(), rec(2)); !errors.Is(err, errs.NotFound) {
		t.Fatalf("put: %v", err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, errs.NotFound) {
		t.Fatalf("sync: %v", err)
	}
	has(t, s, 1) // through the descriptor that is still open
	if err := s.Close(); err == nil {
		t.Fatal("closed without an error")
	}
}

// mount mounts something for the test, or skips it: only root may.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

// TestFullDisk fills a small file system: Put says so, nothing is lost, and the store goes on when there is space again.
func TestFullDisk(t *testing.T) {
	root := t.TempDir()
	mount(t, "tmpfs", root, "tmpfs", 0, "size=1m")
	dir := filepath.Join(root, "repo")
	s := open1(t, dir, Options{PackSize: 64 << 10}, env{})
	ballast := filepath.Join(root, "ballast")
	ok(t, os.WriteFile(ballast, make([]byte, 256<<10), 0o600))
	n, fails := 0, 0
	for ; fails < 20; n++ {
		err := s.Put(t.Context(), rec(n))
		if err == nil && n%10 == 9 {
			err = s.Sync(t.Context())
		}
		if err != nil {
			if !errors.Is(err, errs.NoSpace) || !strings.Contains(err.Error(), dir) && !strings.Contains(err.Error(), ".pack") && !strings.Contains(err.Error(), "index") {
				t.Fatalf("record %d: %v", n, err)
			}
			fails++
			n--
		}
	}
	has(t, s, seq(0, n)...)
	ok(t, os.Remove(ballast))
	put(t, s, seq(0, n+20)...)
	ok(t, s.Sync(t.Context()))
	has(t, s, seq(0, n+20)...)
	whole(t, s)
	ok(t, s.Close())
	s = open1(t, dir, Options{}, env{})
	has(t, s, seq(0, n+20)...)
	whole(t, s)
	ok(t, s.Close())
}

// TestReadOnlyMount reads stores on a file system that is mounted read-only, in every state a store can be in.
func TestReadOnlyMount(t *testing.T) {
	base := t.TempDir()
	s := open1(t, base, Options{}, env{})
	put(t, s, seq(0, 100)...)
	ok(t, s.Sync(t.Context()))
	put(t, s, seq(100, 150)...)
	killed := copyDir(t, base)
	ok(t, s.Close())
	noIndex, badIndex, torn := copyDir(t, base), copyDir(t, base), copyDir(t, killed)
	ok(t, os.Remove(filepath.Join(noIndex, "index.db")))
	ok(t, os.Truncate(filepath.Join(badIndex, "index.db"), 9000))
	packs, err := listPacks(vfs.OS{}, filepath.Join(torn, "packs"), false)
	ok(t, err)
	last := filepath.Join(torn, "packs", pack.Name(packs[len(packs)-1]))
	size, err := vfs.OS{}.Size(last)
	ok(t, err)
	ok(t, os.Truncate(last, size-3))
	for name, c := range map[string]struct {
		dir string
		n   int
	}{"closed": {base, 150}, "killed": {killed, 150}, "torn": {torn, 149}, "no index": {noIndex, 150}, "bad index": {badIndex, 150}} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			mount(t, c.dir, target, "", unix.MS_BIND, "")
			if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), target, Options{}); !errors.Is(err, errs.ReadOnly) {
				t.Fatalf("opened for writing: %v", err)
			}
			before := listing(t, target)
			s := open1(t, target, Options{ReadOnly: true}, env{})
			has(t, s, seq(0, c.n)...)
			lacks(t, s, c.n)
			whole(t, s)
			if _, err := s.Stats(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Collect(t.Context(), func(oid.ID) bool { return false }, true, false); !errors.Is(err, errs.ReadOnly) {
				t.Fatalf("collect: %v", err)
			}
			ok(t, s.Close())
			if after := listing(t, target); after != before {
				t.Fatalf("files changed from %s to %s", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	ok(t, filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			fmt.Fprintln(&b, path, fi.Size(), fi.ModTime())
		}
		return err
	}))
	return b.String()
}
