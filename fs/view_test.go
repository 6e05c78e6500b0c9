package fs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"coral/delta/format/safetensors"
	"coral/internal/oid"
)

// fixture reads a file that a real program wrote: torchzip/plain.pt.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	dir, file := filepath.Split(name)
	b, err := os.ReadFile(filepath.Join("..", "delta", "format", dir, "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// viewRepo is a tree of all sorts of files.
func viewRepo(t *testing.T, m *mounted) oid.ID {
	t.Helper()
	for name, from := range map[string]string{
		"run/model.pt": "torchzip/plain.pt", "run/tied.pth": "torchzip/tied.pt", "run/views.ckpt": "torchzip/views.pt", "run/empty.pt": "torchzip/empty.pt",
		"run/llama.gguf": "gguf/tiny.gguf", "run/fortran.npy": "npy/fortran.npy", "clash/model.pt": "torchzip/plain.pt", "clash/model.npy": "npy/f4.npy",
		"hf/pytorch_model-00001-of-00002.bin": "torchzip/plain.pt", "hf/pytorch_model-00002-of-00002.bin": "torchzip/adam.pt",
	} {
		write(t, m.main(name), fixture(t, from))
	}
	write(t, m.main("run/own.safetensors"), fixture(t, "safetensors/kinds.safetensors"))
	write(t, m.main("run/config.json"), []byte(`{"a": 1}`))
	write(t, m.main("run/broken.pt"), noise(1, 5000))
	write(t, m.main("hf/pytorch_model.bin.index.json"), []byte(`{"weight_map": {}}`))
	if err := os.Symlink("config.json", m.main("run/link")); err != nil {
		t.Fatal(err)
	}
	return m.snapshot("views")
}

// wantRun is what the view of run/ lists.
var wantRun = []string{"config.json", "fortran.safetensors", "link", "llama.safetensors", "model.safetensors", "own.safetensors", "tied.safetensors", "views.safetensors"}

func TestViews(t *testing.T) {
	for _, conf := range []daemonConfig{{}, {Lazy: true}} {
		m := mount(t, conf)
		id := viewRepo(t, m)
		m.run("drop", nil)
		testViews(t, m, id)
	}
}

func testViews(t *testing.T, m *mounted, id oid.ID) {
	t.Helper()
	if got := m.ls("views"); !slices.Equal(got, []string{"safetensors"}) {
		t.Errorf("views lists %q", got)
	}
	if got := m.ls("views", "safetensors"); !slices.Equal(got, []string{"branches", "commits", "tags"}) {
		t.Errorf("views/safetensors lists %q", got)
	}
	if got := m.ls("views", "safetensors", "commits"); !slices.Equal(got, []string{id.Short()}) {
		t.Errorf("commits lists %q", got)
	}
	if got := m.ls("views", "safetensors", "branches"); !slices.Equal(got, []string{"main"}) {
		t.Errorf("branches lists %q", got)
	}
	if err := os.Symlink("../commits/"+id.String(), m.path("tags", "v1")); err != nil {
		t.Fatal(err)
	}
	read := map[string]string{}
	for _, root := range []string{"commits/" + id.String(), "commits/main", "tags/v1", "branches/main"} {
		at := func(parts ...string) string {
			return filepath.Join(append([]string{m.dir, "views", "safetensors", root}, parts...)...)
		}
		if got := m.ls("views", "safetensors", root, "run"); !slices.Equal(got, wantRun) {
			t.Errorf("%s/run lists %q, want %q", root, got, wantRun)
		}
		if got, want := m.ls("views", "safetensors", root, "clash"), []string{"model.npy.safetensors", "model.pt.safetensors"}; !slices.Equal(got, want) {
			t.Errorf("%s/clash lists %q", root, got)
		}
		if got, want := m.ls("views", "safetensors", root, "hf"), []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}; !slices.Equal(got, want) {
			t.Errorf("%s/hf lists %q", root, got)
		}
		for _, absent := range []string{"run/model.pt", "run/empty.safetensors", "run/broken.pt", "run/broken.safetensors", "run/own.safetensors.safetensors", "run/model.pt.safetensors", "hf/pytorch_model.bin.index.json", "nothing", "run/" + strings.Repeat("x", 255)} {
			_, err := os.Lstat(at(absent))
			wantErrno(t, at(absent), err, syscall.ENOENT)
		}
		for _, same := range []string{"run/config.json", "run/own.safetensors"} {
			b, err := os.ReadFile(m.path("commits", id.String(), same))
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, at(same), b)
		}
		if to, err := os.Readlink(at("run/link")); err != nil || to != "config.json" {
			t.Errorf("link -> %q, %v", to, err)
		}
		walked := 0
		err := filepath.WalkDir(at(), func(path string, e fs.DirEntry, err error) error {
			walked++
			if err != nil || e.Type() != 0 {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o222 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if int64(len(b)) != info.Size() {
				t.Errorf("%s: %d bytes, stat says %d", path, len(b), info.Size())
			}
			rel, _ := filepath.Rel(at(), path)
			if was, ok := read[rel]; ok && was != string(b) {
				t.Errorf("%s is another file than in the commit", path)
			}
			read[rel] = string(b)
			if strings.HasSuffix(path, ".safetensors") {
				if l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b))); err != nil || len(l.Tensors) == 0 {
					t.Errorf("%s: %v", path, err)
				}
			}
			return nil
		})
		if err != nil || walked != 4+len(wantRun)+2+3 {
			t.Errorf("walk of %s: %d names, %v", root, walked, err)
		}
		for what, err := range map[string]error{
			"write":   os.WriteFile(at("run/own.safetensors"), nil, 0o644),
			"create":  os.WriteFile(at("run/new"), nil, 0o644),
			"rewrite": os.WriteFile(at("run/model.safetensors"), nil, 0o644),
			"remove":  os.Remove(at("run/model.safetensors")),
			"rename":  os.Rename(at("run/model.safetensors"), at("run/x")),
			"mkdir":   os.Mkdir(at("x"), 0o755),
			"chmod":   os.Chmod(at("run/model.safetensors"), 0o600),
		} {
			wantErrno(t, what+" in "+root, err, syscall.EROFS)
		}
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal([]byte(read["hf/model.safetensors.index.json"]), &index); err != nil || len(index.WeightMap) < 2 {
		t.Errorf("index %q: %v", read["hf/model.safetensors.index.json"], err)
	}
	ino := func(path string) uint64 {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Ino
	}
	if a, b := ino(m.path("commits", id.String(), "run/own.safetensors")), ino(m.path("views/safetensors/commits/main/run/own.safetensors")); a != b {
		t.Errorf("a safetensors file is inode %d in the commit and %d in its view", a, b)
	}
	view := m.path("views/safetensors/commits/main/run/model.safetensors")
	if got, err := getxattr(view, xattrFormat); err != nil || got != "safetensors" {
		t.Errorf("format of a view is %q, %v", got, err)
	}
	if got, err := getxattr(view, xattrTensors); err != nil || !strings.Contains(got, `"dtype":"F32"`) {
		t.Errorf("tensors of a view are %q, %v", got, err)
	}
	_, err := getxattr(view, xattrID)
	wantErrno(t, "id of a view", err, syscall.ENODATA)
	_, err = getxattr(m.path("views/safetensors/branches/main/run/own.safetensors"), "system.posix_acl_access")
	wantErrno(t, "ACL in a view", err, syscall.ENOTSUP)
	if err := os.Remove(m.path("tags", "v1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the view of a removed tag is gone", func() bool {
		_, err := os.Stat(m.path("views/safetensors/tags/v1"))
		return errors.Is(err, syscall.ENOENT)
	})
}

