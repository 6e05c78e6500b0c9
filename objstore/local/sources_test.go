package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/pack"
)

// codecIDs is a codec of these tests: the payload is the ids of the sources.
const codecIDs = 9

func idSources(info objstore.Info, read func(p []byte, off int64) error) ([]oid.ID, error) {
	if info.Codec != codecIDs {
		return nil, nil
	}
	if info.Stored%oid.Size != 0 {
		return nil, fmt.Errorf("%d bytes are no ids: %w", info.Stored, errs.Corrupt)
	}
	b := make([]byte, info.Stored)
	if err := read(b, 0); err != nil {
		return nil, err
	}
	var ids []oid.ID
	for ; len(b) > 0; b = b[oid.Size:] {
		ids = append(ids, oid.ID(b[:oid.Size]))
	}
	return ids, nil
}

// plain returns a record of n bytes without base.
func plain(name string, n int) objstore.Record {
	b := bytes.Repeat([]byte(name), n/len(name)+1)[:n]
	return objstore.Record{Kind: objstore.Blob, ID: oid.Sum(b), RawSize: int64(n), Payload: b}
}

// derivedOf returns a record that needs others, of which the first is its base.
func derivedOf(name string, depth uint8, sources ...objstore.Record) objstore.Record {
	rec := objstore.Record{Kind: objstore.Blob, ID: oid.Sum([]byte(name)), Codec: codecIDs, Depth: depth, RawSize: 1, Base: sources[0].ID}
	for _, s := range sources {
		rec.Payload = append(rec.Payload, s.ID[:]...)
	}
	return rec
}

func putAll(t *testing.T, s *Store, recs ...objstore.Record) {
	t.Helper()
	for _, r := range recs {
		ok(t, s.Put(t.Context(), r))
	}
}

func found(t *testing.T, s *Store) (all []string) {
	t.Helper()
	ok(t, s.Check(t.Context(), func(d Damage) { all = append(all, d.String()) }))
	return all
}

// A dead record that stays stored since its pack does keeps its sources, and theirs: else the same content, stored again, would be
// found there and could not be read.
func TestCollectKeepsSources(t *testing.T) {
	s := open1(t, t.TempDir(), Options{PackSize: 10_000, Sources: idSources}, env{})
	a, b, c := plain("a", 100), plain("b", 100), plain("c", 100)
	middle := derivedOf("middle", 1, a, b)
	putAll(t, s, a, b, c, middle, plain("junk", 12_000)) // the first pack: nearly all dead
	top := derivedOf("top", 2, middle, c)
	keep := plain("keep", 12_000)
	putAll(t, s, top, keep)
	ok(t, s.Sync(t.Context()))
	live := func(id oid.ID) bool { return id == keep.ID }
	res, err := s.Collect(t.Context(), live, false, false)
	ok(t, err)
	if res.PacksRewritten != 1 || s.Has(plain("junk", 12_000).ID) {
		t.Fatalf("nothing to see: %+v", res)
	}
	for _, r := range []objstore.Record{a, b, c, middle, top} {
		if !s.Has(r.ID) {
			t.Errorf("%s is gone, and %s needs it", r.ID.Short(), top.ID.Short())
		}
	}
	if d := found(t, s); len(d) > 0 {
		t.Errorf("damage %q", d)
	}
	_, err = s.Collect(t.Context(), live, true, false)
	ok(t, err)
	for _, r := range []objstore.Record{a, b, c, middle, top} {
		if s.Has(r.ID) {
			t.Errorf("%s stays after a full collect", r.ID.Short())
		}
	}
	ok(t, s.Close())
}

// After a power cut that lost a source, what needs it is not there either.
func TestRecoveryDropsWhatLostItsSource(t *testing.T) {
	for _, lost := range []bool{false, true} {
		dir := t.TempDir()
		s := open1(t, dir, Options{Sources: idSources}, env{})
		a, b := plain("a", 300), plain("b", 300)
		putAll(t, s, a)
		ok(t, s.Sync(t.Context()))
		d := derivedOf("d", 1, a, b)
		e := derivedOf("e", 2, d, a)
		putAll(t, s, b, d, e)
		info, err := s.Stat(b.ID)
		ok(t, err)
		cut := copyDir(t, dir)
		if lost {
			f, err := os.OpenFile(filepath.Join(cut, "packs", pack.Name(info.Pack)), os.O_RDWR, 0)
			ok(t, err)
			_, err = f.WriteAt(make([]byte, 200), info.Offset)
			ok(t, err)
			ok(t, f.Close())
		}
		ok(t, s.Close())
		s = open1(t, cut, Options{Sources: idSources}, env{})
		for _, r := range []objstore.Record{b, d, e} {
			if s.Has(r.ID) == lost {
				t.Errorf("lost %v: %s is there: %v", lost, r.ID.Short(), !lost)
			}
		}
		putAll(t, s, b, d, e)
		if d := found(t, s); len(d) > 0 {
			t.Errorf("damage %q", d)
		}
		ok(t, s.Close())
	}
}

// An index made from packs leaves out what lacks a source; Check names it where an index has it all the same.
func TestRebuildAndCheckKnowSources(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir, Options{PackSize: 10_000, Sources: idSources}, env{})
	b := plain("b", 12_000)
	a := plain("a", 300)
	d := derivedOf("d", 1, a, b)
	putAll(t, s, b, a, d, derivedOf("e", 2, d))
	info, err := s.Stat(b.ID)
	ok(t, err)
	ok(t, s.Close())
	ok(t, os.Remove(filepath.Join(dir, "packs", pack.Name(info.Pack))))

	n, _, err := RebuildIndex(t.Context(), dir, Options{})
	if err != nil || n != 3 {
		t.Fatalf("%d records: %v", n, err)
	}
	s = open1(t, dir, Options{Sources: idSources}, env{})
	if d := strings.Join(found(t, s), "\n"); !strings.Contains(d, "its source "+b.ID.Short()+" is missing") {
		t.Errorf("damage %q", d)
	}
	ok(t, s.Close())

	n, damage, err := RebuildIndex(t.Context(), dir, Options{Sources: idSources})
	if err != nil || n != 1 || len(damage) != 2 || !strings.Contains(damage[0].Detail, "or a source") {
		t.Fatalf("%d records, damage %v: %v", n, damage, err)
	}
	s = open1(t, dir, Options{Sources: idSources}, env{})
	if s.Has(d.ID) || !s.Has(a.ID) || len(found(t, s)) > 0 {
		t.Errorf("has d %v, a %v, damage %q", s.Has(d.ID), s.Has(a.ID), found(t, s))
	}
	ok(t, s.Close())
}
