package worktree

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// memDeps is a store in memory. Hooks, where set, run first and may delay, fail or count.
type memDeps struct {
	dir       string // where what is stored is also written, for processes that die; "" for nowhere
	mu        sync.Mutex
	trees     map[oid.ID]*object.Tree
	manifests map[oid.ID][]byte
	onIngest  func(path string, size int64) error
	onTree    func(id oid.ID) error
	onPut     func() error
	onSync    func() error
	onOpen    func(id oid.ID) error
	onFill    func(id oid.ID) error
	ingests   atomic.Int64
	treeReads atomic.Int64
	syncs     atomic.Int64
}

func newMemDeps() *memDeps {
	return &memDeps{trees: map[oid.ID]*object.Tree{}, manifests: map[oid.ID][]byte{}}
}

func (m *memDeps) Tree(ctx context.Context, id oid.ID) (*object.Tree, error) {
	m.treeReads.Add(1)
	if m.onTree != nil {
		if err := m.onTree(id); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recall(id)
	if t := m.trees[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("tree %s: %w", id.Short(), errs.NotFound)
}

func (m *memDeps) PutTree(ctx context.Context, t *object.Tree) (oid.ID, error) {
	if m.onPut != nil {
		if err := m.onPut(); err != nil {
			return oid.ID{}, err
		}
	}
	b := []byte("tree")
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range t.Entries {
		if i > 0 && t.Entries[i-1].Name >= e.Name {
			return oid.ID{}, fmt.Errorf("put tree: %q after %q: %w", e.Name, t.Entries[i-1].Name, errs.Invalid)
		}
		switch e.Kind {
		case object.File:
			m.recall(e.ID)
			c, ok := m.manifests[e.ID]
			if !ok || int64(len(c)) != e.Size || e.MTime.IsZero() {
				return oid.ID{}, fmt.Errorf("put tree: file %q has no such manifest or time: %w", e.Name, errs.Invalid)
			}
		case object.Dir:
			m.recall(e.ID)
			if m.trees[e.ID] == nil || !e.MTime.IsZero() {
				return oid.ID{}, fmt.Errorf("put tree: directory %q has no such tree: %w", e.Name, errs.Invalid)
			}
		case object.Symlink:
			if e.Target == "" {
				return oid.ID{}, fmt.Errorf("put tree: link %q has no target: %w", e.Name, errs.Invalid)
			}
		default:
			return oid.ID{}, fmt.Errorf("put tree: kind %d: %w", e.Kind, errs.Invalid)
		}
		b = fmt.Appendf(b, "%q %d %o %d %d %s %q\n", e.Name, e.Kind, e.Mode, e.MTime.UnixNano(), e.Size, e.ID, e.Target)
	}
	id := oid.Sum(b)
	m.trees[id] = &object.Tree{Entries: append([]object.Entry(nil), t.Entries...)}
	return id, m.keep(id, m.trees[id])
}

func (m *memDeps) Manifest(ctx context.Context, id oid.ID) (*object.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.manifests[id]
	if !ok {
		return nil, fmt.Errorf("manifest %s: %w", id.Short(), errs.NotFound)
	}
	return &object.Manifest{Size: int64(len(b))}, nil
}

func (m *memDeps) Ingest(ctx context.Context, r io.ReaderAt, size int64, path string, prev oid.ID) (oid.ID, int64, error) {
	m.ingests.Add(1)
	if m.onIngest != nil {
		if err := m.onIngest(path, size); err != nil {
			return oid.ID{}, 0, err
		}
	}
	b := make([]byte, size)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return oid.ID{}, 0, fmt.Errorf("ingest %s: %d of %d bytes: %w", path, n, size, err)
	}
	id := oid.Sum(append([]byte("manifest"), b...))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.manifests[id] = b
	return id, size, m.keep(id, b)
}

func (m *memDeps) Open(ctx context.Context, id oid.ID) (Content, error) {
	if m.onOpen != nil {
		if err := m.onOpen(id); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recall(id)
	b, ok := m.manifests[id]
	if !ok {
		return nil, fmt.Errorf("manifest %s: %w", id.Short(), errs.NotFound)
	}
	return memContent{m, id, b}, nil
}

func (m *memDeps) Sync(ctx context.Context) error {
	m.syncs.Add(1)
	if m.onSync != nil {
		return m.onSync()
	}
	return nil
}

type memContent struct {
	m  *memDeps
	id oid.ID
	b  []byte
}

func (c memContent) Size() int64 { return int64(len(c.b)) }
func (c memContent) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(c.b).ReadAt(p, off)
}
func (c memContent) Materialize(ctx context.Context, dst *os.File, verify bool) error {
	if c.m.onFill != nil {
		if err := c.m.onFill(c.id); err != nil {
			return err
		}
	}
	_, err := dst.WriteAt(c.b, 0)
	return err
}

// keep writes what is stored to dir, in one step.
func (m *memDeps) keep(id oid.ID, what any) error {
	if m.dir == "" {
		return nil
	}
	var b bytes.Buffer
	switch x := what.(type) {
	case []byte:
		b.WriteString("f")
		b.Write(x)
	default:
		b.WriteString("t")
		if err := gob.NewEncoder(&b).Encode(x); err != nil {
			return err
		}
	}
	path := filepath.Join(m.dir, id.String())
	if err := os.WriteFile(path+".tmp", b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// recall reads what another process has stored. m.mu is held.
func (m *memDeps) recall(id oid.ID) {
	if _, ok := m.manifests[id]; m.dir == "" || ok || m.trees[id] != nil {
		return
	}
	b, err := os.ReadFile(filepath.Join(m.dir, id.String()))
	if err != nil {
		return
	}
	if b[0] == 'f' {
		m.manifests[id] = b[1:]
		return
	}
	t := &object.Tree{}
	if gob.NewDecoder(bytes.NewReader(b[1:])).Decode(t) == nil {
		m.trees[id] = t
	}
}

// env is a set on a directory that is closed at the end of the test, and checked.
type env struct {
	t    failer
	dir  string
	deps *memDeps
	opts Options
	set  *Set
	tree *Tree
}

var bg = context.Background()

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

func newEnvAt(t failer, dir string) *env {
	e := &env{t: t, dir: dir, deps: newMemDeps(), opts: Options{IngestDelay: time.Millisecond, TinyDelay: -1}}
	e.open(oid.ID{})
	return e
}

func newEnv(t testing.TB) *env {
	e := newEnvAt(t, t.TempDir())
	t.Cleanup(func() {
		if e.set != nil {
			e.close()
		}
	})
	return e
}

func (e *env) open(root oid.ID) {
	e.t.Helper()
	set, err := Open(bg, e.dir, e.deps, e.opts)
	e.ok(err)
	e.set = set
	e.tree, err = set.Tree(bg, "main", root)
	e.ok(err)
}

func (e *env) close() {
	e.t.Helper()
	e.ok(e.set.Close(bg))
	e.set, e.tree = nil, nil
}

func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.open(oid.ID{})
}

func (e *env) ok(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// ino finds a path.
func (e *env) ino(path string) Ino {
	e.t.Helper()
	ino, err := findIno(e.tree, path)
	e.ok(err)
	return ino
}

func findIno(t *Tree, path string) (Ino, error) {
	ino := t.Root()
	for _, name := range splitAll(path) {
		a, err := t.Lookup(bg, ino, name)
		if err != nil {
			return 0, err
		}
		ino = a.Ino
	}
	return ino, nil
}

func (e *env) attr(path string) Attr {
	e.t.Helper()
	a, err := e.tree.Getattr(bg, e.ino(path))
	e.ok(err)
	return a
}

// parent finds the directory of a path.
func (e *env) parent(path string) (Ino, string) {
	e.t.Helper()
	dir, name := splitPath(path)
	return e.ino(dir), name
}

func (e *env) mkdir(path string) Ino {
	e.t.Helper()
	d, name := e.parent(path)
	a, err := e.tree.Mkdir(bg, d, name, 0o755, 0, 0)
	e.ok(err)
	return a.Ino
}

// create makes a file and leaves it open.
func (e *env) create(path string) *Handle {
	e.t.Helper()
	d, name := e.parent(path)
	_, h, err := e.tree.Create(bg, d, name, 0o644, 0, 0, os.O_RDWR)
	e.ok(err)
	return h
}

// write makes or replaces the content of a file.
func (e *env) write(path, content string) {
	e.t.Helper()
	d, name := e.parent(path)
	var h *Handle
	a, err := e.tree.Lookup(bg, d, name)
	if err == nil {
		h, err = e.tree.Open(bg, a.Ino, os.O_WRONLY|os.O_TRUNC)
	} else {
		_, h, err = e.tree.Create(bg, d, name, 0o644, 0, 0, os.O_WRONLY)
	}
	e.ok(err)
	_, err = h.WriteAt(bg, []byte(content), 0)
	e.ok(err)
	e.ok(h.Close())
}

func (e *env) read(path string) string {
	e.t.Helper()
	b, err := readFile(e.tree, e.ino(path))
	e.ok(err)
	return b
}

func readFile(t *Tree, ino Ino) (string, error) {
	h, err := t.Open(bg, ino, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer h.Close()
	return readHandle(h)
}

func readHandle(h *Handle) (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(readerAt{h}, 0, 1<<40))
	return string(b), err
}

type readerAt struct{ h *Handle }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.h.ReadAt(bg, p, off)
	if n < len(p) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (e *env) drain() {
	e.t.Helper()
	e.ok(e.set.Drain(bg, nil))
}

func (e *env) snapshot() oid.ID {
	e.t.Helper()
	res, err := e.tree.Snapshot(bg, false, nil)
	e.ok(err)
	return res.Root
}

// compact writes the journal anew, as Rebase does when it pays.
func (e *env) compact(root oid.ID) {
	e.t.Helper()
	e.ok(compactTo(e.tree, root))
}

func compactTo(t *Tree, root oid.ID) error {
	t.compactMu.Lock()
	defer t.compactMu.Unlock()
	return t.compact(bg, root, t.Branch())
}

func (e *env) state(path string) FileState {
	e.t.Helper()
	s, err := e.tree.State(bg, e.ino(path))
	e.ok(err)
	return s
}

// wantState wants a file in state "A", "B" or "C".
func (e *env) wantState(path, want string) {
	e.t.Helper()
	s := e.state(path)
	got := "?"
	switch {
	case !s.Dirty && !s.Spool && !s.Manifest.IsZero():
		got = "A"
	case !s.Dirty && s.Spool && !s.Manifest.IsZero():
		got = "B"
	case s.Dirty && s.Spool && s.Manifest.IsZero():
		got = "C"
	}
	if got != want {
		e.t.Errorf("%s: state %s (%+v), want %s", path, got, s, want)
	}
}

// treeFiles lists a committed tree: path → content.
func (m *memDeps) files(t failer, id oid.ID) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(id oid.ID, path string)
	walk = func(id oid.ID, path string) {
		m.mu.Lock()
		tree := m.trees[id]
		m.mu.Unlock()
		if tree == nil {
			t.Fatalf("tree %s of %q is not there", id.Short(), path)
		}
		for _, e := range tree.Entries {
			p := join(path, e.Name)
			switch e.Kind {
			case object.Dir:
				out[p+"/"] = ""
				walk(e.ID, p)
			case object.Symlink:
				out[p] = "-> " + e.Target
			default:
				m.mu.Lock()
				b, ok := m.manifests[e.ID]
				m.mu.Unlock()
				if !ok {
					t.Fatalf("manifest of %q is not there", p)
				}
				out[p] = string(b)
			}
		}
	}
	walk(id, "")
	return out
}

// big returns n bytes that differ by seed: more than tinyFile keeps its spool copy.
func big(n int, seed uint64) string {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		seed = seed*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], seed)
	}
	return string(b[:n])
}
