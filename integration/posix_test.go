package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coral/integration/mounttest"
)

func splitLines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// TestLiveSemantics runs the ordinary-filesystem promises on a live tree, each before and after a snapshot of the same
// files, since a committed file is copied up on its first change.
func TestLiveSemantics(t *testing.T) {
	r := mounttest.Mounted(t)
	for _, committed := range []bool{false, true} {
		name := "fresh"
		if committed {
			name = "committed"
		}
		for what, fn := range map[string]func(*testing.T, string, func()){
			"unlinked-open": unlinkedOpen, "rename-over": renameOver, "hardlink": hardLink, "truncate": truncate, "append": appendTo,
			"mmap": mmapBoth, "sparse": sparse, "utimens": utimens, "chmod-chown": chmodChown, "flock": flock, "fallocate": fallocate,
			"exchange": exchange, "rw-in-place": inPlace, "tmpfile": tmpfile,
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				dir := r.Live(name, what)
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				fn(t, dir, func() {
					if committed {
						r.Snapshot(what, "--allow-empty")
						r.Coral("cache", "drop")
					}
				})
			})
		}
	}
	before := mounttest.Exec(t, "sh", "-c", "cd "+r.Live()+" && find . -type f | sort | xargs sha256sum")
	id := r.Snapshot("end")
	r.Unmount()
	r.Mount()
	after := mounttest.Exec(t, "sh", "-c", "cd "+r.Live()+" && find . -type f | sort | xargs sha256sum")
	if before != after {
		t.Errorf("live tree differs after a remount:\n%s\n%s", before, after)
	}
	if got := mounttest.Exec(t, "sh", "-c", "cd "+r.Commit(id)+" && find . -type f | sort | xargs sha256sum"); got != before {
		t.Errorf("commit differs from the live tree:\n%s\n%s", before, got)
	}
	r.Coral("fsck", "--full")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o644))
}

func want(t *testing.T, path string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Fatalf("%s holds %d bytes, want %d (or they differ)", path, len(got), len(data))
	}
}

func unlinkedOpen(t *testing.T, d string, settle func()) {
	p, data := d+"/f", noise(1, 200_000)
	put(t, p, data)
	settle()
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, os.Remove(p))
	settle()
	_, err = f.WriteAt([]byte("hello"), 100)
	must(t, err)
	copy(data[100:], "hello")
	got := make([]byte, len(data))
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("an unlinked open file reads back wrong")
	}
	if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("stat of the unlinked name: %v", err)
	}
}

func renameOver(t *testing.T, d string, settle func()) {
	put(t, d+"/a", []byte("a"))
	put(t, d+"/b", noise(2, 99_999))
	must(t, os.MkdirAll(d+"/dir/sub", 0o755))
	put(t, d+"/dir/sub/x", []byte("x"))
	must(t, os.Mkdir(d+"/emptydir", 0o755))
	settle()
	must(t, os.Rename(d+"/a", d+"/b"))
	want(t, d+"/b", []byte("a"))
	must(t, syscall.Rename(d+"/dir", d+"/emptydir")) // os.Rename refuses by itself
	want(t, d+"/emptydir/sub/x", []byte("x"))
	if err := syscall.Rename(d+"/emptydir", d+"/emptydir/sub/inside"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("rename into itself: %v", err)
	}
	if err := os.Rename(d+"/b", d+"/emptydir"); err == nil {
		t.Error("file renamed over a directory")
	}
	put(t, d+"/c", []byte("c"))
	if err := unix.Renameat2(unix.AT_FDCWD, d+"/c", unix.AT_FDCWD, d+"/b", unix.RENAME_NOREPLACE); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("RENAME_NOREPLACE over a file: %v", err)
	}
}

func exchange(t *testing.T, d string, settle func()) {
	put(t, d+"/a", []byte("aa"))
	must(t, os.Mkdir(d+"/dir", 0o755))
	put(t, d+"/dir/f", []byte("f"))
	settle()
	must(t, unix.Renameat2(unix.AT_FDCWD, d+"/a", unix.AT_FDCWD, d+"/dir", unix.RENAME_EXCHANGE))
	want(t, d+"/dir", []byte("aa"))
	want(t, d+"/a/f", []byte("f"))
}

