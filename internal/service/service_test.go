package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
)

// newRepo makes a repository and returns its .coral directory.
func newRepo(t *testing.T) string {
	t.Helper()
	t.Setenv("CORAL_AUTHOR", "Test <test@localhost>")
	res, err := Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(res.Repo, repoDir)
}

func open(t *testing.T, dir string, opts Options) *Service {
	t.Helper()
	s, err := Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// do runs a command line, as the control file would, and decodes its reply.
func do(t *testing.T, s *Service, line string, into any) {
	t.Helper()
	reply, err := s.Run(t.Context(), line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if into != nil {
		if err := json.Unmarshal(reply, into); err != nil {
			t.Fatalf("%s: %v in %s", line, err, reply)
		}
	}
}

// fails runs a command line that must fail with a class and a text in its message.
func fails(t *testing.T, s *Service, line string, class error, text string) {
	t.Helper()
	reply, err := s.Run(t.Context(), line)
	if !errors.Is(err, class) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", line, err, class, text)
	}
	var r struct {
		Error *control.Error `json:"error"`
	}
	if uerr := json.Unmarshal(reply, &r); uerr != nil || r.Error == nil || err != nil && r.Error.Message != control.OneLine(err.Error()) {
		t.Errorf("%s: reply %s for %v", line, reply, err)
	}
}

// files writes files and returns their directory.
func files(t *testing.T, m map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range m {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestStory(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	src := files(t, map[string]string{"run/a.bin": strings.Repeat("weights", 10_000), "run/sub/b.txt": "hello", "c": "c"})
	var added AddResult
	do(t, s, "add "+Quote(src+"/run")+" "+Quote(src+"/c")+" --to ckpt", &added)
	if added.Files != 3 || added.Branch != "main" || !slices.Equal(added.Paths, []control.Text{"ckpt/run", "ckpt/c"}) {
		t.Errorf("add: %+v", added)
	}
	var st StatusResult
	do(t, s, "status", &st)
	if len(st.Dirty) != 3 || st.Branch != "main" || !st.Head.IsZero() || st.Daemon != nil {
		t.Errorf("status: %+v", st)
	}
	var first, second, same vcs.SnapshotResult
	do(t, s, `snapshot -m "step 1" --metric loss=0.5 --metric x=nan --label run=a -t v1`, &first)
	do(t, s, "snapshot", &same)
	if !same.Unchanged || same.Commit != first.Commit || first.Commit.IsZero() {
		t.Errorf("snapshots: %+v, then %+v", first, same)
	}
	if err := os.WriteFile(filepath.Join(src, "c"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	do(t, s, "add "+Quote(src+"/c")+" --to ckpt", nil)
	do(t, s, "sync", nil)
	do(t, s, "snapshot -m 'step 2'", &second)

	var log []*CommitInfo
	do(t, s, "log", &log)
	if len(log) != 2 || log[0].Commit != second.Commit || log[1].Message != "step 1" || log[1].Author != "Test <test@localhost>" ||
		!slices.Equal(log[0].Refs, []string{"HEAD", "branches/main"}) || !slices.Equal(log[1].Refs, []string{"tags/v1"}) {
		t.Errorf("log: %+v", log)
	}
	do(t, s, "log -n 1 --all", &log)
	if len(log) != 1 || log[0].Commit != second.Commit {
		t.Errorf("log -n 1 --all: %+v", log)
	}
	var show ShowResult
	do(t, s, "show", &show)
	if len(show.Changes) != 1 || show.Changes[0].Path != "ckpt/c" || show.Changes[0].Kind != "modified" || show.Changes[0].OldSize != 1 || show.Changes[0].Size != 7 {
		t.Errorf("show: %+v", show.Changes)
	}
	show = ShowResult{}
	do(t, s, "show v1", &show)
	if len(show.Changes) != 3 || show.Changes[1].Path != "ckpt/run/a.bin" || show.Changes[1].Kind != "added" {
		t.Errorf("show v1: %+v", show.Changes)
	}
	show = ShowResult{}
	do(t, s, "show v1:ckpt/c", &show)
	if show.File == nil || show.File.Size != 1 || show.File.Format != "opaque" || show.Commit != first.Commit {
		t.Errorf("show v1:ckpt/c: %+v", show)
	}
	var list, live []EntryInfo
	do(t, s, "ls main:ckpt", &list)
	do(t, s, "ls :ckpt", &live)
	if len(list) != 2 || list[0].Name != "c" || list[1].Kind != "dir" || len(live) != 2 || live[0].ID != list[0].ID {
		t.Errorf("ls: %+v and live %+v", list, live)
	}
	for target, want := range map[string]string{"v1:ckpt/c": "c", "main:ckpt/c": "changed", ":ckpt/c": "changed", "branches/main:ckpt/run/sub/b.txt": "hello", "main~1:ckpt/c": "c"} {
		if got := cat(t, s, target); got != want {
			t.Errorf("cat %s = %q, want %q", target, got, want)
		}
	}
	for _, id := range []string{first.Commit.String(), first.Commit.String()[:8], "v1", first.Tree.String(), list[0].ID.String()[:10]} {
		var o struct {
			Kind string `json:"kind"`
			ID   string `json:"id"`
		}
		if err := json.Unmarshal([]byte(cat(t, s, id)), &o); err != nil || len(o.ID) != 64 || o.Kind == "" {
			t.Errorf("cat %s: %+v, %v", id, o, err)
		}
	}
	var stats vcs.Stats
	do(t, s, "stats", &stats)
	if stats.Commits != 2 || stats.Files != 6 || stats.StoredBytes == 0 || stats.Tags != 1 {
		t.Errorf("stats: %+v", stats)
	}
	var cache CacheResult
	do(t, s, "cache drop", &cache)
	if !cache.Dropped || cache.Files != 0 || cache.Spool.CleanBytes != 0 {
		t.Errorf("cache drop: %+v", cache)
	}
	if got := cat(t, s, ":ckpt/c"); got != "changed" {
		t.Errorf("after cache drop: %q", got)
	}
	var gc GCResult
	do(t, s, "gc --keep 0", &gc)
	r, err := s.Call(t.Context(), "fsck", json.RawMessage(`{"full":true}`), func(control.Progress) {})
	if err != nil || r.(FsckResult).Failed() || r.(FsckResult).Files == 0 {
		t.Errorf("fsck: %+v, %v", r, err)
	}
	out := filepath.Join(t.TempDir(), "out")
	req, _ := json.Marshal(ExportRequest{Target: Target{Rev: "v1", Path: "ckpt", HasPath: true}, Dir: control.Text(out)})
	if _, err := s.Call(t.Context(), "export", req, func(control.Progress) {}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "c")); err != nil || string(b) != "c" {
		t.Errorf("exported: %q, %v", b, err)
	}
}

func cat(t *testing.T, s *Service, target string) string {
	t.Helper()
	req := &CatRequest{}
	if err := req.SetArgs([]string{target}); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Stream(t.Context(), "cat", raw, &b); err != nil {
		t.Fatalf("cat %s: %v", target, err)
	}
	return b.String()
}

func TestRefs(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	src := files(t, map[string]string{"f": "1"})
	do(t, s, "add "+Quote(src+"/f"), nil)
	var snap vcs.SnapshotResult
	do(t, s, "snapshot -m one", &snap)
	var made RefsResult
	do(t, s, "branch exp/a", &made)
	if made.Created == nil || made.Created.Name != "exp/a" || made.Created.Commit != snap.Commit {
		t.Errorf("branch: %+v", made)
	}
	fails(t, s, "branch exp/a", errs.Exist, "exp/a")
	fails(t, s, "branch exp/a/b", errs.Conflict, "exp/a")
	fails(t, s, "branch 'bad name'", errs.Invalid, "")
	fails(t, s, "branch x nowhere", errs.NotFound, "nowhere")
	fails(t, s, "branch -d main", errs.Conflict, "HEAD")
	do(t, s, "add "+Quote(src+"/f")+" --to sub -b exp/a", nil)
	fails(t, s, "branch -d exp/a", errs.Conflict, "not committed")
	do(t, s, "branch -m exp/a exp/b", nil)
	var list []RefInfo
	do(t, s, "branch", &list)
	if len(list) != 2 || list[0].Name != "exp/b" || list[1].Name != "main" || !list[1].Current || list[1].Subject != "one" {
		t.Errorf("branches: %+v", list)
	}
	fails(t, s, "branch -D exp/b nope", errs.NotFound, "nope") // and exp/b stays
	do(t, s, "branch -D exp/b", &made)
	if len(made.Deleted) != 1 {
		t.Errorf("branch -D: %+v", made)
	}
	do(t, s, "tag v1 -m 'best so far'", nil)
	do(t, s, "tag v2 main", nil)
	fails(t, s, "tag v1", errs.Exist, "v1")
	fails(t, s, "tag -d v1 nope", errs.NotFound, "nope") // and v1 stays
	do(t, s, "tag", &list)
	if len(list) != 2 || list[0].Message != "best so far" || list[0].Tagger != "Test <test@localhost>" || list[1].Message != "" {
		t.Errorf("tags: %+v", list)
	}
	do(t, s, "tag -d v2", nil)
	fails(t, s, "tag -d v2", errs.NotFound, "v2")

	var at CheckoutResult
	do(t, s, "checkout -b next", &at)
	if at.Branch != "next" || !at.Created || at.Head != snap.Commit {
		t.Errorf("checkout -b: %+v", at)
	}
	do(t, s, "checkout v1", &at)
	var st StatusResult
	do(t, s, "status", &st)
	if !st.Detached || st.Branch != "" || st.Head != snap.Commit {
		t.Errorf("detached status: %+v", st)
	}
	fails(t, s, "snapshot", errs.Invalid, "on no branch")
	fails(t, s, "add "+Quote(src+"/f"), errs.Invalid, "detached")
	fails(t, s, "checkout nowhere", errs.NotFound, "nowhere")
	do(t, s, "checkout main", nil)
	do(t, s, "status -b next", &st)
	fails(t, s, "status -b nowhere", errs.NotFound, "nowhere")
}

// TestRefusals: what must not be done is refused before anything happens.
func TestRefusals(t *testing.T) {
	dir := newRepo(t)
	m := newFakeMounts()
	s := open(t, dir, Options{Mounter: m.mount})
	src := files(t, map[string]string{"a/x": "1", "b/x": "2", "mnt/.keep": ""})
	mnt := filepath.Join(src, "mnt")
	if _, err := s.Mount(t.Context(), MountOptions{Mountpoint: mnt}); err != nil {
		t.Fatal(err)
	}
	defer m.at(mnt).Unmount(false)
	fails(t, s, "add relative", control.ErrUsage, "absolute")
	fails(t, s, "add "+src+"/a/x "+src+"/b/x", control.ErrUsage, "both become x")
	fails(t, s, "add "+mnt+"/branches/main/f", errs.Invalid, "inside the mount")
	fails(t, s, "add "+src, errs.Invalid, "the mount at")
	for link, to := range map[string]string{"in": mnt, "rel": "mnt/branches", "up": "..", "loop": "loop", "last": "mnt"} {
		if err := os.Symlink(to, filepath.Join(src, "a", link)); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, s, "add "+src+"/a/in/f", errs.Invalid, "inside the mount")
	fails(t, s, "add "+src+"/a/up/mnt/f", errs.Invalid, "inside the mount")
	fails(t, s, "add "+src+"/a/up/a/up/mnt", errs.Invalid, "inside the mount")
	fails(t, s, "add "+src+"/a/loop/f", syscall.ELOOP, "")
	do(t, s, "add "+src+"/a/last --to links", nil) // the link itself
	fails(t, s, "add /", control.ErrUsage, "/")
	fails(t, s, "add "+filepath.Dir(dir), errs.Invalid, "the repository itself")
	fails(t, s, "add "+dir+"/repo.json", errs.Invalid, "the repository itself")
	fails(t, s, "add "+src+"/nowhere", os.ErrNotExist, "nowhere")
	fails(t, s, "add "+src+"/a --to ../x", control.ErrUsage, "leaves the tree")
	fails(t, s, "show main:x", errs.NotFound, "")
	fails(t, s, "ls :nowhere", errs.NotFound, "nowhere")
	for verb, req := range map[string]string{
		"export": `{"target":{"rev":"main"},"dir":"` + mnt + `/x"}`, "nope": `{}`, "gc": `{"dry-run":true}`, "status": `[`, "cat": `{}`,
	} {
		if _, err := s.Call(t.Context(), verb, json.RawMessage(req), nil); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s %s: %v", verb, req, err)
		}
	}
}

func TestVanished(t *testing.T) {
	dir := newRepo(t)
	s := open(t, dir, Options{})
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "status", errs.NotFound, "moved or deleted")
	fails(t, s, "snapshot", errs.NotFound, "moved or deleted")
	if got := s.Status(t.Context()); !bytes.Contains(got, []byte(`"not-found"`)) {
		t.Errorf("status file: %s", got)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	do(t, s, "status", nil)
}

func TestReadOnly(t *testing.T) {
	dir := newRepo(t)
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := files(t, map[string]string{"f": "1"})
	do(t, s, "add "+Quote(src+"/f"), nil)
	do(t, s, "snapshot -m one", nil)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{ReadOnly: true})
	for _, line := range []string{"snapshot", "branch x", "tag x", "checkout main", "gc", "sync", "cache drop", "add " + src + "/f"} {
		fails(t, s, line, errs.ReadOnly, "")
	}
	var st StatusResult
	do(t, s, "status", &st)
	for _, line := range []string{"log", "show", "branch", "tag", "stats", "cache", "ls main", "show :f"} {
		do(t, s, line, nil)
	}
	if !st.ReadOnly || len(st.Dirty) != 0 || cat(t, s, "main:f") != "1" {
		t.Errorf("status: %+v", st)
	}
}

// TestConcurrent runs many commands at once; the store must be whole afterwards.
func TestConcurrent(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	src := files(t, map[string]string{"f0": "0", "f1": strings.Repeat("1", 100_000), "f2": "2", "f3": "3"})
	do(t, s, "add "+src+"/f0", nil)
	do(t, s, "snapshot -m base", nil)
	var wg sync.WaitGroup
	for i := range 4 {
		branch := fmt.Sprintf("b%d", i)
		do(t, s, "branch "+branch, nil)
		wg.Go(func() {
			for n := range 5 {
				for _, line := range []string{
					fmt.Sprintf("add %s/f%d --to d%d -b %s", src, i, n, branch), fmt.Sprintf("snapshot -m %d -b %s --allow-empty", n, branch),
					"status", "log --all", "stats", fmt.Sprintf("tag t%d-%d %s", i, n, branch),
				} {
					if _, err := s.Run(t.Context(), line); err != nil {
						t.Errorf("%s: %v", line, err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if _, err := s.Run(t.Context(), "gc --keep 0 --full"); err != nil {
				t.Errorf("gc: %v", err)
			}
		}
	})
	wg.Wait()
	r, err := s.Call(t.Context(), "fsck", json.RawMessage(`{"full":true}`), func(control.Progress) {})
	if err != nil || r.(FsckResult).Failed() {
		t.Errorf("fsck: %+v, %v", r, err)
	}
	var log []*CommitInfo
	do(t, s, "log --all", &log)
	if len(log) != 21 {
		t.Errorf("%d commits, want 21", len(log))
	}
}

func TestStop(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "status", control.ErrEnding, "")
	if err := s.Drain(t.Context(), func(control.Progress) {}); err != nil {
		t.Errorf("drain after stop: %v", err)
	}
}

func TestPlainJSON(t *testing.T) {
	for _, v := range []any{"a<b>&c", `\u003c`, `\\u003c\`, "plain", map[string]string{"<": `"\`}} {
		b, err := MarshalJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(b, &got); err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
			t.Errorf("%v became %s, %v (%v)", v, b, got, err)
		}
	}
}
