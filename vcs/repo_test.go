package vcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

var bg = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, class error, mentions ...string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("got %v, want one of class %q", err, class)
		return
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("error %q does not mention %q", err, m)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of more than one line: %q", err)
	}
}

// newRepo makes a repository, and at the test's end checks all of it and closes it.
func newRepo(t *testing.T) *Repo {
	t.Helper()
	t.Setenv("CORAL_AUTHOR", "Ann <ann@example.org>")
	dir := t.TempDir()
	must(t, Init(dir))
	return openRepo(t, filepath.Join(dir, DirName))
}

func openRepo(t *testing.T, dir string) *Repo {
	t.Helper()
	r, err := Open(bg, dir, Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	must(t, err)
	t.Cleanup(func() {
		if !t.Failed() && !t.Skipped() {
			rep, err := r.Fsck(bg, FsckOptions{Full: true})
			if !slices.Contains(damagedTests, t.Name()) && !errors.Is(err, os.ErrClosed) && (err != nil || len(rep.Damage)+len(rep.Damaged)+len(rep.LostFound) > 0) {
				t.Errorf("fsck at the end: %+v, %v", rep, err)
			}
		}
		must(t, r.Close(bg))
	})
	return r
}

// damagedTests leave a repository behind that is damaged on purpose.
var damagedTests = []string{"TestFsckNamesDamage", "TestFsckMissingObjects"}

func reopen(t *testing.T, r *Repo) *Repo {
	t.Helper()
	must(t, r.Close(bg))
	return openRepo(t, r.Dir)
}

// writeTree writes files (name → content) to a new directory. A content that begins with "->" is a symlink; a name that ends with "/" is a directory.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	old := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	for name, text := range files {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch target, link := strings.CutPrefix(text, "->"); {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case link:
			must(t, os.Symlink(target, p))
		default:
			must(t, os.WriteFile(p, []byte(text), 0o640))
			must(t, os.Chtimes(p, old, old))
		}
	}
	return dir
}

func noise(n int, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

func add(t *testing.T, r *Repo, files map[string]string) {
	t.Helper()
	_, _, err := r.Add(bg, "main", writeTree(t, files), "", nil)
	must(t, err)
}

func snap(t *testing.T, r *Repo, message string) oid.ID {
	t.Helper()
	res, err := r.Snapshot(bg, SnapshotOptions{Message: message})
	must(t, err)
	if res.Unchanged {
		t.Fatalf("snapshot %q: unchanged", message)
	}
	return res.Commit
}

// sameTree compares two directories: names, kinds, modes, contents, targets, and times of files.
func sameTree(t *testing.T, got, want string) {
	t.Helper()
	list := func(root string) map[string]string {
		out := map[string]string{}
		must(t, filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
			if err != nil || p == root {
				return err
			}
			rel, _ := filepath.Rel(root, p)
			s := info.Mode().String()
			switch info.Mode().Type() {
			case 0:
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				s += fmt.Sprintf(" %d %s %s", len(b), oid.Sum(b), info.ModTime().UTC())
			case os.ModeSymlink:
				target, err := os.Readlink(p)
				if err != nil {
					return err
				}
				s += " " + target
			}
			out[rel] = s
			return nil
		}))
		return out
	}
	g, w := list(got), list(want)
	for name := range w {
		if g[name] != w[name] {
			t.Errorf("%s: got %q, want %q", name, g[name], w[name])
		}
	}
	for name := range g {
		if _, ok := w[name]; !ok {
			t.Errorf("%s: unexpected", name)
		}
	}
}

func sampleFiles() map[string]string {
	return map[string]string{
		"model/config.json": `{"hidden": 384}`, "model/weights.bin": noise(300_000, 1), "model/zero": strings.Repeat("\x00", 100_000),
		"empty": "", "link": "->model/config.json", "dangling": "->/nowhere", "a b/ünï\xff": "x", "hollow/": "", "deep/er/est/f": "y",
	}
}

