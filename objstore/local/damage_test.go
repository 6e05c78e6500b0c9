package local

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/internal/vfs"
	"coral/objstore/pack"
)

// built makes a closed store with n records in packs of size bytes.
func built(t testing.TB, n int, size int64) string {
	t.Helper()
	dir := fastDir(t)
	s := open1(t, dir, Options{PackSize: size}, env{})
	put(t, s, seq(0, n)...)
	ok(t, s.Close())
	return dir
}

// TestFlipPack flips every byte of a small pack of a store: an error or the same bytes, and Check finds it.
func TestFlipPack(t *testing.T) {
	dir := built(t, 12, 3000)
	for _, n := range []uint64{1, 2} { // sealed, and last
		path := filepath.Join(dir, "packs", pack.Name(n))
		good, err := os.ReadFile(path)
		ok(t, err)
		step := 1
		if testing.Short() || race.Enabled { // one goroutine: `make race` flips every byte without the detector
			step = 17
		}
		s := open1(t, dir, Options{ReadOnly: true}, env{}) // the descriptor sees the flips
		has(t, s, seq(0, 12)...)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		ok(t, err)
		for at := 0; at < len(good); at += step {
			b := []byte{good[at] ^ 1<<(at%8)}
			_, err := f.WriteAt(b, int64(at))
			ok(t, err)
			if at < pack.FileHeaderSize {
				s.files.drop(n) // so that the header is read again
			}
			for i := range 12 {
				if _, payload, err := s.Get(t.Context(), rec(i).ID); err == nil && !bytes.Equal(payload, rec(i).Payload) || err != nil && !errors.Is(err, errs.Corrupt) {
					t.Fatalf("byte %d of pack %d: record %d: %v", at, n, i, err)
				}
			}
			found := damages(t, s)
			if len(found) == 0 {
				t.Fatalf("byte %d of pack %d: check found nothing", at, n)
			}
			for _, d := range found {
				if d.Pack != pack.Name(n) && !strings.Contains(d.Detail, "base") {
					t.Fatalf("byte %d of pack %d: %v", at, n, d)
				}
			}
			_, err = f.WriteAt(good[at:at+1], int64(at))
			ok(t, err)
		}
		s.files.drop(n)
		whole(t, s)
		ok(t, errors.Join(f.Close(), s.Close()))
	}
}

// TestFlipThenReopen damages packs and reopens and rebuilds: what a damaged byte does not touch survives, and nothing is invented.
func TestFlipThenReopen(t *testing.T) {
	base := built(t, 30, 4000)
	r := rand.New(rand.NewPCG(1, 1))
	packs, err := listPacks(vfs.OS{}, filepath.Join(base, "packs"), false)
	ok(t, err)
	for range 40 {
		dir := copyDir(t, base)
		n := packs[r.IntN(len(packs))]
		path := filepath.Join(dir, "packs", pack.Name(n))
		b, err := os.ReadFile(path)
		ok(t, err)
		at := r.IntN(len(b))
		switch r.IntN(4) {
		case 0:
			b = b[:at]
		case 1:
			clear(b[at:min(len(b), at+4096)])
		default:
			b[at] ^= 1 << r.IntN(8)
		}
		ok(t, os.WriteFile(path, b, 0o600))
		if r.IntN(2) == 0 {
			_, _, err := RebuildIndex(t.Context(), dir, Options{})
			ok(t, err)
		} else if r.IntN(2) == 0 {
			ok(t, os.Remove(filepath.Join(dir, "index.db")))
		}
		s := open1(t, dir, Options{}, env{})
		lost := 0
		for i := range 30 {
			err := wrong(s, i)
			if err != nil && !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Corrupt) {
				t.Fatalf("pack %d damaged at %d: record %d: %v", n, at, i, err)
			}
			if err != nil {
				lost++
			}
		}
		if lost > 12 {
			t.Fatalf("pack %d damaged at %d: %d of 30 records lost", n, at, lost)
		}
		_ = damages(t, s)
		put(t, s, 100)
		ok(t, s.Close())
		s = open1(t, dir, Options{}, env{})
		has(t, s, 100)
		ok(t, s.Close())
	}
}

// TestDamagedIndex damages the index in every way: it is moved aside and rebuilt, and the log says so.
func TestDamagedIndex(t *testing.T) {
	base := built(t, 60, 4000)
	good, err := os.ReadFile(filepath.Join(base, "index.db"))
	ok(t, err)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 0x10; return b }
	}
	for name, damage := range map[string]func([]byte) []byte{
		"missing": nil, "empty": func([]byte) []byte { return nil }, "cut": func(b []byte) []byte { return b[:len(b)/3] },
		"meta page 0": flip(16 + 20), "meta page 1": flip(4096 + 16 + 30), "noise": func(b []byte) []byte { return bytes.Repeat([]byte{0xe1}, len(b)) },
		"both metas": func(b []byte) []byte { return flip(40)(flip(4096 + 40)(b)) },
		"records":    func(b []byte) []byte { id := rec(7).ID; return bytes.ReplaceAll(b, id[:8], []byte("damaged!")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, base)
			path := filepath.Join(dir, "index.db")
			if damage == nil {
				ok(t, os.Remove(path))
			} else {
				ok(t, os.WriteFile(path, damage(bytes.Clone(good)), 0o600))
			}
			var log strings.Builder
			s := open1(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, env{})
			has(t, s, seq(0, 60)...)
			whole(t, s)
			ok(t, s.Close())
			aside, err := filepath.Glob(path + ".damaged-*")
			ok(t, err)
			if want := damage != nil; len(aside) == 1 != want || strings.Contains(log.String(), "moved aside") != want {
				t.Fatalf("aside: %v; log: %s", aside, log.String())
			}
		})
	}
}

