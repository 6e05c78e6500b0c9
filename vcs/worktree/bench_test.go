package worktree

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"coral/internal/oid"
	"coral/vcs/object"
)

// flatTree stores a directory of n small files.
func flatTree(tb testing.TB, m *memDeps, n int) oid.ID {
	tb.Helper()
	t := &object.Tree{}
	id := oid.Sum([]byte("manifest0123456789"))
	m.manifests[id] = []byte("0123456789")
	for i := range n {
		t.Entries = append(t.Entries, object.Entry{Name: fmt.Sprintf("model-%06d.safetensors", i), Kind: object.File, Mode: 0o644, MTime: time.Unix(1e9, 5), Size: 10, ID: id})
	}
	root, err := m.PutTree(bg, t)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

func BenchmarkCreateWriteClose4K(b *testing.B) {
	e := newEnv(b)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	data := []byte(big(4096, 1))
	dir := e.mkdir("d")
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		_, h, err := e.tree.Create(bg, dir, fmt.Sprintf("f%d", i), 0o644, 0, 0, os.O_WRONLY)
		if err == nil {
			_, err = h.WriteAt(bg, data, 0)
		}
		if err == nil {
			err = h.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarm(b *testing.B) {
	e := newEnv(b)
	t, err := e.set.Tree(bg, "flat", flatTree(b, e.deps, 1000))
	e.ok(err)
	a, err := t.Lookup(bg, t.Root(), "model-000500.safetensors")
	e.ok(err)
	b.Run("lookup", func(b *testing.B) {
		for b.Loop() {
			t.Lookup(bg, t.Root(), "model-000500.safetensors")
		}
	})
	b.Run("negative", func(b *testing.B) {
		for b.Loop() {
			t.Lookup(bg, t.Root(), "nope")
		}
	})
	b.Run("getattr", func(b *testing.B) {
		for b.Loop() {
			t.Getattr(bg, a.Ino)
		}
	})
	b.Run("mkdir-rmdir", func(b *testing.B) {
		for b.Loop() {
			t.Mkdir(bg, t.Root(), "x", 0o755, 0, 0)
			t.Rmdir(bg, t.Root(), "x")
		}
	})
}

// BenchmarkSnapshotOneOf10000 changes one file of a directory of 10,000 and snapshots.
func BenchmarkSnapshotOneOf10000(b *testing.B) {
	e := newEnv(b)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	var err error
	e.tree, err = e.set.Tree(bg, "flat", flatTree(b, e.deps, 10000))
	e.ok(err)
	for i := 0; b.Loop(); i++ {
		e.write("model-000500.safetensors", fmt.Sprint(i))
		e.ok(e.tree.Rebase(bg, e.snapshot()))
	}
}

// BenchmarkSnapshot10000New makes 10,000 small files and snapshots them.
func BenchmarkSnapshot10000New(b *testing.B) {
	e := newEnv(b)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		dir := e.mkdir(fmt.Sprint("d", i))
		for k := range 10000 {
			_, h, err := e.tree.Create(bg, dir, fmt.Sprint(k), 0o644, 0, 0, os.O_WRONLY)
			e.ok(err)
			h.WriteAt(bg, []byte(fmt.Sprint(i, k)), 0)
			h.Close()
		}
		b.StartTimer()
		start := time.Now()
		root := e.snapshot()
		snap := time.Since(start)
		e.ok(e.tree.Rebase(bg, root))
		b.ReportMetric(snap.Seconds(), "snapshot-s")
	}
}

// TestNodeMemory bounds what an inode that nothing was done to costs: 100,000 in less than 60 MB.
func TestNodeMemory(t *testing.T) {
	e := newEnv(t)
	const n = 100000
	tree, err := e.set.Tree(bg, "flat", flatTree(t, e.deps, n))
	e.ok(err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err = tree.Lookup(bg, tree.Root(), "model-000500.safetensors")
	e.ok(err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := int64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes an inode", per)
	if per > 600 {
		t.Errorf("%d bytes an inode, want at most 600", per)
	}
	runtime.KeepAlive(tree)
}
