package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"coral/internal/errs"
)

// always makes every index large enough to be marked as clean.
func always(t *testing.T) {
	was := cleanSize
	cleanSize = 0
	t.Cleanup(func() { cleanSize = was })
}

// isClean says whether Open would spare itself the reading.
func isClean(t *testing.T, path string) bool {
	t.Helper()
	was, err := precheck(path)
	if err != nil {
		t.Fatal(err)
	}
	return was
}

// grow puts records [from, to), each in its own transaction, so that pages become free and are used again.
func grow(t *testing.T, d *DB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := d.Update(func(tx *Tx) error { return tx.Put(info(i)) }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClean(t *testing.T) {
	always(t)
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 300)
	n := 300
	for round := range 5 {
		if !isClean(t, path) {
			t.Fatalf("round %d: not clean after Close", round)
		}
		d, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := same(t, d, n); err != nil {
			t.Fatal(err)
		}
		grow(t, d, n, n+20)
		n += 20
		if err := d.Verify(); err != nil {
			t.Fatal(err)
		}
		killed := filepath.Join(t.TempDir(), "index.db") // what a kill leaves: the file as it is, and the mark of before
		for _, suffix := range []string{"", ".clean"} {
			b, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(killed+suffix, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if isClean(t, killed) {
			t.Fatal("clean after a kill")
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if d, err = Open(killed, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(same(t, d, n), d.Close()); err != nil {
			t.Fatal(err)
		}
		if !isClean(t, killed) {
			t.Fatal("not clean after the index was verified and closed")
		}
	}
	ro, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ro.Verify(), same(t, ro, n), ro.Close()); err != nil {
		t.Fatal(err)
	}
	if !isClean(t, path) {
		t.Error("reading made it unclean")
	}
	for _, damage := range []func(b []byte) []byte{func(b []byte) []byte { b[3] ^= 4; return b }, func(b []byte) []byte { return b[:20] }, func([]byte) []byte { return nil }} {
		b, err := os.ReadFile(path + ".clean")
		if err == nil {
			err = os.WriteFile(path+".clean", damage(bytes.Clone(b)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if isClean(t, path) {
			t.Error("a damaged mark was taken")
		}
		if err := os.WriteFile(path+".clean", b, 0o600); err != nil || !isClean(t, path) {
			t.Fatal(err)
		}
	}
}

// TestSmallIsVerified: what is read through in no time has no mark.
func TestSmallIsVerified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 300)
	if _, err := os.Lstat(path + ".clean"); !errors.Is(err, os.ErrNotExist) || isClean(t, path) {
		t.Errorf("a small index is marked: %v", err)
	}
}

// TestFreelistDamage damages the list of free pages of a closed index: whatever Open accepts has all records, and keeps them when more are written.
func TestFreelistDamage(t *testing.T) {
	always(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "index.db")
	make1(t, path, 300)
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	grow(t, d, 300, 340)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{r: f, size: int64(len(good))}
	if err := errors.Join(c.readMeta(), f.Close()); err != nil || len(c.free) < 3 {
		t.Fatalf("free pages %d, %v", len(c.free), err)
	}
	at := int(c.meta.freelist) * 4096
	refused := 0
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		b := bytes.Clone(good)
		i := at + r.IntN(boltPageHead+8*len(c.free))
		b[i] ^= 1 << r.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path, Options{})
		if errors.Is(err, errs.Corrupt) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		grow(t, d, 340, 360)
		if err := errors.Join(d.Verify(), same(t, d, 360), d.Close()); err != nil {
			t.Fatalf("byte %d of the free list: %v", i-at, err)
		}
	}
	if refused < 75 {
		t.Errorf("only %d of 150 refused", refused)
	}
}

// TestVerify: damage that a clean index hides from Open shows, and the next Open finds it, too.
func TestVerify(t *testing.T) {
	always(t)
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 2000)
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := info(7).ID
	i := bytes.Index(b, key[:])
	if i < 0 {
		t.Fatal("no such key")
	}
	b[i+31] ^= 1 // the key is another one: a lookup does not find it
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, fi.ModTime(), fi.ModTime())); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(); !errors.Is(err, errs.Corrupt) {
		t.Errorf("verify: %v", err)
	}
	grow(t, d, 2000, 2001)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, errs.Corrupt) {
		t.Errorf("open after it: %v", err)
	}
}
