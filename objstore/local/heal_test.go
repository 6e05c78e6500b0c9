package local

import (
	"os"
	"strings"
	"testing"

	"coral/internal/oid"
)

// rot changes a byte in the payload of record i.
func rot(t *testing.T, s *Store, i int) {
	t.Helper()
	info, err := s.Stat(rec(i).ID)
	ok(t, err)
	f, err := os.OpenFile(s.packPath(info.Pack), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, info.Offset+info.Stored/2)
	ok(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, info.Offset+info.Stored/2)
	ok(t, err)
}

// A record that a check or a read found damaged is stored again by the next Put of it, also after a restart, and the old frame is no damage any more.
func TestHeal(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir, Options{}, env{})
	put(t, s, seq(0, 12)...)
	ok(t, s.Sync(t.Context()))
	rot(t, s, 4)
	rot(t, s, 8)
	put(t, s, 4) // nobody knows yet
	if wrong(s, 4) == nil {
		t.Fatal("not damaged")
	}
	if s.Has(rec(4).ID) || !s.Has(rec(8).ID) {
		t.Fatal("what was read is known to be damaged, what was not read is not")
	}
	put(t, s, 4)
	has(t, s, 4)
	if d := damages(t, s); len(d) != 1 || d[0].ID != rec(8).ID {
		t.Fatalf("%v", d)
	}
	ok(t, s.Close())
	s = open1(t, dir, Options{}, env{}) // remembers
	has(t, s, 4)
	if s.Has(rec(8).ID) || !s.Has(rec(4).ID) {
		t.Fatal("forgotten")
	}
	deeper := rec(8)
	deeper.Base, deeper.Depth = rec(7).ID, 4
	ok(t, s.Put(t.Context(), deeper)) // could break what is based on it: not taken
	if i, err := s.Stat(rec(8).ID); err != nil || i.Depth != 0 || s.Has(rec(8).ID) {
		t.Fatalf("%+v, %v", i, err)
	}
	put(t, s, 8)
	killed := copyDir(t, dir)
	ok(t, s.Sync(t.Context()))
	has(t, s, seq(0, 12)...)
	whole(t, s)
	c, err := s.Collect(t.Context(), func(oid.ID) bool { return true }, true, false)
	if err != nil || c.PacksRewritten == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	has(t, s, seq(0, 12)...)
	ok(t, s.Close())
	for _, d := range []string{dir, killed} {
		s = open1(t, d, Options{}, env{})
		has(t, s, seq(0, 12)...)
		whole(t, s)
		ok(t, s.Close())
		_, damage, err := RebuildIndex(t.Context(), d, Options{})
		ok(t, err)
		for _, x := range damage { // of the old frames, which nobody reads
			if !strings.Contains(x.Detail, "checksum") {
				t.Error(x)
			}
		}
		s = open1(t, d, Options{}, env{})
		has(t, s, seq(0, 12)...)
		ok(t, s.Close())
	}
}
