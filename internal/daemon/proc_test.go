package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseMounts(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:52 / /mnt/my\040models rw,nosuid,nodev - fuse.coral /data/my\040models rw,user_id=0
37 36 0:53 / /mnt/x\134y rw master:1 propagate_from:2 - tmpfs  rw
nonsense
38 22 0:54 / /mnt/z rw - fuse.coral
`
	got, err := parseMounts(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	want := []mountEntry{
		{22, "254:0", "/", "ext4", "/dev/vda"}, {36, "0:52", "/mnt/my models", fsType, "/data/my models"}, {37, "0:53", `/mnt/x\y`, "tmpfs", "rw"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := hexDev("0:52"); got != "00:34" {
		t.Errorf("hexDev = %s", got)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("36 22 0:52 / /mnt/my\\040models rw - fuse.coral /data rw\n")
	f.Add("\\1 - \\ -")
	f.Fuzz(func(t *testing.T, s string) { _, _ = parseMounts(strings.NewReader(s)) })
}

// TestUsers finds children that hold a file system by its mount id, device or path. The root file system stands in for a mount.
func TestUsers(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	opener, _ := child(t, "open", file)
	sitter, _ := child(t, "cwd", dir)
	idle, _ := child(t, "idle", "")

	byPath := scan{proc: "/proc", point: dir}.run(os.Getpid())
	if pids := pidsOf(byPath); !slices.Contains(pids, sitter) || slices.Contains(pids, idle) || slices.Contains(pids, opener) {
		t.Errorf("by path: %v, want %d only", byPath, sitter)
	}
	id := mountID(t, file)
	byID := scan{proc: "/proc", point: "/nowhere", ids: map[string]bool{id: true}}
	if !byID.files("/proc/" + strconv.Itoa(opener)) {
		t.Errorf("process %d has mount %s open and was not found", opener, id)
	}
	if (scan{proc: "/proc", ids: map[string]bool{"0": true}}).files("/proc/" + strconv.Itoa(opener)) {
		t.Error("found by a mount id that is not there")
	}
	for i, u := range byPath {
		if u.PID == sitter && !strings.Contains(byPath[i].String(), filepath.Base(os.Args[0])) {
			t.Errorf("holder is called %q", u)
		}
	}
	if got := users("/not/a/mount"); len(got) != 0 {
		t.Errorf("users of nothing: %v", got)
	}
}

func pidsOf(list []user) (out []int) {
	for _, u := range list {
		out = append(out, u.PID)
	}
	return out
}

// mountID is the id of the mount that a file is on, by fdinfo of a descriptor of ours.
func mountID(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	t.Fatalf("no mnt_id in %q", b)
	return ""
}

// TestMapped finds a process by the device of a mapped file: every process maps its own program.
func TestMapped(t *testing.T) {
	pid, _ := child(t, "idle", "")
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	dev := ""
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 5 && f[4] != "0" {
			dev = f[3]
			break
		}
	}
	p := "/proc/" + strconv.Itoa(pid)
	if !(scan{devs: map[string]bool{dev: true}}).maps(p) || (scan{devs: map[string]bool{"ff:ff": true}}).maps(p) {
		t.Errorf("maps of %d by device %s", pid, dev)
	}
}

func TestMountpoints(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"link": "real", "link/new/deep": "real/new/deep", "real/": "real", "x/../real": "real"} {
		got, err := ResolveMountpoint(filepath.Join(base, in))
		if err != nil || got != filepath.Join(base, want) {
			t.Errorf("ResolveMountpoint(%s) = %s, %v", in, got, err)
		}
	}
	if got, err := ResolveMountpoint("/"); err != nil || got != "/" {
		t.Errorf("ResolveMountpoint(/) = %s, %v", got, err)
	}
}
