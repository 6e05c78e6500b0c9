package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// fixture is format-N.json: what testdata/repos/make.py put into format-N.tar.gz.
type fixture struct {
	Format  int
	Head    string
	Commits []fixtureCommit
	Tags    map[string]struct{ Commit, Message string }
	Live    map[string]fixtureTree
	Links   [][]string                   `json:"live_links"`
	Xattrs  map[string]map[string]string `json:"live_xattrs"`
	Stats   map[string]float64
}

type fixtureCommit struct {
	Commit, Tree, Author, Time, Message string
	Parents                             []string
	Metrics                             map[string]float64
	Labels                              map[string]string
	Files                               fixtureTree
}

// fixtureTree maps paths, percent-encoded, to what is there.
type fixtureTree map[string]fixtureEntry

// fixtureEntry is a file, directory or link. Directories of commits have no mtime, links no mode.
type fixtureEntry struct {
	Kind, Mode string
	MTime      int64 `json:"mtime_ns"`
	Size       int64
	SHA256     string
	Target     string
}

// TestCompatibility opens the fixture repository of every format that was ever released: this version must check, list, export, mount,
// read and extend each of them.
func TestCompatibility(t *testing.T) {
	archives, err := filepath.Glob("testdata/repos/format-*.tar.gz")
	must(t, err)
	if len(archives) == 0 {
		t.Fatal("no fixture repository in testdata/repos")
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.gz"), func(t *testing.T) {
			f := readFixture(t, strings.TrimSuffix(archive, ".tar.gz")+".json")
			t.Run("without a mount", func(t *testing.T) { compatStore(t, fixtureRepo(t, archive), f) })
			t.Run("mounted read-only", func(t *testing.T) { compatReadOnly(t, fixtureRepo(t, archive), f) })
			t.Run("mounted and extended", func(t *testing.T) { compatMount(t, fixtureRepo(t, archive), f) })
			t.Run("index rebuilt", func(t *testing.T) { compatRebuild(t, fixtureRepo(t, archive), f) })
		})
	}
}

func readFixture(t *testing.T, name string) *fixture {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	var f fixture
	must(t, json.Unmarshal(b, &f))
	if len(f.Commits) < 3 || len(f.Live) < 2 {
		t.Fatalf("%s: %d commits, %d live trees: not what make.py writes", name, len(f.Commits), len(f.Live))
	}
	return &f
}

// fixtureRepo unpacks a fixture over a new repository of this test.
func fixtureRepo(t *testing.T, archive string) *mounttest.Repo {
	t.Helper()
	r := mounttest.New(t)
	must(t, os.RemoveAll(filepath.Join(r.Dir, ".coral")))
	in, err := os.Open(archive)
	must(t, err)
	defer in.Close()
	z, err := gzip.NewReader(in)
	must(t, err)
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return r
		}
		must(t, err)
		must(t, unpack(filepath.Join(r.Dir, filepath.FromSlash(h.Name)), h, tr))
	}
}

func unpack(to string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return os.Mkdir(to, h.FileInfo().Mode().Perm())
	}
	b, err := io.ReadAll(content)
	if err == nil {
		err = os.WriteFile(to, b, h.FileInfo().Mode().Perm())
	}
	if err == nil {
		err = os.Chtimes(to, h.ModTime, h.ModTime)
	}
	return err
}

func compatStore(t *testing.T, r *mounttest.Repo, f *fixture) {
	r.Coral("fsck", "--full")
	compatLog(t, r, f)
	compatTags(t, r, f)
	var stats map[string]any
	r.JSON(&stats, "stats")
	for k, want := range f.Stats {
		if got := stats[k]; got != want {
			t.Errorf("stats: %s = %v, want %v", k, got, want)
		}
	}
	for _, c := range f.Commits {
		dir := filepath.Join(t.TempDir(), "out")
		r.Coral("export", c.Commit, dir)
		wantTree(t, dir, c.Files, asWritten)
	}
	c := f.Commits[0]
	for p, e := range c.Files {
		if e.Kind != "file" {
			continue
		}
		if sum := sha256.Sum256([]byte(r.Coral("cat", c.Commit+":"+decoded(t, p)))); hex.EncodeToString(sum[:]) != e.SHA256 {
			t.Errorf("coral cat %s:%s differs", c.Commit[:12], p)
		}
	}
	r.Coral("fsck", "--full")
}

