package worktree

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

// TestBeside: another file of the directory is found wherever its content is at the moment.
func TestBeside(t *testing.T) {
	e := newEnv(t)
	e.opts.IngestDelay = time.Hour // files are ingested when drained
	e.reopen()
	e.mkdir("a")
	e.mkdir("a/dir")
	content := big(20_000, 3)
	e.write("a/f", "data")
	e.write("a/index", content)
	e.write("g", "another directory's")
	read := func(state string) {
		t.Helper()
		e.wantState("a/index", state)
		r, size, release, err := beside{e.tree, "a/f"}.Beside(bg, "index")
		if err != nil {
			t.Fatalf("state %s: %v", state, err)
		}
		got := make([]byte, size)
		if _, err := r.ReadAt(got, 0); err != nil && err != io.EOF || string(got) != content {
			t.Errorf("state %s: %d bytes, %v", state, size, err)
		}
		e.ok(release())
	}
	read("C")
	e.drain()
	read("B")
	root := e.snapshot()
	e.ok(e.tree.Rebase(bg, root))
	if _, err := e.set.DropSpool(bg); err != nil {
		t.Fatal(err)
	}
	read("A")
	e.reopen() // nothing of the directory is loaded
	read("A")
	for _, name := range []string{"g", "missing", "dir", "..", "../g", ""} {
		if _, _, _, err := (beside{e.tree, "a/f"}).Beside(bg, name); err == nil {
			t.Errorf("%q is beside a/f", name)
		}
	}
	if _, _, _, err := (beside{e.tree, "a/f"}).Beside(bg, "missing"); !errors.Is(err, errs.NotFound) {
		t.Errorf("missing: %v", err)
	}
	r, _, release, err := beside{e.tree, "top"}.Beside(bg, "g")
	e.ok(err)
	b := make([]byte, 7)
	if _, err := r.ReadAt(b, 0); err != nil || string(b) != "another" {
		t.Errorf("beside a file at the top: %q, %v", b, err)
	}
	e.ok(release())
}

// besideDeps reads the file "index" beside every one that is ingested.
type besideDeps struct {
	*memDeps
	mu  *sync.Mutex
	saw map[string]string
}

func (d besideDeps) Ingest(ctx context.Context, r io.ReaderAt, size int64, path string, prev oid.ID) (oid.ID, int64, error) {
	x, ok := r.(interface {
		Beside(ctx context.Context, name string) (io.ReaderAt, int64, func() error, error)
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if !ok {
		d.saw[path] = "unknown"
	} else if c, size, release, err := x.Beside(ctx, "index"); err == nil {
		b := make([]byte, size)
		if _, err := c.ReadAt(b, 0); err == nil || err == io.EOF {
			d.saw[path] = string(b)
		}
		release()
	}
	return d.memDeps.Ingest(ctx, r, size, path, prev)
}

// TestIngestKnowsDirectory: the queue as well as a snapshot that comes before it hand on where a file lies.
func TestIngestKnowsDirectory(t *testing.T) {
	e := newEnv(t)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	var mu sync.Mutex
	saw := map[string]string{}
	e.set.deps = besideDeps{e.deps, &mu, saw}
	e.mkdir("a")
	e.write("a/index", "one")
	e.write("a/f", "data")
	e.drain()
	if saw["a/f"] != "one" {
		t.Errorf("the queue saw %q", saw["a/f"])
	}
	h := e.create("a/open")
	_, err := h.WriteAt(bg, []byte("more"), 0)
	e.ok(err)
	e.write("a/index", "two")
	e.snapshot()
	if saw["a/open"] != "two" {
		t.Errorf("the snapshot saw %q", saw["a/open"])
	}
	e.ok(h.Close())
}