func TestInitOpen(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(bg, filepath.Join(dir, DirName), Options{})
	wantErr(t, err, errs.NotFound, "coral init")
	must(t, Init(filepath.Join(dir, "new", "er")))
	wantErr(t, Init(filepath.Join(dir, "new", "er")), errs.Exist, DirName)

	root := filepath.Join(dir, "new", "er", DirName)
	config, err := os.ReadFile(filepath.Join(root, configName))
	must(t, err)
	var c configFile
	if err := json.Unmarshal(config, &c); err != nil || c.Format != 1 || c.Created.IsZero() {
		t.Errorf("repo.json: %s, %v", config, err)
	}
	for _, tc := range []struct {
		text  string
		class error
		says  string
	}{
		{`{"format":2}`, errs.Unsupported, "upgrade"}, {`{}`, errs.Unsupported, "format 0"},
		{`nonsense`, errs.Corrupt, configName}, {strings.Repeat(" ", maxConfig) + string(config), errs.Corrupt, configName},
	} {
		must(t, os.WriteFile(filepath.Join(root, configName), []byte(tc.text), 0o644))
		_, err = Open(bg, root, Options{})
		wantErr(t, err, tc.class, tc.says)
	}
	// A killed Init, before repo.json: it can be repeated.
	must(t, os.Remove(filepath.Join(root, configName)))
	must(t, Init(filepath.Join(dir, "new", "er")))
	r, err := Open(bg, root, Options{})
	must(t, err)
	must(t, r.Close(bg))
	must(t, r.Close(bg))
}

func TestAddSnapshotExport(t *testing.T) {
	r := newRepo(t)
	src := writeTree(t, sampleFiles())
	must(t, os.Chmod(filepath.Join(src, "model"), 0o700))
	must(t, os.Chmod(filepath.Join(src, "empty"), 0o4755))
	must(t, os.Chmod(filepath.Join(src, "deep/er"), 0o550))
	var last int
	files, size, err := r.Add(bg, "main", src, "", func(n int, _ int64) { last = n })
	must(t, err)
	if files != 8 || last != 8 || size != 400_000+15+2 {
		t.Errorf("added %d (reported %d) files of %d bytes", files, last, size)
	}
	metrics := map[string]float64{"loss": 0.41}
	res, err := r.Snapshot(bg, SnapshotOptions{Message: "step 500\n\nbody\n", Metrics: metrics, Labels: map[string]string{"run": "a"}, Tag: "v1"})
	must(t, err)
	if res.Branch != "main" || res.Unchanged || !res.Parent.IsZero() || res.StoredBytes < 300_000 || res.Commit.IsZero() {
		t.Errorf("result %+v", res)
	}
	c, err := r.Objects.Commit(bg, res.Commit)
	must(t, err)
	if c.Author != "Ann <ann@example.org>" || c.Message != "step 500\n\nbody" || c.Metrics["loss"] != 0.41 || c.Labels["run"] != "a" || len(c.Parents) != 0 || c.Tree != res.Tree {
		t.Errorf("commit %+v", c)
	}
	r = reopen(t, r)
	dst := filepath.Join(t.TempDir(), "sub", "out")
	must(t, r.Export(bg, res.Commit, "", dst, func(n int, _ int64) { last = n }))
	sameTree(t, dst, src)
	if info, err := os.Stat(filepath.Join(dst, "model")); err != nil || !info.ModTime().Equal(c.Time) {
		t.Errorf("directory's time %v, %v, want the commit's %v", info.ModTime(), err, c.Time)
	}
	wantErr(t, r.Export(bg, res.Commit, "", dst, nil), errs.NotEmpty, dst)
	part, one := t.TempDir(), t.TempDir()
	must(t, r.Export(bg, res.Commit, "model", part, nil))
	sameTree(t, part, filepath.Join(src, "model"))
	must(t, r.Export(bg, res.Commit, "/model/weights.bin", one, nil))
	if b, err := os.ReadFile(filepath.Join(one, "weights.bin")); err != nil || string(b) != sampleFiles()["model/weights.bin"] {
		t.Errorf("one file: %d bytes, %v", len(b), err)
	}
	wantErr(t, r.Export(bg, res.Commit, "nope", filepath.Join(t.TempDir(), "x"), nil), errs.NotFound, "nope")

	if tag, err := r.Refs.Tag("v1"); err != nil || tag.ID != res.Commit {
		t.Errorf("tag %+v, %v", tag, err)
	}
	_, err = r.Snapshot(bg, SnapshotOptions{Tag: "v1", AllowEmpty: true})
	wantErr(t, err, errs.Exist, "v1")
	again, err := r.Snapshot(bg, SnapshotOptions{Message: "again"})
	must(t, err)
	if !again.Unchanged || again.Commit != res.Commit || !again.Parent.IsZero() {
		t.Errorf("nothing changed: %+v", again)
	}
	forced, err := r.Snapshot(bg, SnapshotOptions{Message: "empty", AllowEmpty: true})
	must(t, err)
	if forced.Unchanged || forced.Parent != res.Commit || forced.Tree != res.Tree {
		t.Errorf("AllowEmpty: %+v", forced)
	}
}