func compatReadOnly(t *testing.T, r *mounttest.Repo, f *fixture) {
	r.Mount("--ro")
	for _, c := range f.Commits {
		wantTree(t, r.Commit(c.Commit), c.Files, frozen)
	}
	for branch, tree := range f.Live {
		wantTree(t, filepath.Join(r.Mnt, "branches", branch), tree, asWritten)
	}
	r.Unmount()
	r.Coral("fsck", "--full")
}

func compatMount(t *testing.T, r *mounttest.Repo, f *fixture) {
	r.Mount()
	if to, err := os.Readlink(filepath.Join(r.Mnt, "HEAD")); err != nil || to != "branches/"+f.Head {
		t.Errorf("HEAD -> %q, %v", to, err)
	}
	compatLive(t, r, f)
	for _, c := range f.Commits {
		wantTree(t, r.Commit(c.Commit[:12]), c.Files, frozen)
	}

	// A snapshot on top of each branch holds its live tree; one more file becomes a delta of an old one.
	model := filepath.Join(r.Mnt, "branches", f.Head, "run/checkpoint-2/model.safetensors")
	b, err := os.ReadFile(model)
	must(t, err)
	b[len(b)-70_000] ^= 1
	must(t, os.WriteFile(filepath.Join(r.Mnt, "branches", f.Head, "extended.safetensors"), b, 0o644))
	ids := map[string]string{}
	for branch := range f.Live {
		ids[branch] = r.Snapshot("on top", "-b", branch, "--allow-empty")
	}
	r.Unmount()
	r.Coral("fsck", "--full")
	compatLog(t, r, f)
	r.Coral("gc", "--full", "--keep", "0")
	r.Coral("fsck", "--full")
	r.Mount()
	r.Want(r.Commit(ids[f.Head], "extended.safetensors"), b)
	must(t, os.Remove(filepath.Join(r.Mnt, "branches", f.Head, "extended.safetensors")))
	compatLive(t, r, f)
	for branch, id := range ids {
		tree := maps.Clone(f.Live[branch])
		if branch == f.Head {
			sum := sha256.Sum256(b)
			tree["extended.safetensors"] = fixtureEntry{Kind: "file", Mode: "0644", Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
		}
		wantTree(t, r.Commit(id), tree, frozen)
	}
	r.Unmount()
}

func compatRebuild(t *testing.T, r *mounttest.Repo, f *fixture) {
	must(t, os.Remove(filepath.Join(r.Dir, ".coral/index.db")))
	r.Coral("fsck", "--full")
	compatLog(t, r, f)
	r.Coral("fsck", "--full", "--rebuild-index")
}

// compatLive compares the live trees, their hard links and attributes.
func compatLive(t *testing.T, r *mounttest.Repo, f *fixture) {
	t.Helper()
	for branch, tree := range f.Live {
		wantTree(t, filepath.Join(r.Mnt, "branches", branch), tree, asWritten)
	}
	for _, names := range f.Links {
		first, err := os.Stat(r.Live(names[0]))
		must(t, err)
		for _, name := range names[1:] {
			other, err := os.Stat(r.Live(name))
			must(t, err)
			if n := other.Sys().(*syscall.Stat_t).Nlink; !os.SameFile(first, other) || int(n) != len(names) {
				t.Errorf("%s and %s are not one file of %d links (has %d)", names[0], name, len(names), n)
			}
		}
	}
	for path, attrs := range f.Xattrs {
		for name, want := range attrs {
			b := make([]byte, 1024)
			n, err := syscall.Getxattr(r.Live(path), name, b)
			if err != nil || string(b[:n]) != want {
				t.Errorf("%s: %s = %q, %v, want %q", path, name, b[:max(n, 0)], err, want)
			}
		}
	}
}

func compatLog(t *testing.T, r *mounttest.Repo, f *fixture) {
	t.Helper()
	var log []fixtureCommit
	r.JSON(&log, "log", "--all")
	for _, want := range f.Commits {
		i := slices.IndexFunc(log, func(c fixtureCommit) bool { return c.Commit == want.Commit })
		if i < 0 {
			t.Errorf("coral log --all: no commit %s (%s)", want.Commit, want.Message)
			continue
		}
		got := log[i]
		if got.Tree != want.Tree || got.Author != want.Author || got.Time != want.Time || got.Message != want.Message ||
			!slices.Equal(got.Parents, want.Parents) || !maps.Equal(got.Metrics, want.Metrics) || !maps.Equal(got.Labels, want.Labels) {
			want.Files = nil
			t.Errorf("coral log --all: %+v, want %+v", got, want)
		}
	}
}

func compatTags(t *testing.T, r *mounttest.Repo, f *fixture) {
	t.Helper()
	var tags []struct{ Name, Commit, Message string }
	r.JSON(&tags, "tag")
	if len(tags) != len(f.Tags) {
		t.Errorf("coral tag: %v, want %v", tags, f.Tags)
	}
	for _, tag := range tags {
		if want := f.Tags[tag.Name]; tag.Commit != want.Commit || tag.Message != want.Message {
			t.Errorf("tag %s: %+v, want %+v", tag.Name, tag, want)
		}
	}
}

// asWritten and frozen are what modes a tree shows: those that it was given, or those of a mounted commit, whose
// directories are 0555 and whose files nobody may write to.
const (
	asWritten = false
	frozen    = true
)

// wantTree compares a directory with what should be there, and nothing else.
func wantTree(t *testing.T, dir string, want fixtureTree, frozen bool) {
	t.Helper()
	left := maps.Clone(want)
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		for encoded := range left {
			if decoded(t, encoded) == rel {
				compareEntry(t, p, left[encoded], frozen)
				delete(left, encoded)
				return nil
			}
		}
		t.Errorf("%q should not be there", p)
		return nil
	}))
	for p := range left {
		t.Errorf("%s: %s is missing", dir, p)
	}
}