// TestViewsDecodeNothing: names, sizes and times of views come from tables alone; what is read is decoded, and no more.
func TestViewsDecodeNothing(t *testing.T) {
	m := mount(t, daemonConfig{})
	id := viewRepo(t, m)
	m.run("drop", nil)
	decoded := func() (n int64) {
		t.Helper()
		m.run("decoded", &n)
		return n
	}
	was, files := decoded(), 0
	err := filepath.WalkDir(m.path("views"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			files++
		}
		return err
	})
	if err != nil || files != 2*(len(wantRun)+2+3) {
		t.Errorf("%d files, %v", files, err)
	}
	if now := decoded(); now != was {
		t.Errorf("a walk decoded %d blocks", now-was)
	}
	if _, err := os.ReadFile(m.path("views", "safetensors", "commits", id.String(), "run", "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if now := decoded(); now == was {
		t.Error("a read decoded nothing: the counter proves nothing")
	}
}

// TestLiveView: the view of a branch follows its live tree, and shows no weights that are not stored yet.
func TestLiveView(t *testing.T) {
	m := mount(t, daemonConfig{})
	at := func(name string) string { return m.path("views", "safetensors", "branches", "main", name) }
	write(t, m.main("model.pt"), fixture(t, "torchzip/plain.pt"))
	m.snapshot("one")
	one, err := os.ReadFile(at("model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(at("model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()

	w, err := os.OpenFile(m.main("model.pt"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(at("model.safetensors"))
	wantErrno(t, "stat of the view of a file that is being written", err, syscall.ENOENT)
	if _, err := w.Write(fixture(t, "torchzip/adam.pt")); err != nil {
		t.Fatal(err)
	}
	if err := w.Truncate(int64(len(fixture(t, "torchzip/adam.pt")))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m.snapshot("two")
	two, err := os.ReadFile(at("model.safetensors"))
	if err != nil || bytes.Equal(one, two) {
		t.Errorf("the view does not follow the file: %v", err)
	}
	again := make([]byte, len(one))
	if n, err := held.ReadAt(again, 0); n != len(one) || !bytes.Equal(again, one) {
		t.Errorf("an open view changed: %d, %v", n, err)
	}

	write(t, m.main("new.safetensors"), one) // not stored, but what it is called
	wantBytes(t, at("new.safetensors"), one)
	f, err := os.OpenFile(m.main("new.safetensors"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'x'}, 8); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(one)
	changed[8] = 'x'
	wantBytes(t, at("new.safetensors"), changed)
	if err := os.Rename(m.main("model.pt"), m.main("other.pt")); err != nil {
		t.Fatal(err)
	}
	if got := m.ls("views", "safetensors", "branches", "main"); !slices.Equal(got, []string{"new.safetensors", "other.safetensors"}) {
		t.Errorf("lists %q", got)
	}
	wantBytes(t, at("other.safetensors"), two)
}

// TestViewInParallel: many readers of one view, at random places and through mappings, all see the same bytes.
func TestViewInParallel(t *testing.T) {
	m := mount(t, daemonConfig{})
	id := viewRepo(t, m)
	m.run("drop", nil)
	path := m.path("views", "safetensors", "commits", id.String(), "run", "views.safetensors")
	want, err := os.ReadFile(m.path("views", "safetensors", "branches", "main", "run", "views.safetensors")) // another inode: path's pages are cold
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 30 {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				off := r.Int64N(int64(len(want)))
				b := make([]byte, 1+r.IntN(len(want)-int(off)))
				if _, err := f.ReadAt(b, off); err != nil || !bytes.Equal(b, want[off:][:len(b)]) {
					t.Errorf("%d bytes at %d: %v", len(b), off, err)
				}
				p, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
				f.Close()
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(p, want) {
					t.Error("a mapping shows other bytes")
				}
				if err := unix.Munmap(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestViewSurvives: a killed daemon and a read-only mount show the same views.
func TestViewSurvives(t *testing.T) {
	m := mount(t, daemonConfig{})
	id := viewRepo(t, m)
	path := m.path("views", "safetensors", "commits", id.String(), "run", "model.safetensors")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.kill()
	m.start(daemonConfig{ReadOnly: true})
	wantBytes(t, path, want)
	wantBytes(t, m.path("views", "safetensors", "branches", "main", "run", "model.safetensors"), want)
}
