package fs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// needPassthrough returns a mount with passthrough: it needs CAP_SYS_ADMIN and Linux 6.9.
func needPassthrough(t *testing.T, conf daemonConfig) *mounted {
	t.Helper()
	m := mount(t, conf)
	if !m.count().Passthrough {
		t.Skip("no passthrough here (it needs root and Linux 6.9)")
	}
	return m
}

// TestPosix runs go-fuse's suite on a live tree, with and without passthrough.
func TestPosix(t *testing.T) {
	for _, conf := range []daemonConfig{{}, {Lazy: true}} {
		m := mount(t, conf)
		for name, fn := range posixtest.All {
			if name == "FcntlFlockLocksFile" {
				continue // it wants a process's own POSIX locks to conflict; no Linux file system does that (go-fuse skips it too)
			}
			sub := name
			if conf.Lazy {
				sub += "/lazy"
			}
			t.Run(sub, func(t *testing.T) {
				dir := m.main(name)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				fn(t, dir)
			})
		}
	}
}

// TestPassthroughSendsNoData: bytes of a live file, and of a commit's file, do not go through the daemon.
func TestPassthroughSendsNoData(t *testing.T) {
	m := needPassthrough(t, daemonConfig{})
	p := noise(1, 4<<20)
	was := m.count()
	write(t, m.main("a"), p)
	wantBytes(t, m.main("a"), p)
	id := m.snapshot("a")
	m.run("drop", nil)
	wantBytes(t, m.path("commits", id.String(), "a"), p)
	f, err := os.OpenFile(m.main("a"), os.O_RDWR, 0) // copied up
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("changed"), 1<<20); err != nil {
		t.Fatal(err)
	}
	copy(p[1<<20:], "changed")
	wantBytes(t, m.main("a"), p)
	now := m.count()
	// The control file's own replies and commands are counted: four commands, each read to its end.
	if r, w := now.Reads-was.Reads, now.Writes-was.Writes; r > 12 || w > 6 {
		t.Errorf("%d READ and %d WRITE requests", r, w)
	}
	if now.Cached != 1 {
		t.Errorf("%d files are materialised", now.Cached)
	}
}