func hardLink(t *testing.T, d string, settle func()) {
	put(t, d+"/a", noise(3, 70_000))
	settle()
	must(t, os.Link(d+"/a", d+"/b"))
	f, err := os.OpenFile(d+"/b", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("tail")
	must(t, err)
	must(t, f.Close())
	want(t, d+"/a", append(noise(3, 70_000), "tail"...))
	var a, b syscall.Stat_t
	must(t, syscall.Stat(d+"/a", &a))
	must(t, syscall.Stat(d+"/b", &b))
	if a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("inodes %d %d, nlink %d", a.Ino, b.Ino, a.Nlink)
	}
	must(t, os.Remove(d+"/a"))
	must(t, syscall.Stat(d+"/b", &b))
	if b.Nlink != 1 {
		t.Errorf("nlink after unlink = %d", b.Nlink)
	}
}

func truncate(t *testing.T, d string, settle func()) {
	data := noise(4, 300_000)
	put(t, d+"/a", data)
	settle()
	must(t, os.Truncate(d+"/a", 123_456))
	want(t, d+"/a", data[:123_456])
	must(t, os.Truncate(d+"/a", 200_000))
	want(t, d+"/a", append(bytes.Clone(data[:123_456]), make([]byte, 200_000-123_456)...))
	put(t, d+"/a", []byte("short")) // O_TRUNC
	want(t, d+"/a", []byte("short"))
}

