package suites

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// TestGitAndGo clones a repository inside the mount, works in it, and builds and tests a Go project there.
func TestGitAndGo(t *testing.T) {
	git, goTool := program(t, "git"), program(t, "go")
	r := mount(t)
	dir := mkdir(t, r, "git")
	watch(t, r, true, time.Second)
	origin := filepath.Join(t.TempDir(), "origin")
	commits := makeOrigin(t, git, origin)
	for _, mode := range []string{"--no-hardlinks", "--shared"} {
		clone := filepath.Join(dir, "clone"+mode)
		runs(t, dir, time.Minute, git, "clone", "--quiet", mode, origin, clone)
		g := func(args ...string) string {
			return runs(t, clone, time.Minute, git, append([]string{"-c", "user.name=t", "-c", "user.email=t@localhost"}, args...)...)
		}
		if n := len(strings.Fields(g("rev-list", "HEAD"))); n != commits {
			t.Errorf("%d commits in the clone, want %d", n, commits)
		}
		g("checkout", "-q", "-b", "topic", "HEAD~5")
		must(t, os.WriteFile(filepath.Join(clone, "new.txt"), noise(9, 100_000), 0o644))
		g("add", "-A")
		g("commit", "-q", "-m", "new")
		g("rebase", "-q", "master")
		g("repack", "-a", "-d", "-q")
		g("gc", "-q", "--prune=now")
		g("fsck", "--full", "--strict")
		g("worktree", "add", "-q", "../wt"+mode, "HEAD~1")
		g("worktree", "remove", "../wt"+mode)
		if out := g("status", "--porcelain"); out != "" {
			t.Errorf("git status is not clean:\n%s", out)
		}
	}
	clone := filepath.Join(dir, "clone--no-hardlinks")
	build := command(t, clone, 5*time.Minute, goTool, "test", "-count=1", "./...")
	build.Env = append(os.Environ(), "GOCACHE="+filepath.Join(dir, "gocache"), "GOTMPDIR="+dir, "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("go test inside the mount: %v\n%s", err, tail(out, 30))
	}
}

// makeOrigin makes a git repository of a small Go project outside of the mount and returns how many commits it has.
func makeOrigin(t *testing.T, git, dir string) int {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "p"), 0o755))
	files := map[string]string{
		"go.mod":      "module example\n\ngo 1.21\n",
		"p/p.go":      "// Package p adds.\npackage p\n\n// Add adds.\nfunc Add(a, b int) int { return a + b }\n",
		"p/p_test.go": "package p\n\nimport (\n\t\"encoding/json\"\n\t\"testing\"\n)\n\nfunc TestAdd(t *testing.T) {\n\tif b, _ := json.Marshal(Add(1, 2)); string(b) != \"3\" {\n\t\tt.Fatal(string(b))\n\t}\n}\n",
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	g := func(args ...string) {
		runs(t, dir, time.Minute, git, append([]string{"-c", "user.name=t", "-c", "user.email=t@localhost"}, args...)...)
	}
	g("init", "-q", "-b", "master")
	const commits = 30
	for i := range commits {
		must(t, os.WriteFile(filepath.Join(dir, "p", fmt.Sprintf("data%d", i%7)), noise(uint64(i), 1000*i), 0o644))
		g("add", "-A")
		g("commit", "-q", "-m", fmt.Sprint(i))
	}
	return commits
}

// TestSQLite has several processes move money between accounts in one database, with each kind of journal, some of them killed in the middle:
// what sqlite promises needs locks, shared memory (WAL), fsync and rollback journals that work.
func TestSQLite(t *testing.T) { sqlite(t) }

// sqlite is the test on a mount with these flags.
func sqlite(t *testing.T, flags ...string) {
	py := program(t, "python3")
	if err := exec.Command(py, "-c", "import sqlite3").Run(); err != nil {
		t.Skipf("CANNOT RUN: python3 has no sqlite3: %v", err)
	}
	script, err := filepath.Abs("sqlite.py")
	must(t, err)
	r := mount(t, flags...)
	dir := mkdir(t, r, "sqlite")
	watch(t, r, true, 300*time.Millisecond)
	for _, mode := range []string{"delete", "truncate", "persist", "wal"} {
		t.Run(mode, func(t *testing.T) {
			out := runs(t, dir, size(2*time.Minute, time.Hour), py, script, filepath.Join(dir, mode+".db"), mode, size("4", "8"), size("60", "3000"))
			t.Logf("%s", strings.TrimSpace(out))
		})
	}
}

