package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

func info(i int) objstore.Info {
	in := objstore.Info{Kind: objstore.Kind(1 + i%5), ID: oid.Sum(fmt.Append(nil, i)), Codec: uint16(i), DType: uint8(i), RawSize: int64(i) << 20,
		Stored: int64(i) * 3, Pack: uint64(1 + i%7), Offset: int64(i) * 1000}
	if i%2 == 1 {
		in.Base, in.Depth = oid.Sum(fmt.Append(nil, i-1)), uint8(i)
	}
	return in
}

// make1 makes an index with n records, three packs and some hints, and closes it.
func make1(t testing.TB, path string, n int) {
	t.Helper()
	d, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(func(tx *Tx) error {
		for i := range n {
			if err := tx.Put(info(i)); err != nil {
				return err
			}
		}
		for k := range uint64(3) {
			if err := tx.PutPack(k+1, Pack{Length: int64(k) * 100, Frames: 3, Salt: k * 7, Sealed: k == 0, Dead: k == 1, Loose: k == 2}); err != nil {
				return err
			}
		}
		return errors.Join(tx.SetHint([]byte("short"), []byte("value")), tx.SetHint([]byte("long"), bytes.Repeat([]byte("x"), 20000)), tx.SetNextPack(9))
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
}

// same fails unless the index has exactly what make1 put there. It returns errors of damage.
func same(t testing.TB, d *DB, n int) error {
	t.Helper()
	got, err := d.Range(nil, oid.ID{}, n+10)
	if err != nil {
		return err
	}
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	for i := range n {
		in, err := d.Get(info(i).ID)
		if err != nil {
			return err
		}
		if in != info(i) {
			t.Fatalf("record %d is %+v", i, in)
		}
	}
	packs, err := d.Packs()
	if err != nil {
		return err
	}
	if len(packs) != 3 || !packs[1].Sealed || !packs[2].Dead || !packs[3].Loose || packs[3].Length != 200 || packs[3].Salt != 14 {
		t.Fatalf("packs %+v", packs)
	}
	if v := d.Hint([]byte("short")); v != nil && string(v) != "value" {
		t.Fatalf("hint %q", v)
	}
	if v := d.Hint([]byte("long")); v != nil && len(v) != 20000 {
		t.Fatalf("long hint of %d bytes", len(v))
	}
	next, err := d.NextPack()
	if err == nil && next != 9 {
		t.Fatalf("next pack %d", next)
	}
	return err
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 30, 3000} {
		path := filepath.Join(t.TempDir(), "index.db")
		make1(t, path, n)
		for _, ro := range []bool{false, true} {
			d, err := Open(path, Options{ReadOnly: ro})
			if err != nil {
				t.Fatal(err)
			}
			if err := same(t, d, n); err != nil {
				t.Fatal(err)
			}
			if string(d.Hint([]byte("short"))) != "value" || d.Hint([]byte("none")) != nil {
				t.Fatal("hints are lost")
			}
			if _, err := d.Get(oid.Sum([]byte("absent"))); !errors.Is(err, errs.NotFound) {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	if _, err := Open(path, Options{}); !errors.Is(err, errs.NotFound) {
		t.Fatalf("missing: %v", err)
	}
	make1(t, path, 5)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Create(path, Options{}); !errors.Is(err, errs.Exist) {
		t.Fatalf("create over: %v", err)
	}
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, _ := os.Open(path)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		t.Fatal("the index is not locked")
	}
	f.Close()
	if l, err := d.Linked(); !l || err != nil {
		t.Fatalf("linked %v, %v", l, err)
	}
	os.Remove(path)
	if l, err := d.Linked(); l || err != nil {
		t.Fatalf("linked %v, %v", l, err)
	}
	d.Close()
}

func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 5)
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Open(path, Options{}); !errors.Is(err, errs.Busy) {
		t.Fatalf("opened twice: %v", err)
	}
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 50)
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err = d.Update(func(tx *Tx) error {
		return errors.Join(tx.Delete(info(3).ID), tx.PutPack(77, Pack{}), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if err := same(t, d, 50); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(tx *Tx) error { return tx.Put(objstore.Info{Pack: 1 << 32}) }); !errors.Is(err, errs.Invalid) {
		t.Fatalf("put a record that does not fit: %v", err)
	}
	d.Close()
}

// TestDigest changes an index at random and reopens it: the digest must always agree.
func TestDigest(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 0)
	model := map[oid.ID]objstore.Info{}
	for i := range 3 {
		model[info(i).ID] = info(i)
	}
	d, err := Open(path, Options{Bulk: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(tx *Tx) error { return errors.Join(tx.Put(info(0)), tx.Put(info(1)), tx.Put(info(2))) }); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		err := d.Update(func(tx *Tx) error {
			for range 200 {
				i := r.IntN(500)
				in := info(i)
				in.Offset += int64(r.IntN(5))
				if r.IntN(3) == 0 {
					delete(model, in.ID)
					if err := tx.Delete(in.ID); err != nil {
						return err
					}
					continue
				}
				model[in.ID] = in
				if err := tx.Put(in); err != nil {
					return err
				}
			}
			return tx.PutPack(uint64(1+r.IntN(3)), Pack{Length: 5})
		})
		if err := errors.Join(err, d.Flush(), d.Close()); err != nil {
			t.Fatal(err)
		}
		if d, err = Open(path, Options{Bulk: true}); err != nil {
			t.Fatal(err)
		}
		got, err := d.Range(nil, oid.ID{}, 1000)
		if err != nil || len(got) != len(model) {
			t.Fatalf("%d records, want %d, %v", len(got), len(model), err)
		}
		for _, in := range got {
			if model[in.ID] != in {
				t.Fatalf("got %+v, want %+v", in, model[in.ID])
			}
		}
		if !slices.IsSortedFunc(got, func(a, b objstore.Info) int { return bytes.Compare(a.ID[:], b.ID[:]) }) {
			t.Fatal("not in id order")
		}
	}
	d.Close()
}

// TestDamage damages a closed index in many ways: Open refuses it as corrupt, or everything in it is right.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "index.db")
	make1(t, path, 300)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for at := 0; at < len(good); at += 4096 {
		if !bytes.Equal(good[at:at+4096], make([]byte, 4096)) {
			used = at + 4096
		}
	}
	refused, harmless := 0, 0
	try := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path, Options{ReadOnly: len(name)%2 == 0})
		if err != nil {
			if !errors.Is(err, errs.Corrupt) {
				t.Fatalf("%s: %v", name, err)
			}
			refused++
			return
		}
		if err := same(t, d, 300); err != nil {
			t.Fatalf("%s: opened, but %v", name, err)
		}
		harmless++
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 1500 {
		b := bytes.Clone(good)
		at := r.IntN(used)
		if r.IntN(2) == 0 {
			at = at&^4095 + r.IntN(200) // page headers and elements
		}
		b[at] ^= 1 << r.IntN(8)
		try(fmt.Sprintf("flip at %d", at), b)
	}
	t.Logf("flips: %d refused, %d harmless", refused, harmless)
	if refused < 300 || harmless < 100 {
		t.Error("the flips are not varied enough")
	}
	for at := 0; at < used; at += 4096 {
		b := bytes.Clone(good)
		clear(b[at : at+4096])
		try(fmt.Sprintf("page %d zeroed", at/4096), b)
		for from := 0; from < used; from += 4096 {
			b := bytes.Clone(good)
			copy(b[at:at+4096], good[from:from+4096])
			try(fmt.Sprintf("page %d copied over %d", from/4096, at/4096), b)
			copy(b[from:from+4096], good[at:at+4096])
			try(fmt.Sprintf("pages %d and %d swapped", from/4096, at/4096), b)
		}
	}
	for _, n := range []int{0, 1, 100, 4096, 8192, 8191, used - 4096, used / 2, used - 1} {
		try(fmt.Sprintf("cut to %d bytes", n), good[:n])
	}
	try("text", bytes.Repeat([]byte("not a database\n"), 3000))
}