func TestAddReplacesAndRefuses(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"a": "one", "dir/x": "1", "l": "->a"})
	src := writeTree(t, map[string]string{"a": "two", "dir/y": "2", "l": "now a file"})
	_, _, err := r.Add(bg, "main", src, "", nil)
	must(t, err)
	_, _, err = r.Add(bg, "main", filepath.Join(src, "a"), "new/path/b", nil)
	must(t, err)
	_, _, err = r.Add(bg, "main", filepath.Join(src, "a"), "", nil) // its own name
	must(t, err)
	_, _, err = r.Add(bg, "main", src, "copy", nil)
	must(t, err)
	_, _, err = r.Add(bg, "main", filepath.Join(src, "a"), "dir", nil)
	wantErr(t, err, errs.IsDir, "dir")
	_, _, err = r.Add(bg, "main", src, "a", nil)
	wantErr(t, err, errs.NotDir, "a")
	_, _, err = r.Add(bg, "main", src, "x/../y", nil)
	wantErr(t, err, errs.Invalid, "..")
	_, _, err = r.Add(bg, "none", src, "", nil)
	wantErr(t, err, errs.NotFound, "none")
	_, _, err = r.Add(bg, "main", filepath.Join(src, "missing"), "", nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing source: %v", err)
	}
	_, _, err = r.Add(bg, "main", r.Dir, "repo", nil)
	wantErr(t, err, errs.Invalid, "repository")
	_, _, err = r.Add(bg, "main", filepath.Join(r.Dir, "packs"), "repo", nil)
	wantErr(t, err, errs.Invalid, "repository")
	link := filepath.Join(t.TempDir(), "l")
	must(t, os.Symlink(filepath.Dir(r.Dir), link))
	_, _, err = r.Add(bg, "main", filepath.Join(link, DirName), "repo", nil)
	wantErr(t, err, errs.Invalid, "repository")
	// The directory that the repository is in: all but the repository.
	must(t, os.WriteFile(filepath.Join(filepath.Dir(r.Dir), "beside"), nil, 0o644))
	_, _, err = r.Add(bg, "main", filepath.Dir(r.Dir), "parent", nil)
	must(t, err)

	id := snap(t, r, "x")
	dst := t.TempDir()
	must(t, r.Export(bg, id, "", dst, nil))
	var got []string
	must(t, filepath.Walk(dst, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			b, _ := os.ReadFile(p)
			got = append(got, strings.TrimPrefix(p, dst+"/")+"="+string(b))
		}
		return err
	}))
	want := "a=two copy/a=two copy/dir/y=2 copy/l=now a file dir/x=1 dir/y=2 l=now a file new/path/b=two parent/beside="
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