func compareEntry(t *testing.T, p string, want fixtureEntry, frozen bool) {
	t.Helper()
	var mode uint32
	if _, err := fmt.Sscanf(want.Mode, "%o", &mode); frozen && err == nil {
		if mode &^= 0o222; want.Kind == "dir" {
			mode = 0o555
		}
		want.Mode = fmt.Sprintf("%04o", mode)
	}
	got := fixtureEntry{MTime: want.MTime}
	var st syscall.Stat_t
	must(t, syscall.Lstat(p, &st))
	if want.MTime != 0 {
		got.MTime = time.Unix(st.Mtim.Unix()).UnixNano()
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		got.Kind, got.Mode = "dir", fmt.Sprintf("%04o", st.Mode&0o7777)
	case syscall.S_IFLNK:
		target, err := os.Readlink(p)
		must(t, err)
		got.Kind, got.Target = "symlink", target
	case syscall.S_IFREG:
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			t.Logf("%q belongs to root, whom the fixture was made by: not read", p)
			return
		}
		must(t, err)
		sum := sha256.Sum256(b)
		got.Kind, got.Mode, got.Size, got.SHA256 = "file", fmt.Sprintf("%04o", st.Mode&0o7777), int64(len(b)), hex.EncodeToString(sum[:])
	}
	if got != want {
		t.Errorf("%q: %+v, want %+v", p, got, want)
	}
}

func decoded(t *testing.T, path string) string {
	t.Helper()
	s, err := url.PathUnescape(path)
	must(t, err)
	return s
}

// TestNewerFormat: a repository of a later format is refused, in one line that says what to do, and nothing in it is touched.
func TestNewerFormat(t *testing.T) {
	r := mounttest.New(t)
	config := filepath.Join(r.Dir, ".coral/repo.json")
	newer := []byte(`{"format":99,"created":"2030-01-02T03:04:05Z","something":"new"}`)
	must(t, os.WriteFile(config, newer, 0o644))
	for _, args := range [][]string{{"log"}, {"fsck"}, {"snapshot", "-m", "x", "--allow-empty"}, {"mount", r.Mnt}, {"gc"}} {
		_, errOut, code := r.Try(args...)
		if code != 1 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "format 99") || !strings.Contains(errOut, "upgrade") {
			t.Errorf("coral %v: exit %d, %q: want a refusal that names format 99 and says to upgrade", args, code, errOut)
		}
	}
	if b, err := os.ReadFile(config); err != nil || !bytes.Equal(b, newer) {
		t.Errorf("repo.json: %q, %v", b, err)
	}
}
