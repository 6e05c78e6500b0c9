package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFixture opens a store written by the first version of the format, with and without its index. The files are never
// made anew: with -update the test only makes them if they are missing.
func TestFixture(t *testing.T) {
	fixture := filepath.Join("testdata", "store-v1")
	if _, err := os.Stat(fixture); errors.Is(err, os.ErrNotExist) && *update {
		dir := t.TempDir()
		s := open1(t, dir, Options{PackSize: 3000}, env{})
		put(t, s, seq(0, 20)...)
		s.SetHint([]byte("key"), []byte("value"))
		ok(t, s.Close())
		ok(t, os.CopyFS(fixture, os.DirFS(dir)))
	}
	for _, index := range []bool{true, false} {
		dir := t.TempDir()
		ok(t, os.CopyFS(dir, os.DirFS(fixture)))
		if !index {
			ok(t, os.Remove(filepath.Join(dir, "index.db")))
		}
		for _, ro := range []bool{true, false} {
			s := open1(t, dir, Options{ReadOnly: ro}, env{})
			has(t, s, seq(0, 20)...)
			whole(t, s)
			if index && string(s.Hint([]byte("key"))) != "value" {
				t.Fatal("the hint is lost")
			}
			if !ro {
				put(t, s, seq(20, 24)...)
				whole(t, s)
			}
			ok(t, s.Close())
		}
		n, damage, err := RebuildIndex(t.Context(), dir, Options{})
		if err != nil || n != 24 || len(damage) > 0 {
			t.Fatalf("%d records, damage %v, %v", n, damage, err)
		}
	}
}