// An add that fails half way leaves neither half a file nor its temporary one, and the old content.
func TestAddCancelled(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"big": "old"})
	src := writeTree(t, map[string]string{"big": noise(5<<20, 3), "aaa": "first"})
	ctx, cancel := context.WithCancel(bg)
	_, _, err := r.Add(ctx, "main", src, "", func(int, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	list, err := live.Readdir(bg, live.Root())
	must(t, err)
	for _, e := range list {
		if strings.HasPrefix(e.Name, addTemp) {
			t.Errorf("%s is left", e.Name)
		}
	}
}

func TestHistory(t *testing.T) {
	r := newRepo(t)
	var ids []oid.ID
	for i := range 50 {
		live, err := r.LiveTree(bg, "main")
		must(t, err)
		write(t, live, "counter", fmt.Sprint(i))
		ids = append(ids, snap(t, r, fmt.Sprintf("step %d", i)))
	}
	r = reopen(t, r)
	for _, tc := range []struct {
		rev  string
		want oid.ID
	}{
		{"", ids[49]}, {"HEAD", ids[49]}, {"@", ids[49]}, {"main", ids[49]}, {"branches/main", ids[49]}, {"HEAD~0", ids[49]}, {"@~", ids[48]}, {"main^", ids[48]},
		{"HEAD~2^", ids[46]}, {"main~49", ids[0]}, {"main^0", ids[49]}, {"main^1~3^^", ids[43]}, {ids[7].String(), ids[7]}, {ids[7].Short(), ids[7]},
		{strings.ToUpper(ids[7].String()), ids[7]}, {strings.ToUpper(ids[7].Short()), ids[7]}, {ids[7].Short() + "~7", ids[0]}, {"commits/" + ids[3].Short(), ids[3]}, {"~1", ids[48]},
	} {
		if got, err := r.Resolve(bg, tc.rev); err != nil || got != tc.want {
			t.Errorf("Resolve(%q) = %s, %v; want %s", tc.rev, got.Short(), err, tc.want.Short())
		}
	}
	for _, tc := range []struct {
		rev   string
		class error
		says  string
	}{
		{"main~50", errs.NotFound, "49 steps"}, {"main^2", errs.NotFound, "parent 2"}, {"nope", errs.NotFound, "nope"}, {"abc", errs.NotFound, "abc"}, {"0000", errs.NotFound, "0000"},
		{"main~x", errs.Invalid, "x"}, {"main~99999999999", errs.Invalid, "too many"}, {"main^^{commit}", errs.Invalid, "{commit}"}, {"tags/main", errs.NotFound, "main"},
		{strings.Repeat("0", 64), errs.NotFound, "000000"}, {strings.Repeat("0", 65), errs.NotFound, "000"}, {"branches/", errs.NotFound, ""}, {"../x", errs.NotFound, ""},
	} {
		_, err := r.Resolve(bg, tc.rev)
		wantErr(t, err, tc.class, tc.says)
	}
	c, err := r.Objects.Commit(bg, ids[5])
	must(t, err)
	_, err = r.Resolve(bg, c.Tree.String())
	wantErr(t, err, errs.Invalid, "tree")

	for _, all := range []bool{false, true} {
		var got []oid.ID
		must(t, r.Log(bg, ids[49], all, func(id oid.ID, c *object.Commit) bool { got = append(got, id); return len(got) < 40 }))
		want := slices.Clone(ids[10:])
		slices.Reverse(want)
		if !slices.Equal(got, want) {
			t.Errorf("log (all %v): %d commits, or in the wrong order", all, len(got))
		}
	}
	for i, id := range []oid.ID{ids[0], ids[25], ids[49]} {
		dst := t.TempDir()
		must(t, r.Export(bg, id, "", dst, nil))
		if b, err := os.ReadFile(filepath.Join(dst, "counter")); err != nil || string(b) != []string{"0", "25", "49"}[i] {
			t.Errorf("counter of %s: %s, %v", id.Short(), b, err)
		}
	}
	s, err := r.Stats(bg)
	must(t, err)
	if s.Commits != 50 || s.Files != 50 || s.LogicalBytes != 90 || s.UniqueBytes != 90 || s.Branches != 1 || s.Tags != 0 || s.StoredBytes <= 0 {
		t.Errorf("stats %+v", s)
	}
}

// write replaces the content of a file in the root of a live tree.
func write(t testing.TB, live *worktree.Tree, name, text string) {
	t.Helper()
	a, err := live.Lookup(bg, live.Root(), name)
	var h *worktree.Handle
	if errors.Is(err, errs.NotFound) {
		_, h, err = live.Create(bg, live.Root(), name, 0o644, 0, 0, os.O_RDWR)
	} else if err == nil {
		h, err = live.Open(bg, a.Ino, os.O_RDWR|os.O_TRUNC)
	}
	must(t, err)
	_, err = h.WriteAt(bg, []byte(text), 0)
	must(t, err)
	must(t, h.Close())
}

func TestLogOfMerges(t *testing.T) {
	r := newRepo(t)
	put := func(at int, parents ...oid.ID) oid.ID {
		tree, err := r.Objects.PutTree(bg, &object.Tree{})
		must(t, err)
		id, err := r.Objects.PutCommit(bg, &object.Commit{Tree: tree, Parents: parents, Time: time.Unix(int64(at), 0), Message: fmt.Sprint(at)})
		must(t, err)
		return id
	}
	a := put(1)
	b := put(2, a)
	c := put(3, a)
	d := put(4, b)
	m := put(5, d, c)
	log := func(all bool) string {
		var out []string
		must(t, r.Log(bg, m, all, func(_ oid.ID, c *object.Commit) bool { out = append(out, c.Message); return true }))
		return strings.Join(out, " ")
	}
	if got := log(false); got != "5 4 2 1" {
		t.Errorf("first parents: %s", got)
	}
	if got := log(true); got != "5 4 3 2 1" {
		t.Errorf("all: %s", got)
	}
	must(t, r.Packs.Sync(bg))
	must(t, r.CreateBranch(bg, "merged", m))
	for rev, want := range map[string]oid.ID{"merged^2": c, "merged^2^": a, "merged~": d} {
		if got, err := r.Resolve(bg, rev); err != nil || got != want {
			t.Errorf("Resolve(%s) = %s, %v", rev, got.Short(), err)
		}
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := r.Log(ctx, m, false, func(oid.ID, *object.Commit) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled log: %v", err)
	}
}

func TestLookup(t *testing.T) {
	r := newRepo(t)
	add(t, r, sampleFiles())
	c, err := r.Objects.Commit(bg, snap(t, r, "x"))
	must(t, err)
	for path, kind := range map[string]object.FileKind{"": object.Dir, "/": object.Dir, "model": object.Dir, "model/config.json": object.File, "link": object.Symlink, "/deep/er/est/f/": object.File} {
		if e, err := r.Lookup(bg, c.Tree, path); err != nil || e.Kind != kind {
			t.Errorf("Lookup(%q) = %s, %v", path, e.Kind, err)
		}
	}
	for path, class := range map[string]error{"nope": errs.NotFound, "empty/x": errs.NotDir, "link/x": errs.NotDir, "a/../b": errs.NotFound, "model/..": errs.Invalid, "model//x": errs.Invalid, strings.Repeat("x", 300): errs.NameTooLong} {
		_, err := r.Lookup(bg, c.Tree, path)
		wantErr(t, err, class)
	}
	if e, err := r.Lookup(bg, oid.ID{}, ""); err != nil || e.Kind != object.Dir {
		t.Errorf("the empty tree: %v, %v", e, err)
	}
	_, err = r.Lookup(bg, oid.ID{}, "x")
	wantErr(t, err, errs.NotFound)
}

func TestReadOnly(t *testing.T) {
	r := newRepo(t)
	add(t, r, sampleFiles())
	id := snap(t, r, "x")
	must(t, r.Close(bg))
	before := listing(t, r.Dir)
	ro, err := Open(bg, r.Dir, Options{ReadOnly: true})
	must(t, err)
	dst := t.TempDir()
	must(t, ro.Export(bg, id, "", dst, nil))
	_, err = ro.Snapshot(bg, SnapshotOptions{AllowEmpty: true})
	wantErr(t, err, errs.ReadOnly)
	_, _, err = ro.Add(bg, "main", dst, "", nil)
	wantErr(t, err, errs.ReadOnly)
	wantErr(t, ro.CreateBranch(bg, "b", id), errs.ReadOnly)
	wantErr(t, ro.CreateTag(bg, "t", id, "", ""), errs.ReadOnly)
	_, err = ro.GC(bg, 0, true, false)
	wantErr(t, err, errs.ReadOnly)
	if rep, err := ro.Fsck(bg, FsckOptions{Full: true}); err != nil || len(rep.Damage)+len(rep.Damaged) > 0 || rep.Files != 6 {
		t.Errorf("fsck: %+v, %v", rep, err)
	}
	if _, err := ro.Stats(bg); err != nil {
		t.Error(err)
	}
	must(t, ro.Close(bg))
	if after := listing(t, r.Dir); after != before {
		t.Errorf("a read-only open changed the repository:\n%s\nwas\n%s", after, before)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	must(t, filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			fmt.Fprintln(&b, p, info.Size(), info.ModTime())
		}
		return err
	}))
	return b.String()
}

// TestInitIsPrivate: nobody else can look into a repository's own directory; the directory it is in stays ordinary.
func TestInitIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "models")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{filepath.Join(dir, DirName): 0o700, dir: 0o755} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode().Perm(), want)
		}
	}
}
