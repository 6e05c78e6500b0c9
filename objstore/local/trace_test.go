package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/oid"
	"coral/internal/vfs"
)

// TestTrace keeps the order of writes and syncs of each path that makes something durable: a change of it shows in review.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	line := func(s string) { lines = append(lines, s) }
	s := open1(t, dir, Options{PackSize: 2500}, env{fs: &vfs.Trace{FS: vfs.OS{}, Dir: dir, Log: line}, step: func(s string) { line("-- " + s) }})
	part := func(name string, fn func()) {
		line("# " + name)
		fn()
	}
	part("put, put, sync", func() {
		put(t, s, 0, 1)
		ok(t, s.Sync(t.Context()))
	})
	part("sync again", func() { ok(t, s.Sync(t.Context())) })
	part("put until a pack is sealed, sync", func() {
		put(t, s, 2, 3, 4, 5, 6)
		ok(t, s.Sync(t.Context()))
	})
	part("collect two records of the first pack", func() {
		ids := map[oid.ID]bool{rec(0).ID: true, rec(1).ID: true, rec(4).ID: true, rec(5).ID: true, rec(6).ID: true}
		_, err := s.Collect(t.Context(), func(id oid.ID) bool { return ids[id] }, true, false)
		ok(t, err)
	})
	part("replace a record", func() {
		r, err := s.Replace(nil)
		ok(t, err)
		again := rec(1)
		again.Base, again.Depth = oid.ID{}, 0
		ok(t, r.Put(t.Context(), again))
		_, err = r.Commit(t.Context())
		ok(t, err)
		ok(t, r.Close())
	})
	part("collect what was replaced", func() {
		_, err := s.Collect(t.Context(), func(oid.ID) bool { return true }, true, false)
		ok(t, err)
	})
	part("close", func() { ok(t, s.Close()) })
	got := strings.Join(lines, "\n") + "\n"
	golden := filepath.Join("testdata", "trace.golden")
	if *update {
		ok(t, os.MkdirAll("testdata", 0o755))
		ok(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	ok(t, err)
	if got != string(want) {
		t.Errorf("the order of writes has changed (go test -update, if that is meant):\n%s", got)
	}
}