// TestModeSwitch: lazy handles keep an inode lazy, also for writers and for a mapping whose descriptor is closed; when
// the last is gone it is passed through; all bytes are right and nothing gets EIO.
func TestModeSwitch(t *testing.T) {
	m := needPassthrough(t, daemonConfig{})
	p := noise(1, 1<<20)
	write(t, m.main("a"), p)
	m.snapshot("a")
	m.run("drop", nil)

	f, err := os.Open(m.main("a")) // no spool file: lazy
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, len(p), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	before := m.count()
	w, err := os.OpenFile(m.main("a"), os.O_RDWR, 0) // copied up, served by WRITE
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt([]byte("lazy write"), 10_000); err != nil {
		t.Fatal(err)
	}
	copy(p[10_000:], "lazy write")
	wantBytes(t, m.main("a"), p)
	if !bytes.Equal(mapped, p) {
		t.Error("a mapping does not show what was written")
	}
	if after := m.count(); after.Writes-before.Writes < 2 { // one is the command
		t.Error("the write did not go through the daemon")
	}
	w.Close()
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
	var free bool
	eventually(t, "passed through after the last release", func() bool {
		w, err := os.OpenFile(m.main("a"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		before := m.count()
		if _, err := w.WriteAt([]byte("direct"), 20_000); err != nil {
			t.Fatal(err)
		}
		free = m.count().Writes-before.Writes == 1
		return free
	})
	copy(p[20_000:], "direct")
	wantBytes(t, m.main("a"), p)
	m.run("sync", nil)
	m.run("drop", nil)
	wantBytes(t, m.main("a"), p) // lazy again: no stale pages
	id := m.snapshot("b")
	wantBytes(t, m.path("commits", id.String(), "a"), p)
}

// TestServingStress: writers of one file, each with a part of its own, open and close it while it is ingested and its
// spool file dropped over and over. No write is lost, no open fails, whatever mode each open happens to get.
func TestServingStress(t *testing.T) {
	m := mount(t, daemonConfig{})
	const workers, rounds, part = 4, 500, 8192
	write(t, m.main("a"), make([]byte, workers*part))
	stop := make(chan struct{})
	var wg, drops sync.WaitGroup
	drops.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			m.run("sync", nil)
			m.run("drop", nil)
			if i%4 == 0 {
				m.run("snapshot main x", nil)
			}
		}
	})
	for w := range workers {
		wg.Go(func() {
			off := int64(w * part)
			got := make([]byte, part)
			for i := range rounds {
				flags := os.O_RDWR
				if i%3 == 0 {
					flags = os.O_WRONLY
				}
				f, err := os.OpenFile(m.main("a"), flags, 0)
				if err != nil {
					t.Error(err)
					return
				}
				want := noise(uint64(w<<8|i%256), part)
				if _, err := f.WriteAt(want, off); err != nil {
					t.Error(err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				if f, err = os.Open(m.main("a")); err != nil {
					t.Error(err)
					return
				}
				if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
					t.Errorf("worker %d, round %d: a write is lost (%v)", w, i, err)
					f.Close()
					return
				}
				f.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	drops.Wait()
	var want []byte
	for w := range workers {
		want = append(want, noise(uint64(w<<8|(rounds-1)%256), part)...)
	}
	wantBytes(t, m.main("a"), want)
	id := m.snapshot("end")
	m.run("drop", nil)
	wantBytes(t, m.path("commits", id.String(), "a"), want)
	wantBytes(t, m.main("a"), want)
}

// TestStalePages: the kernel must not serve pages of an older content after a change that it did not see.
func TestStalePages(t *testing.T) {
	m := mount(t, daemonConfig{})
	when := func(path string) (st unix.Stat_t) {
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for i := range 6 {
		p := noise(uint64(i), 300_000) // the same size each time
		write(t, m.main("a"), p)
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, m.main("a"), []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}, 0); err != nil {
			t.Fatal(err)
		}
		m.run("sync", nil)
		m.run("drop", nil)
		wantBytes(t, m.main("a"), p)
		wantBytes(t, m.main("a"), p)
		if st := when(m.main("a")); st.Mtim.Sec != 1e9 {
			t.Errorf("mtime %v", st.Mtim)
		}
	}
}

// TestLargeCommitFile: a file over the limit is served lazily at first and passed through after it was materialised behind.
func TestLargeCommitFile(t *testing.T) {
	m := needPassthrough(t, daemonConfig{})
	p := bytes.Repeat(noise(1, 1<<20), smallFile>>20+16)
	write(t, m.main("big"), p)
	id := m.snapshot("big")
	m.run("drop", nil)
	path := m.path("commits", id.String(), "big")
	before := m.count()
	wantBytes(t, path, p)
	if m.count().Reads-before.Reads < 10 {
		t.Error("a large file that nobody has read was not served lazily")
	}
	eventually(t, "materialised behind", func() bool { return m.count().Cached == 1 })
	buf, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	var f *os.File
	eventually(t, "passed through", func() bool {
		if f, err = os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0); err != nil {
			t.Fatal(err)
		}
		before := m.count().Reads
		if n, err := f.ReadAt(buf, 1<<20); err != nil || !bytes.Equal(buf[:n], p[1<<20:2<<20]) {
			t.Fatalf("O_DIRECT read: %d, %v", n, err)
		}
		if m.count().Reads-before <= 3 {
			return true
		}
		f.Close()
		return false
	})
	m.run("drop", nil) // an open file keeps being served
	if n, err := f.ReadAt(buf, 8<<20); err != nil || !bytes.Equal(buf[:n], p[8<<20:9<<20]) {
		t.Errorf("after the cache was dropped: %d, %v", n, err)
	}
	f.Close()
	wantBytes(t, path, p)
}

// TestRandomReads: a lazily served file that is read at random, without a rest, is materialised at once, and read from there through the same handle.
func TestRandomReads(t *testing.T) {
	m := needPassthrough(t, daemonConfig{})
	// A safetensors file of one tensor, so that reading it decodes blocks: noise in the low bits of floats around 1.
	words := noise(1, 1<<20)
	for i := 0; i < len(words); i += 4 {
		words[i+2], words[i+3] = words[i+2]&0x7f|0x80, 0x3f
	}
	p := bytes.Repeat(words, smallFile>>20+16)
	header := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, len(p)/4, len(p))
	header += strings.Repeat(" ", 4096-8-len(header))
	p = slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), p)
	write(t, m.main("big.safetensors"), p)
	id := m.snapshot("big")
	m.run("drop", nil)
	f, err := os.OpenFile(m.path("commits", id.String(), "big.safetensors"), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	page := 0
	read := func() {
		page = (page + 1237) % (len(p) / len(buf))
		off := page * len(buf)
		if n, err := f.ReadAt(buf, int64(off)); err != nil || !bytes.Equal(buf[:n], p[off:][:len(buf)]) {
			t.Fatalf("page %d: %d bytes, %v", page, n, err)
		}
	}
	for deadline := time.Now().Add(time.Minute); m.count().Cached == 0; {
		for range 50 {
			read()
		}
		if time.Now().After(deadline) {
			t.Fatal("not materialised while it was read")
		}
	}
	read() // finds it
	var before, after int64
	m.run("decoded", &before)
	for range 200 {
		read()
	}
	if m.run("decoded", &after); before == 0 || after != before {
		t.Errorf("%d blocks decoded until the file was whole, and %d by reads after", before, after-before)
	}
	m.run("drop", nil)
	read()
}