// TestDamageWhileOpen damages a mapped index: errors, never a dead process.
func TestDamageWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 2000)
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	size := fi.Size()
	for name, damage := range map[string]func(f *os.File) error{
		"truncated": func(f *os.File) error { return f.Truncate(8192) },
		"zeroed": func(f *os.File) error {
			_, err := f.WriteAt(make([]byte, size-8192), 8192)
			return err
		},
		"noise": func(f *os.File) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size-8192)), 8192)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index.db")
			make1(t, path, 2000)
			d, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err == nil {
				err = errors.Join(damage(f), f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Get(info(5).ID)
			if !errors.Is(err, errs.Corrupt) {
				t.Fatalf("get: %v", err)
			}
			if err := d.Update(func(tx *Tx) error { return tx.Put(info(5)) }); !errors.Is(err, errs.Corrupt) {
				t.Fatalf("update: %v", err)
			}
			if _, err := d.Range(nil, oid.ID{}, 10); !errors.Is(err, errs.Corrupt) {
				t.Fatalf("range: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLaterVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	make1(t, path, 3)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket(bucketMeta).Put(metaFormat, seal(metaFormat, []byte{2, 0, 0, 0})),
			tx.Bucket(bucketRecords).Put([]byte("new kind of key"), []byte("new kind of value")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, errs.Unsupported) {
		t.Fatalf("got %v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	path := filepath.Join(b.TempDir(), "index.db")
	make1(b, path, 20000)
	d, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	i := 0
	for b.Loop() {
		if _, err := d.Get(info(i % 20000).ID); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