func TestIndexDamagedWhileOpen(t *testing.T) {
	dir := built(t, 400, 1<<20)
	s := open1(t, dir, Options{}, env{})
	put(t, s, 500)
	ok(t, os.Truncate(filepath.Join(dir, "index.db"), 8192))
	if _, err := s.Stat(rec(3).ID); !errors.Is(err, errs.Corrupt) {
		t.Fatalf("stat: %v", err)
	}
	has(t, s, 500)
	if err := s.Sync(t.Context()); !errors.Is(err, errs.Corrupt) {
		t.Fatalf("sync: %v", err)
	}
	if err := s.Close(); !errors.Is(err, errs.Corrupt) {
		t.Fatalf("close: %v", err)
	}
}

// TestMissingPack removes a pack: its records are errors that name it, and putting them again makes the store whole.
func TestMissingPack(t *testing.T) {
	dir := built(t, 40, 4000)
	ok(t, os.Remove(filepath.Join(dir, "packs", pack.Name(2))))
	s := open1(t, dir, Options{}, env{})
	lost := 0
	for i := range 40 {
		err := wrong(s, i)
		if err == nil {
			continue
		}
		var ce *errs.CorruptError
		if !errors.As(err, &ce) || ce.Where != "pack 00000002.pack" {
			t.Fatalf("record %d: %v", i, err)
		}
		if s.Has(rec(i).ID) {
			t.Fatalf("the store claims to have record %d", i)
		}
		lost++
	}
	if d := damages(t, s); lost == 0 || len(d) != lost+1 {
		t.Fatalf("%d records lost, check found %d: %v", lost, len(d), d)
	}
	put(t, s, seq(0, 40)...)
	has(t, s, seq(0, 40)...)
	ok(t, s.Close())
	s = open1(t, dir, Options{}, env{})
	has(t, s, seq(0, 40)...)
	if d := damages(t, s); len(d) != 1 {
		t.Fatalf("findings: %v", d)
	}
	ok(t, s.Close())
}

// TestRebuildPrefersValid stores records twice, in two packs, damages one of them, and rebuilds.
func TestRebuildPrefersValid(t *testing.T) {
	for _, damaged := range []uint64{1, 2} {
		dir := built(t, 4, 1<<20)
		first, second := filepath.Join(dir, "packs", pack.Name(1)), filepath.Join(dir, "packs", pack.Name(2))
		// A second pack with the same records: put into a store without the first one.
		other := t.TempDir()
		s := open1(t, other, Options{}, env{})
		s.next = 2
		put(t, s, seq(0, 4)...)
		ok(t, s.Close())
		b, err := os.ReadFile(filepath.Join(other, "packs", pack.Name(2)))
		ok(t, err)
		ok(t, os.WriteFile(second, b, 0o600))
		path := first
		if damaged == 2 {
			path = second
		}
		b, err = os.ReadFile(path)
		ok(t, err)
		at := bytes.Index(b, rec(2).Payload)
		b[at+5] ^= 4
		ok(t, os.WriteFile(path, b, 0o600))
		n, damage, err := RebuildIndex(t.Context(), dir, Options{})
		if err != nil || n != 4 || len(damage) != 1 || damage[0].ID != rec(2).ID || damage[0].Pack != pack.Name(damaged) {
			t.Fatalf("%d records, damage %v, %v", n, damage, err)
		}
		s = open1(t, dir, Options{}, env{})
		has(t, s, 0, 1, 2, 3)
		ok(t, s.Close())
	}
}

// TestCollectLeavesDamage: a pack in which a live record is damaged is not touched, the others are collected.
func TestCollectLeavesDamage(t *testing.T) {
	dir := built(t, 60, 4000)
	s := open1(t, dir, Options{}, env{})
	defer s.Close()
	info, err := s.Stat(rec(0).ID)
	ok(t, err)
	f, err := os.OpenFile(filepath.Join(dir, "packs", pack.Name(info.Pack)), os.O_RDWR, 0)
	ok(t, err)
	_, err = f.WriteAt([]byte("damage"), info.Offset+3)
	ok(t, errors.Join(err, f.Close()))
	ids := map[oid.ID]bool{}
	for i := range 60 {
		ids[rec(i).ID] = i%8 < 4
	}
	res, err := s.Collect(t.Context(), func(id oid.ID) bool { return ids[id] }, true, false)
	if err != nil || res.PacksRemoved < 3 || res.Dropped != 28 {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "packs", pack.Name(info.Pack))); err != nil {
		t.Fatalf("the damaged pack: %v", err)
	}
	for i := range 60 {
		switch err := wrong(s, i); {
		case i == 0 && !errors.Is(err, errs.Corrupt), i > 0 && i%8 < 4 && err != nil, i%8 >= 4 && !errors.Is(err, errs.NotFound):
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if d := damages(t, s); len(d) == 0 || d[0].ID != rec(0).ID {
		t.Fatalf("findings: %v", d)
	}
}

func TestDamageString(t *testing.T) {
	for want, d := range map[string]Damage{
		"pack 00000001.pack at offset 32: bad":                  {Pack: "00000001.pack", Offset: 32, Detail: "bad"},
		fmt.Sprintf("index, record %s: bad", rec(1).ID.Short()): {ID: rec(1).ID, Detail: "bad"},
	} {
		if got := d.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