func appendTo(t *testing.T, d string, settle func()) {
	data := noise(5, 150_000)
	put(t, d+"/a", data)
	settle()
	f, err := os.OpenFile(d+"/a", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	for range 3 {
		_, err := f.Write([]byte("line\n"))
		must(t, err)
	}
	must(t, f.Close())
	want(t, d+"/a", append(data, "line\nline\nline\n"...))
}

func inPlace(t *testing.T, d string, settle func()) {
	data := noise(6, 1<<20)
	put(t, d+"/a", data)
	settle()
	rd, err := os.Open(d + "/a") // a reader from before must see the writer's bytes
	must(t, err)
	defer rd.Close()
	one := make([]byte, 4096)
	_, err = rd.ReadAt(one, 500_000)
	must(t, err)
	w, err := os.OpenFile(d+"/a", os.O_RDWR, 0)
	must(t, err)
	_, err = w.WriteAt([]byte("CORAL"), 500_001)
	must(t, err)
	copy(data[500_001:], "CORAL")
	_, err = rd.ReadAt(one, 500_000)
	must(t, err)
	if !bytes.Equal(one, data[500_000:504_096]) {
		t.Error("a reader opened before the write does not see it")
	}
	must(t, w.Sync())
	must(t, w.Close())
	want(t, d+"/a", data)
}

func mmapBoth(t *testing.T, d string, settle func()) {
	data := noise(7, 400_000)
	put(t, d+"/a", data)
	settle()
	f, err := os.OpenFile(d+"/a", os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	if !bytes.Equal(m, data) {
		t.Fatal("mmap reads wrong bytes")
	}
	copy(m[200_000:], "mapped write")
	copy(data[200_000:], "mapped write")
	must(t, unix.Msync(m, unix.MS_SYNC))
	got := make([]byte, 12)
	_, err = f.ReadAt(got, 200_000)
	must(t, err)
	if string(got) != "mapped write" {
		t.Errorf("read after a mapped write: %q", got)
	}
	must(t, unix.Munmap(m))
	want(t, d+"/a", data)
}

func sparse(t *testing.T, d string, settle func()) {
	f, err := os.Create(d + "/a")
	must(t, err)
	_, err = f.WriteAt([]byte("end"), 10<<20)
	must(t, err)
	must(t, f.Close())
	settle()
	st, err := os.Stat(d + "/a")
	must(t, err)
	if st.Size() != 10<<20+3 {
		t.Fatalf("size %d", st.Size())
	}
	f, err = os.Open(d + "/a")
	must(t, err)
	defer f.Close()
	h := make([]byte, 1<<20)
	for range 10 {
		_, err := io.ReadFull(f, h)
		must(t, err)
		if len(bytes.TrimLeft(h, "\x00")) != 0 {
			t.Fatal("a hole is not zero")
		}
	}
	rest, err := io.ReadAll(f)
	must(t, err)
	if string(rest) != "end" {
		t.Fatalf("after the hole: %q", rest)
	}
}

func utimens(t *testing.T, d string, settle func()) {
	put(t, d+"/a", []byte("x"))
	settle()
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	must(t, os.Chtimes(d+"/a", at, at))
	settle()
	st, err := os.Stat(d + "/a")
	must(t, err)
	if !st.ModTime().Equal(at) {
		t.Errorf("mtime %v, want %v", st.ModTime().UTC(), at)
	}
	must(t, os.Mkdir(d+"/dir", 0o755))
	must(t, os.Chtimes(d+"/dir", at, at))
	st, err = os.Stat(d + "/dir")
	must(t, err)
	if !st.ModTime().Equal(at) {
		t.Errorf("directory mtime %v, want %v", st.ModTime().UTC(), at)
	}
}

func chmodChown(t *testing.T, d string, settle func()) {
	put(t, d+"/a", []byte("x"))
	settle()
	must(t, os.Chmod(d+"/a", 0o751))
	must(t, os.Chown(d+"/a", 12, 34))
	settle()
	var st syscall.Stat_t
	must(t, syscall.Stat(d+"/a", &st))
	if st.Mode&0o7777 != 0o751 || st.Uid != 12 || st.Gid != 34 {
		t.Errorf("mode %o uid %d gid %d", st.Mode, st.Uid, st.Gid)
	}
	must(t, os.Chmod(d+"/a", 0o4755))
	f, err := os.OpenFile(d+"/a", os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write([]byte("y"))
	must(t, err)
	must(t, f.Close())
	want(t, d+"/a", []byte("y"))
}

func flock(t *testing.T, d string, settle func()) {
	put(t, d+"/a", []byte("x"))
	settle()
	a, err := os.OpenFile(d+"/a", os.O_RDWR, 0)
	must(t, err)
	defer a.Close()
	b, err := os.OpenFile(d+"/a", os.O_RDWR, 0)
	must(t, err)
	defer b.Close()
	must(t, unix.Flock(int(a.Fd()), unix.LOCK_EX))
	if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("second flock: %v", err)
	}
	must(t, unix.Flock(int(a.Fd()), unix.LOCK_UN))
	must(t, unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Len: 1}
	must(t, unix.FcntlFlock(a.Fd(), unix.F_OFD_SETLK, &lk))
	lk = unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Len: 1}
	if err := unix.FcntlFlock(b.Fd(), unix.F_OFD_SETLK, &lk); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("second fcntl lock: %v", err)
	}
}

func fallocate(t *testing.T, d string, settle func()) {
	data := noise(8, 200_000)
	put(t, d+"/a", data)
	settle()
	f, err := os.OpenFile(d+"/a", os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, 300_000))
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192))
	exp := append(bytes.Clone(data), make([]byte, 100_000)...)
	clear(exp[4096:12288])
	want(t, d+"/a", exp)
}

func tmpfile(t *testing.T, d string, settle func()) {
	fd, err := unix.Open(d, unix.O_TMPFILE|unix.O_RDWR, 0o644)
	must(t, err)
	f := os.NewFile(uintptr(fd), "tmpfile")
	defer f.Close()
	_, err = f.WriteString("unnamed")
	must(t, err)
	must(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, filepath.Join(d, "named"), unix.AT_SYMLINK_FOLLOW))
	settle()
	want(t, d+"/named", []byte("unnamed"))
}
