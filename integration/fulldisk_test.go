package integration

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// TestFullDiskCommands: on a disk without a free byte, a command that moves branches and live trees, or writes files, does all of it or says in one line that there is no space and
// has changed nothing; when there is room it works. With a daemon and without.
func TestFullDiskCommands(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: it mounts a small tmpfs")
	}
	for _, mounted := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "mounted"}[mounted], func(t *testing.T) { fullDisk(t, mounted) })
	}
}

func fullDisk(t *testing.T, mounted bool) {
	disk := t.TempDir()
	mounttest.Exec(t, "mount", "-t", "tmpfs", "-o", "size=100m", "none", disk)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	r := mounttest.NewIn(t, disk)
	src := t.TempDir()
	file := filepath.Join(src, "model.safetensors")
	snapshot := func(seed uint64, message string) string {
		must(t, os.WriteFile(file, oneTensor("w", noise(seed, 3_000_000)), 0o644))
		r.Coral("add", file)
		return r.Snapshot(message)
	}
	one := snapshot(1, "one")
	r.Coral("checkout", "-b", "side")
	snapshot(2, "side")
	r.Coral("checkout", "main")
	two := snapshot(3, "two")
	must(t, os.WriteFile(file, oneTensor("w", noise(4, 3_000_000)), 0o644))
	if mounted {
		r.Mount()
	}
	state := func() string {
		t.Helper()
		return r.Coral("branch", "--json") + r.Coral("tag", "--json") + fmt.Sprint(r.Coral("cat", ":model.safetensors") == string(oneTensor("w", noise(3, 3_000_000))))
	}
	before := state()
	ballast := filepath.Join(disk, "ballast")
	commands := []struct {
		args string
		must bool // it needs more room than there is
	}{
		{"merge side -s average", true},
		{"import " + src, true},
		{"convert " + two + ":model.safetensors " + filepath.Join(disk, "out.npz"), true},
		{"export " + two + " " + filepath.Join(disk, "out"), true},
		{"reset --hard " + one, true},
		{"restore -s " + one + " model.safetensors", true},
		{"revert " + two, true},
		{"tag full", false},
		{"branch full", false},
		{"undo", false},
	}
	for _, c := range commands {
		fill(t, ballast)
		out, errOut, code := r.Try(strings.Fields(c.args)...)
		must(t, os.Remove(ballast))
		switch {
		case code == 0 && c.must:
			t.Errorf("%s on a full disk: done, by its own account: %s", c.args, out)
		case code == 0:
			r.Coral("undo", "--force")
		case strings.Count(errOut, "\n") != 1:
			t.Errorf("%s on a full disk: exit %d, %q", c.args, code, errOut)
		case c.must && !strings.Contains(errOut, "space"):
			t.Errorf("%s on a full disk does not say that it is full: %q", c.args, errOut)
		}
		if c.args == "undo" && code == 0 {
			continue // was undone by undo, not by redo
		}
		if now := state(); now != before {
			t.Fatalf("%s on a full disk (exit %d %s) changed\n%s\nto\n%s", c.args, code, errOut, before, now)
		}
	}
	r.Coral("fsck", "--full")
	r.Coral("merge", "side", "-s", "average")
	r.Coral("convert", "HEAD:model.safetensors", filepath.Join(disk, "out.npz"))
	r.Coral("fsck", "--full")
}

// fill takes the last byte of the disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for n := 1 << 20; n > 0; {
		if _, err := f.Write(make([]byte, n)); err != nil {
			n /= 2
		}
	}
}

// oneTensor is a safetensors file of one F32 tensor of that name with the words of b, their exponents those of numbers near one.
func oneTensor(name string, b []byte) []byte {
	b = slices.Clone(b[:len(b)/4*4])
	for i := 0; i < len(b); i += 4 {
		b[i+2], b[i+3] = b[i+2]|0x80, 0x3f
	}
	header := fmt.Sprintf(`{%q:{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, name, len(b)/4, len(b))
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), b)
}
