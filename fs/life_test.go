package fs

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnmount(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("a"), []byte("passed through"))
	f, err := os.Open(m.main("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := m.tell("unmount"); !strings.Contains(got, "busy") {
		t.Fatalf("unmount with an open file says %q", got)
	}
	wantBytes(t, m.main("a"), []byte("passed through")) // it still works
	if got := m.tell("lazy"); got != "ok" {
		t.Fatalf("lazy unmount says %q", got)
	}
	if names, err := os.ReadDir(m.dir); err != nil || len(names) != 0 {
		t.Errorf("the mountpoint has %v, %v", names, err)
	}
	f.Close()
	m.stop(m.cmd, m.dir, m.log)

	m.start(daemonConfig{})
	wantBytes(t, m.main("a"), []byte("passed through"))
	if err := syscall.Unmount(m.dir, 0); err != nil { // by somebody else
		t.Fatal(err)
	}
}

// TestConnectionCut: a mount whose connection is cut while a file is open leaves nothing behind.
func TestConnectionCut(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("a"), []byte("a"))
	f, err := os.Open(m.main("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Unmount(m.dir, unix.MNT_FORCE); err != nil && err != syscall.EBUSY {
		t.Skipf("umount -f: %v", err)
	}
	eventually(t, "the dead mount is gone", func() bool {
		names, err := os.ReadDir(m.dir)
		return err == nil && len(names) == 0
	})
	m.stop(m.cmd, m.dir, m.log)
	m.start(daemonConfig{})
	wantBytes(t, m.main("a"), []byte("a"))
}

func TestReadOnlyMount(t *testing.T) {
	m := mount(t, daemonConfig{})
	write(t, m.main("a"), []byte("a"))
	m.snapshot("a")
	m.stop(m.cmd, m.dir, m.log)
	m.start(daemonConfig{ReadOnly: true})
	wantBytes(t, m.main("a"), []byte("a"))
	for what, err := range map[string]error{
		"create": os.WriteFile(m.main("b"), nil, 0o644),
		"write":  os.WriteFile(m.main("a"), nil, 0o644),
		"mkdir":  os.Mkdir(m.main("d"), 0o755),
		"rm":     os.Remove(m.main("a")),
		"chmod":  os.Chmod(m.main("a"), 0o600),
		"rename": os.Rename(m.main("a"), m.main("b")),
		"branch": os.Mkdir(m.path("branches", "x"), 0o755),
		"tag":    os.Symlink("../commits/main", m.path("tags", "x")),
		"rmtag":  syscall.Rmdir(m.path("tags", "x")),
	} {
		if what == "rmtag" {
			wantErrno(t, what, err, syscall.ENOENT)
			continue
		}
		wantErrno(t, what, err, syscall.EROFS)
	}
	m.run("count", nil)
}