// TestReaderOutlivesDaemon: who reads a file that is passed through does not notice that the daemon was killed.
func TestReaderOutlivesDaemon(t *testing.T) {
	m := needPassthrough(t, daemonConfig{})
	p := noise(1, 2<<20)
	write(t, m.main("a"), p)
	write(t, m.main("live"), p)
	id := m.snapshot("a")
	m.run("drop", nil)
	f, err := os.Open(m.path("commits", id.String(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, len(p), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	m.kill()
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(len(p)))); err != nil || !bytes.Equal(got, p) {
		t.Errorf("reading on: %v", err)
	}
	if !bytes.Equal(mapped, p) {
		t.Error("the mapping is damaged")
	}
	m.start(daemonConfig{})
	wantBytes(t, m.main("live"), p)
	wantBytes(t, m.path("commits", id.String(), "a"), p)
}

// TestTruncatingOpen: an open that truncates does not bring the old content back first.
func TestTruncatingOpen(t *testing.T) {
	m := mount(t, daemonConfig{})
	p := noise(1, 8<<20)
	write(t, m.main("a"), p)
	m.snapshot("a")
	m.run("drop", nil)
	f, err := os.OpenFile(m.main("a"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("size %d, %v", st.Size(), err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, m.main("a"), []byte("new"))
}

// TestSetID: what a plain user's write and anybody's chown must clear is cleared, and a directory's setgid bit is handed down.
func TestSetID(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to change owners")
	}
	m := mount(t, daemonConfig{AllowOther: true})
	mode := func(path string) uint32 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Mode & 0o7777
	}
	path := m.main("suid")
	write(t, path, []byte("x"))
	if err := unix.Chmod(path, 0o6777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if got := mode(path); got != 0o777 {
		t.Errorf("after chown: mode %o", got)
	}
	if err := unix.Chmod(path, 0o4755); err != nil {
		t.Fatal(err)
	}
	if got := mode(path); got != 0o4755 {
		t.Errorf("after chmod: mode %o", got)
	}
	before := m.count()
	wantBytes(t, path, []byte("x"))
	if m.count().Passthrough && m.count().Reads == before.Reads {
		t.Error("a setuid file is passed through")
	}
	asUser := func(script string) (string, error) {
		cmd := exec.Command("sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for p := m.dir; p != "/"; p = filepath.Dir(p) { // t.TempDir is closed to others
		if p != m.dir {
			os.Chmod(p, 0o755)
		}
	}
	if err := unix.Chmod(path, 0o6777); err != nil {
		t.Fatal(err)
	}
	if out, err := asUser("echo y >> " + path); err != nil {
		t.Errorf("a user's write: %v: %s", err, out)
	}
	if got := mode(path); got&0o6000 != 0 {
		t.Errorf("after a user's write: mode %o", got)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 0, 0); err != nil {
		t.Fatal(err)
	}
	if out, err := asUser("cat " + path); err == nil || !strings.Contains(out, "denied") {
		t.Errorf("another user reads a file of mode 600: %v: %s", err, out)
	}
	dir := m.main("shared")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 0, 1234); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(dir, 0o2775); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sub", "f"), nil)
	for _, name := range []string{"sub", "sub/f"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Gid != 1234 {
			t.Errorf("%s: group %d, %v", name, st.Gid, err)
		}
	}
	if got := mode(filepath.Join(dir, "sub")); got != 0o2755 {
		t.Errorf("sub: mode %o", got)
	}
}
