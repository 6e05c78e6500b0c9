package fs

import (
	"os"
	"syscall"
	"testing"
	"time"

	"coral/vcs/worktree"
)

func TestLiveTTL(t *testing.T) {
	for _, c := range []struct {
		name        string
		shared      bool
		a           worktree.Attr
		entry, attr time.Duration
	}{
		{"file", false, worktree.Attr{Mode: syscall.S_IFREG}, settled, settled},
		{"symlink", false, worktree.Attr{Mode: syscall.S_IFLNK}, settled, settled},
		{"file open for writing", false, worktree.Attr{Mode: syscall.S_IFREG, Writing: true}, settled, brief},
		{"directory", false, worktree.Attr{Mode: syscall.S_IFDIR}, brief, brief},
		{"file, two mounts", true, worktree.Attr{Mode: syscall.S_IFREG}, 0, 0},
		{"directory, two mounts", true, worktree.Attr{Mode: syscall.S_IFDIR}, 0, 0},
	} {
		m := &Mount{}
		m.shared.Store(c.shared)
		if entry, attr := m.liveTTL(&c.a); entry != c.entry || attr != c.attr {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, entry, attr, c.entry, c.attr)
		}
	}
}

// TestMappedWriteIsSeen: a change by a mapping, of which the kernel does not tell the inode and passthrough not the daemon, shows in stat(2) before what the kernel
// keeps runs out, while the file is open and after it was closed.
func TestMappedWriteIsSeen(t *testing.T) {
	for name, lazy := range map[string]bool{"passthrough": false, "lazy": true} {
		t.Run(name, func(t *testing.T) { testMappedWriteIsSeen(t, mount(t, daemonConfig{Lazy: lazy}), lazy) })
	}
}

func testMappedWriteIsSeen(t *testing.T, m *mounted, lazy bool) {
	old := time.Unix(1e9, 0)
	isNew := func(path string) func() bool {
		return func() bool {
			st, err := os.Stat(path)
			return err == nil && st.ModTime().After(old)
		}
	}
	mapped := func(name string, whileOpen bool) {
		path := m.main(name)
		write(t, path, make([]byte, 4096))
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		if isNew(path)() {
			t.Fatal("the time was not set") // and the kernel keeps it now
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		if isNew(path)() {
			t.Fatal("new before it was written to") // and the kernel keeps the time of before again
		}
		b[0] = 1
		start := time.Now()
		if whileOpen {
			eventually(t, "a mapped write to an open file", isNew(path))
		}
		if err := syscall.Munmap(b); err != nil {
			t.Fatal(err)
		}
		f.Close()
		eventually(t, "a mapped write to a closed file", isNew(path))
		if d := time.Since(start); d > settled/2 {
			t.Errorf("seen only after %v", d)
		}
	}
	if !lazy { // a lazy file's mapped page comes to us when the kernel writes it back
		mapped("open", true)
	}
	mapped("closed", false)
}
