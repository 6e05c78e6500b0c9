package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coral/internal/errs"
)

func TestConformance(t *testing.T) {
	for name, fs := range map[string]FS{
		"os": OS{}, "mem": NewMem(),
		"fault": &Fault{FS: OS{}, Rule: func(Op) (int, error) { return 0, nil }},
		"trace": &Trace{FS: NewMem(), Log: func(string) {}},
	} {
		t.Run(name, func(t *testing.T) { conform(t, fs, filepath.Join(t.TempDir(), "d")) })
	}
}

func conform(t *testing.T, fs FS, dir string) {
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(err, class error) {
		t.Helper()
		if !errors.Is(err, class) {
			t.Fatalf("got %v, want %v", err, class)
		}
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	_, err := fs.OpenFile(a, ReadOnly, 0)
	is(err, errs.NotFound)
	_, err = fs.ReadDir(dir)
	is(err, errs.NotFound)
	ok(fs.MkdirAll(dir, 0o700))
	ok(fs.MkdirAll(dir, 0o700))
	f, err := fs.OpenFile(a, ReadWrite|Create|Exclusive, 0o600)
	ok(err)
	_, err = fs.OpenFile(a, ReadWrite|Create|Exclusive, 0o600)
	is(err, errs.Exist)
	n, err := f.WritevAt([][]byte{[]byte("hello"), nil, []byte(", "), []byte("world")}, 3)
	ok(err)
	if n != 12 {
		t.Fatalf("wrote %d", n)
	}
	got := make([]byte, 15)
	_, err = f.ReadAt(got, 0)
	ok(err)
	if want := "\x00\x00\x00hello, world"; string(got) != want {
		t.Fatalf("read %q", got)
	}
	if n, err := f.ReadAt(got, 10); n != 5 || err != io.EOF {
		t.Fatalf("read past the end: %d, %v", n, err)
	}
	ok(f.Truncate(8))
	if size, err := f.Size(); size != 8 || err != nil {
		t.Fatalf("size %d, %v", size, err)
	}
	ok(f.Truncate(20))
	_, err = f.ReadAt(got[:12], 8)
	ok(err)
	if !bytes.Equal(got[:12], make([]byte, 12)) {
		t.Fatalf("grown part is %q", got[:12])
	}
	ok(f.Sync())
	ok(fs.SyncDir(dir))
	ok(fs.Rename(a, b))
	if size, err := fs.Size(b); size != 20 || err != nil {
		t.Fatalf("size %d, %v", size, err)
	}
	if names, err := fs.ReadDir(dir); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Fatalf("names %v, %v", names, err)
	}
	if l, err := f.Linked(); !l || err != nil {
		t.Fatalf("linked %v, %v", l, err)
	}
	ok(fs.Remove(b))
	is(fs.Remove(b), errs.NotFound)
	if l, err := f.Linked(); l || err != nil {
		t.Fatalf("linked after remove: %v, %v", l, err)
	}
	_, err = f.ReadAt(got[:5], 3)
	ok(err)
	ok(f.Close())
}

func TestCrash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kept, lost, torn, unnamed := 0, 0, 0, 0
	for range 300 {
		m := NewMem()
		if err := errors.Join(m.MkdirAll("/d", 0o700), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		f, _ := m.OpenFile("/d/f", ReadWrite|Create, 0o600)
		old := bytes.Repeat([]byte{'a'}, 2000)
		f.WritevAt([][]byte{old}, 0)
		if err := errors.Join(f.Sync(), m.SyncDir("/d")); err != nil {
			t.Fatal(err)
		}
		f.WritevAt([][]byte{bytes.Repeat([]byte{'b'}, 3000)}, 2000)
		g, _ := m.OpenFile("/d/g", ReadWrite|Create, 0o600)
		g.Sync()
		c := m.Crash(r)
		h, err := c.OpenFile("/d/f", ReadOnly, 0)
		if err != nil {
			t.Fatalf("a synced file is gone: %v", err)
		}
		size, _ := h.Size()
		got := make([]byte, size)
		h.ReadAt(got, 0)
		if !bytes.HasPrefix(got, old) {
			t.Fatal("synced bytes are lost")
		}
		switch rest := string(got[2000:]); {
		case rest == strings.Repeat("b", 3000):
			kept++
		case len(rest) == 0:
			lost++
		default:
			torn++
		}
		if _, err := c.Size("/d/g"); err != nil {
			unnamed++
		}
	}
	if kept == 0 || lost == 0 || torn == 0 || unnamed == 0 || unnamed == 300 {
		t.Fatalf("crashes are too uniform: %d kept, %d lost, %d torn, %d unnamed", kept, lost, torn, unnamed)
	}
}

func TestFault(t *testing.T) {
	m := NewMem()
	f := &Fault{FS: m, Rule: func(op Op) (int, error) {
		if op.Name == "write" {
			return 7, syscall.ENOSPC
		}
		return 0, nil
	}}
	h, err := f.OpenFile("/x", ReadWrite|Create, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n, err := h.WritevAt([][]byte{[]byte("12345"), []byte("67890")}, 0)
	if n != 7 || !errors.Is(err, errs.NoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if size, _ := m.Size("/x"); size != 7 {
		t.Fatalf("size %d after a short write", size)
	}
	if f.Calls() != 2 {
		t.Fatalf("%d calls", f.Calls())
	}
}
