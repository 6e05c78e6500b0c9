package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"coral/integration/mounttest"
)

// TestTwoMounts: two mounts of one repository show each other's changes at once, names, sizes and bytes, not after the second that
// the kernel may otherwise keep them.
func TestTwoMounts(t *testing.T) {
	r := mounttest.Mounted(t)
	second := filepath.Join(t.TempDir(), "second")
	r.Write("early", []byte("early")) // the kernel keeps what it is told of it, until there is another mount
	if _, err := os.Stat(r.Live("early")); err != nil {
		t.Fatal(err)
	}
	r.Coral("mount", second)
	if err := os.Chmod(filepath.Join(second, "branches/main/early"), 0o751); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(r.Live("early")); err != nil || st.Mode().Perm() != 0o751 {
		t.Fatalf("after chmod in the other mount: %v, %v", st, err)
	}
	if err := os.Remove(filepath.Join(second, "branches/main/early")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.Live("early")); !os.IsNotExist(err) {
		t.Fatalf("what was removed in the other mount is still there: %v", err)
	}
	defer r.Coral("unmount", second)
	a, b := r.Live("file"), filepath.Join(second, "branches/main/file")
	r.Write("file", []byte("0"))
	for i := range 20 {
		data := fmt.Appendf(nil, "%0*d", i+1, i)
		r.Write("file", data)
		if st, err := os.Stat(b); err != nil || st.Size() != int64(len(data)) {
			t.Fatalf("round %d: the other mount says %v, %v; want %d bytes", i, st, err, len(data))
		}
		r.Want(b, data)
		if err := os.Rename(b, b+"2"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a); !os.IsNotExist(err) {
			t.Fatalf("round %d: the old name is still there: %v", i, err)
		}
		r.Want(a+"2", data)
		if err := os.Rename(a+"2", a); err != nil {
			t.Fatal(err)
		}
		r.Want(b, data)
	}
}

// TestAddIsSeen: what `coral add` brings is in the mount when the command returns.
func TestAddIsSeen(t *testing.T) {
	r := mounttest.Mounted(t)
	src := filepath.Join(t.TempDir(), "new")
	for i := range 5 {
		data := fmt.Appendf(nil, "version %d", i)
		if err := os.WriteFile(src, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stat(r.Live("new")) // the kernel may remember it, or that it is not there
		r.Coral("add", src)
		r.Want(r.Live("new"), data)
	}
}