// TestTar packs a tree of every kind of file into the mount and out of it again, through a commit too.
func TestTar(t *testing.T) {
	tar := program(t, "tar")
	r := mount(t)
	dir := mkdir(t, r, "tar")
	watch(t, r, true, 500*time.Millisecond)
	src := filepath.Join(t.TempDir(), "src")
	makeKinds(t, src)
	for _, flags := range [][]string{{"--format=gnu"}, {"--format=pax"}, {"--format=pax", "--sparse"}, {"--format=pax", "--xattrs", "--acls"}} {
		name := strings.ReplaceAll(strings.Join(flags, ""), "-", "")
		archive, dst := filepath.Join(dir, name+".tar"), filepath.Join(dir, name)
		must(t, os.Mkdir(dst, 0o755))
		runs(t, src, time.Minute, tar, append(flags, "-cf", archive, ".")...)                                                     // outside → archive inside
		runs(t, dst, time.Minute, tar, append(flags, "-xpf", archive)...)                                                         // inside → inside
		runs(t, dst, time.Minute, tar, append(flags, "--compare", "--file", archive)...)                                          // sizes, modes, owners, times, contents
		runs(t, src, time.Minute, "diff", "-r", "--no-dereference", "--exclude=fifo", src, dst)                                   // by another program
		runs(t, dst, time.Minute, tar, append(flags, "-cf", filepath.Join(t.TempDir(), "again.tar"), "--exclude=./fifo", ".")...) // and out
	}
	id := r.Snapshot("tar")
	r.Coral("cache", "drop")
	out := filepath.Join(t.TempDir(), "out")
	must(t, os.Mkdir(out, 0o755))
	archive := filepath.Join(t.TempDir(), "commit.tar")
	runs(t, r.Commit(id, "tar", "format=pax"), time.Minute, tar, "-cf", archive, ".")
	runs(t, out, time.Minute, tar, "-xf", archive)
	runs(t, src, time.Minute, "diff", "-r", "--no-dereference", "--exclude=fifo", src, out)
}

// makeKinds makes a tree of every kind of file.
func makeKinds(t *testing.T, dir string) {
	t.Helper()
	deep := filepath.Join(dir, strings.Repeat("a long directory name/", 12))
	must(t, os.MkdirAll(deep, 0o755))
	put := func(name string, b []byte, mode os.FileMode) {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		must(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	put("empty", nil, 0o644)
	put("noise", noise(1, 3_000_001), 0o640)
	put("model.safetensors", safetensors(weights(nil)), 0o644)
	put("program", []byte("#!/bin/sh\n"), 0o755)
	put("name with \n newline and \xff byte", []byte("x"), 0o400)
	must(t, os.WriteFile(filepath.Join(deep, strings.Repeat("n", 255)), []byte("long"), 0o600))
	must(t, os.Symlink("noise", filepath.Join(dir, "link")))
	must(t, os.Symlink(strings.Repeat("dangling/", 50), filepath.Join(dir, "dangling")))
	must(t, os.Link(filepath.Join(dir, "noise"), filepath.Join(dir, "hard")))
	put("sparse", nil, 0o644)
	must(t, os.Truncate(filepath.Join(dir, "sparse"), 10<<20))
	mounttest.Exec(t, "mkfifo", filepath.Join(dir, "fifo"))
	past := time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	must(t, os.Chtimes(filepath.Join(dir, "noise"), past, past))
	must(t, os.Mkdir(filepath.Join(dir, "no-entry"), 0o000))
	for i := range 300 {
		put(fmt.Sprintf("many-%03d", i), noise(uint64(i), i*7), 0o644)
	}
}
