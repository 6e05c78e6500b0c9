package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/oid"
	"coral/vcs"
)

// noise returns n bytes that no codec makes smaller.
func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	src.Read(p)
	return p
}

func getxattr(path, name string) (string, error) {
	b := make([]byte, maxXattr)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

func TestRoot(t *testing.T) {
	m := mount(t, daemonConfig{})
	if got, want := m.ls(), []string{"HEAD", "branches", "commits", "history", "tags", "views"}; !slices.Equal(got, want) {
		t.Errorf("root lists %q, want %q", got, want)
	}
	if target, err := os.Readlink(m.path("HEAD")); err != nil || target != "branches/main" {
		t.Errorf("HEAD -> %q, %v", target, err)
	}
	if got := m.ls("branches"); !slices.Equal(got, []string{"main"}) {
		t.Errorf("branches lists %q", got)
	}
	for _, dir := range []string{"commits", "tags", "history/main"} {
		if got := m.ls(dir); len(got) != 0 {
			t.Errorf("%s lists %q before any commit", dir, got)
		}
	}
	repo, err := os.ReadFile(m.path(".coral", "repo"))
	if err != nil || strings.TrimSpace(string(repo)) != m.repo {
		t.Errorf(".coral/repo is %q, %v; want %s", repo, err, m.repo)
	}
	wantBytes(t, m.path(".coral", "status"), []byte("{\"branch\":\"main\"}\n"))
	wantBytes(t, m.path(".coral", "log"), []byte("a line\n"))

	_, err = os.Stat(m.path("nothing"))
	wantErrno(t, "stat of nothing", err, syscall.ENOENT)
	wantErrno(t, "create in the root", os.WriteFile(m.path("x"), nil, 0o644), syscall.EROFS)
	wantErrno(t, "mkdir in the root", os.Mkdir(m.path("x"), 0o755), syscall.EROFS)
	wantErrno(t, "rm of HEAD", os.Remove(m.path("HEAD")), syscall.EROFS)
	wantErrno(t, "rename in the root", os.Rename(m.path("HEAD"), m.path("x")), syscall.EROFS)
	wantErrno(t, "create in branches", os.WriteFile(m.path("branches", "x"), nil, 0o644), syscall.EPERM)
	wantErrno(t, "create in commits", os.WriteFile(m.path("commits", "x"), nil, 0o644), syscall.EROFS)
	wantErrno(t, "rename of a branch", os.Rename(m.path("branches", "main"), m.path("branches", "x")), syscall.EPERM)
	wantErrno(t, "mkdir in tags", os.Mkdir(m.path("tags", "x"), 0o755), syscall.EPERM)
	wantErrno(t, "create in tags", os.WriteFile(m.path("tags", "x"), nil, 0o644), syscall.EPERM)
	wantErrno(t, "mkdir in commits", os.Mkdir(m.path("commits", "x"), 0o755), syscall.EROFS)
	wantErrno(t, "symlink in commits", os.Symlink("../branches/main", m.path("commits", "x")), syscall.EROFS)
	wantErrno(t, "symlink in branches", os.Symlink("../commits/x", m.path("branches", "x")), syscall.EPERM)
	wantErrno(t, "rename of a branch into another's tree", syscall.Rename(m.path("branches", "main"), m.path("branches", "main", "x")), syscall.EINVAL)
	wantErrno(t, "rename of a branch into tags", os.Rename(m.path("branches", "main"), m.path("tags", "x")), syscall.EPERM)
	wantErrno(t, "rename of a branch to the root", os.Rename(m.path("branches", "main"), m.path("x")), syscall.EPERM)
	if err := os.Mkdir(m.main("dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "rename of a directory to a branch", os.Rename(m.main("dir"), m.path("branches", "x")), syscall.EXDEV)
	wantErrno(t, "rename of a directory to a tag", os.Rename(m.main("dir"), m.path("tags", "x")), syscall.EXDEV) // mv copies then, and mkdir is refused
	wantErrno(t, "write to status", os.WriteFile(m.path(".coral", "status"), nil, 0o644), syscall.EROFS)

	var mine, disk unix.Statfs_t
	if err := unix.Statfs(m.main(), &mine); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statfs(m.repo, &disk); err != nil {
		t.Fatal(err)
	}
	if mine.Blocks != disk.Blocks || mine.Bsize != disk.Bsize {
		t.Errorf("statfs: %d blocks of %d, the disk has %d of %d", mine.Blocks, mine.Bsize, disk.Blocks, disk.Bsize)
	}
}

// TestCommitReadBack writes files, commits, and reads them by every name that the commit has.
func TestCommitReadBack(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		t.Run(fmt.Sprintf("lazy=%v", lazy), func(t *testing.T) { testCommitReadBack(t, lazy) })
	}
}

func testCommitReadBack(t *testing.T, lazy bool) {
	m := mount(t, daemonConfig{Lazy: lazy})
	files := map[string][]byte{
		"empty":           {},
		"small.txt":       []byte("hello\n"),
		"ckpt/model.bin":  noise(1, 3<<20+17),
		"ckpt/deep/a b":   noise(2, 5000),
		"ckpt/repeat.bin": bytes.Repeat(noise(3, 4096), 64),
	}
	for name, p := range files {
		write(t, m.main(name), p)
	}
	if err := os.Symlink("ckpt/model.bin", m.main("latest")); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1_700_000_000, 123_456_789)
	if err := os.Chtimes(m.main("small.txt"), when, when); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(m.main("small.txt"), 0o750); err != nil {
		t.Fatal(err)
	}
	id := m.snapshot("first commit")
	m.run("drop", nil)

	for _, name := range []string{id.String(), id.Short(), id.String()[:7], "main", "HEAD"} {
		for f, p := range files {
			wantBytes(t, m.path("commits", name, f), p)
		}
	}
	for f, p := range files { // the branch, whose copies are dropped
		wantBytes(t, m.main(f), p)
	}
	c := m.path("commits", id.String())
	if target, err := os.Readlink(filepath.Join(c, "latest")); err != nil || target != "ckpt/model.bin" {
		t.Errorf("link -> %q, %v", target, err)
	}
	st, err := os.Stat(filepath.Join(c, "small.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o550 || !st.ModTime().Equal(when) || st.Size() != 6 {
		t.Errorf("small.txt: mode %v, mtime %v, size %d", st.Mode(), st.ModTime(), st.Size())
	}
	if got := m.ls("commits"); !slices.Equal(got, []string{id.Short()}) {
		t.Errorf("commits lists %q", got)
	}
	if got := m.ls("commits", id.Short(), "ckpt"); !slices.Equal(got, []string{"deep", "model.bin", "repeat.bin"}) {
		t.Errorf("ckpt lists %q", got)
	}
	for _, bad := range []string{"abc", "0000000000000000000000000000000000000000000000000000000000000000", "main~1", "no such", ".git"} {
		_, err := os.Stat(m.path("commits", bad))
		wantErrno(t, "commits/"+bad, err, syscall.ENOENT)
	}
	readOnly := map[string]error{
		"open for writing": func() error { _, err := os.OpenFile(filepath.Join(c, "small.txt"), os.O_RDWR, 0); return err }(),
		"truncate":         os.Truncate(filepath.Join(c, "small.txt"), 0),
		"create":           os.WriteFile(filepath.Join(c, "new"), nil, 0o644),
		"mkdir":            os.Mkdir(filepath.Join(c, "new"), 0o755),
		"rm":               os.Remove(filepath.Join(c, "small.txt")),
		"rmdir":            syscall.Rmdir(filepath.Join(c, "ckpt")),
		"rename":           os.Rename(filepath.Join(c, "small.txt"), filepath.Join(c, "x")),
		"chmod":            os.Chmod(filepath.Join(c, "small.txt"), 0o777),
		"utimes":           os.Chtimes(filepath.Join(c, "small.txt"), when, when),
		"symlink":          os.Symlink("a", filepath.Join(c, "x")),
		"link":             os.Link(filepath.Join(c, "small.txt"), filepath.Join(c, "x")),
		"setxattr":         unix.Setxattr(filepath.Join(c, "small.txt"), "user.x", nil, 0),
		"mknod":            unix.Mknod(filepath.Join(c, "x"), unix.S_IFIFO|0o644, 0),
	}
	for what, err := range readOnly {
		wantErrno(t, what, err, syscall.EROFS)
	}
	testXattrs(t, m, c, id, files)
}

func testXattrs(t *testing.T, m *mounted, commit string, id oid.ID, files map[string][]byte) {
	t.Helper()
	for f, p := range files {
		for _, dir := range []string{commit, m.main()} {
			if got, err := getxattr(filepath.Join(dir, f), xattrID); err != nil || got != oid.Sum(p).String() {
				t.Errorf("%s of %s/%s = %q, %v", xattrID, dir, f, got, err)
			}
		}
		for _, name := range []string{xattrStored, xattrFormat, xattrTensors} {
			if got, err := getxattr(filepath.Join(commit, f), name); err != nil || got == "" {
				t.Errorf("%s of %s = %q, %v", name, f, got, err)
			}
		}
	}
	for _, dir := range []string{commit, m.main()} {
		if got, err := getxattr(dir, xattrCommit); err != nil || got != id.String() {
			t.Errorf("%s of %s = %q, %v", xattrCommit, dir, got, err)
		}
		if got, err := getxattr(dir, xattrMessage); err != nil || got != "first commit" {
			t.Errorf("%s of %s = %q, %v", xattrMessage, dir, got, err)
		}
		_, err := getxattr(filepath.Join(dir, "ckpt"), xattrCommit)
		wantErrno(t, "commit of a directory below", err, syscall.ENODATA)
	}
	b := make([]byte, 4096)
	n, err := unix.Llistxattr(filepath.Join(commit, "small.txt"), b)
	if err != nil || n != 0 {
		t.Errorf("listxattr gives %q, %v", b[:n], err)
	}
	live := m.main("small.txt")
	if err := unix.Setxattr(live, "user.note", []byte("mine"), 0); err != nil {
		t.Error(err)
	}
	n, err = unix.Llistxattr(live, b)
	if err != nil || string(b[:n]) != "user.note\x00" {
		t.Errorf("listxattr of a live file gives %q, %v", b[:n], err)
	}
	for _, f := range []string{live, filepath.Join(commit, "small.txt"), commit, m.main()} { // what programs ask once for, not for every file
		for _, name := range []string{"security.selinux", "system.posix_acl_access"} {
			_, err := getxattr(f, name)
			wantErrno(t, name+" of "+f, err, syscall.ENOTSUP)
		}
	}
	wantErrno(t, "setxattr user.coral.id", unix.Setxattr(live, xattrID, nil, 0), syscall.EPERM)
	f, err := os.OpenFile(live, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = getxattr(live, xattrID)
	wantErrno(t, "id of a dirty file", err, syscall.ENODATA)
}

func TestControl(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("a"), []byte("a"))
	control := m.path(".coral", "control")
	out, err := exec.Command("sh", "-c", `exec 3<>"$1"; echo 'snapshot main x' >&3; cat <&3`, "sh", control).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), `{"commit":"`) || !strings.HasSuffix(string(out), "}\n") {
		t.Fatalf("shell: %v: %s", err, out)
	}
	wantBytes(t, m.path(".coral", "last"), out)
	out, err = exec.Command("sh", "-c", `echo count > "$1" && cat "$2"`, "sh", control, m.path(".coral", "last")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Reads") {
		t.Fatalf("echo > control: %v: %s", err, out)
	}
	out, err = exec.Command("sh", "-c", `exec 3<>"$1"; echo 'invalid thing' >&3; echo $?; cat <&3`, "sh", control).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1\n{\"error\"") {
		t.Fatalf("a bad command: %v: %s", err, out)
	}
	reply, err := m.try("invalid thing")
	wantErrno(t, "a bad command", err, syscall.EINVAL)
	if !strings.HasPrefix(reply, `{"error"`) {
		t.Fatalf("a bad command's reply: %s", reply)
	}

	f, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		if _, err := f.WriteString("count\n"); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(f)
		if err != nil || !bytes.Contains(reply, []byte("Reads")) {
			t.Fatalf("reading on: %q, %v", reply, err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(again, reply) {
			t.Fatalf("from 0: %q, %v", again, err)
		}
	}
	if out, err := exec.Command("python3", "-c", `
import sys
f = open(sys.argv[1], "r+b", buffering=0)
f.write(b"count"); a = f.read(); f.seek(0); assert f.read() == a and a.startswith(b"{"), a
`, control).CombinedOutput(); err != nil && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("python: %v: %s", err, out)
	}
	_, err = m.try("panic")
	wantErrno(t, "a panic", err, syscall.EIO)
	if st, err := os.Stat(control); err != nil || st.Mode() != 0o600 {
		t.Errorf("control: mode %v, %v", st.Mode(), err)
	}

	// A command that takes long does not keep others waiting.
	done := make(chan error, 1)
	go func() {
		_, err := m.try("wait")
		done <- err
	}()
	m.run("count", nil)
	wantBytes(t, m.main("a"), []byte("a"))
	select {
	case err := <-done:
		t.Fatalf("wait ended before it was released: %v", err)
	default:
	}
	m.run("release", nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestClosedIsClosed: a file that was closed just before is not open for writing to the command that follows.
func TestClosedIsClosed(t *testing.T) {
	m := mount(t, daemonConfig{})
	for i := range 50 {
		for j := range 3 {
			write(t, m.main(fmt.Sprint("f", j)), fmt.Append(nil, i))
		}
		var r vcs.SnapshotResult
		m.run("snapshot main x", &r)
		if len(r.OpenFiles) != 0 {
			t.Fatalf("round %d: open files %q", i, r.OpenFiles)
		}
	}
	f, err := os.OpenFile(m.main("f0"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dup, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(dup) // looks like a close
	for range 2 {
		if _, err := f.WriteAt([]byte("y"), 0); err != nil {
			t.Fatal(err)
		}
		var r vcs.SnapshotResult
		m.run("snapshot main y", &r)
		if !slices.Equal(r.OpenFiles, []string{"f0"}) {
			t.Fatalf("open files %q", r.OpenFiles)
		}
	}
}

// TestConcurrent has writers, readers, snapshots and forgets at once.
func TestConcurrent(t *testing.T) {
	m := mount(t, daemonConfig{})
	const workers, rounds = 4, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			dir := m.main(fmt.Sprint("w", w))
			for i := range rounds {
				p := noise(uint64(w*100+i), 100_000+i)
				tmp := filepath.Join(dir, "tmp")
				write(t, tmp, p)
				wantBytes(t, tmp, p)
				if err := os.Rename(tmp, filepath.Join(dir, "model")); err != nil {
					t.Error(err)
				}
				wantBytes(t, filepath.Join(dir, "model"), p)
			}
		})
	}
	var ids []oid.ID
	wg.Go(func() {
		for i := range 5 {
			ids = append(ids, m.snapshot(fmt.Sprint(i)))
			m.run("drop", nil)
			m.run("sweep", nil)
		}
	})
	wg.Wait()
	ids = append(ids, m.snapshot("last"))
	for w := range workers {
		wantBytes(t, m.path("commits", ids[len(ids)-1].String(), fmt.Sprint("w", w), "model"), noise(uint64(w*100+rounds-1), 100_000+rounds-1))
	}
	for _, id := range ids { // every commit is whole
		if id.IsZero() {
			continue // nothing had been written yet
		}
		err := filepath.WalkDir(m.path("commits", id.String()), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			want, err := getxattr(path, xattrID)
			if err != nil {
				return err
			}
			p, err := os.ReadFile(path)
			if err == nil && oid.Sum(p).String() != want {
				t.Errorf("%s is not what its id says", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
