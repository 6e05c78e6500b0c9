package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// nobody is a user that owns nothing here.
const nobody = 65534

// as runs a program as nobody and returns its output and error.
func as(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// TestMountAt shows one tree at the root: a branch live, a commit read-only, beside a mount of the whole.
func TestMountAt(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("run/model.bin", noise(7, 300_000))
	id := r.Snapshot("one")
	r.Coral("tag", "v1")
	r.Write("run/later", []byte("later"))

	at := filepath.Join(t.TempDir(), "at")
	var m struct {
		At       string `json:"at"`
		ReadOnly bool   `json:"read_only"`
	}
	r.JSON(&m, "mount", at, "--at", "v1")
	if m.At != id || !m.ReadOnly {
		t.Fatalf("mount --at v1 says %+v, the commit is %s", m, id)
	}
	r.Want(filepath.Join(at, "run/model.bin"), noise(7, 300_000))
	if _, err := os.Stat(filepath.Join(at, "run/later")); !os.IsNotExist(err) {
		t.Fatalf("a tag shows what came later: %v", err)
	}
	if err := os.WriteFile(filepath.Join(at, "x"), nil, 0o644); err == nil {
		t.Fatal("a commit could be written to")
	}
	r.Coral("unmount", at)

	r.Coral("mount", at, "--at", "main")
	if err := os.WriteFile(filepath.Join(at, "run/here"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Want(r.Live("run/here"), []byte("1"))
	r.Want(filepath.Join(at, "run/later"), []byte("later"))
	r.Coral("add", filepath.Join(mounttest.Root(), "README.md")) // a change from outside is seen at once
	if _, err := os.Stat(filepath.Join(at, "README.md")); err != nil {
		t.Fatal(err)
	}
	second := r.Snapshot("two")
	r.Want(r.Commit(second, "run/here"), []byte("1"))
	r.Coral("unmount", at)

	bad := filepath.Join(t.TempDir(), "bad")
	if _, errOut, code := r.Try("mount", bad, "--at", "nothing"); code != 1 || !strings.Contains(errOut, "nothing") {
		t.Fatalf("mount --at nothing: exit %d, %s", code, errOut)
	}
	if _, err := os.Stat(bad); !os.IsNotExist(err) {
		t.Fatalf("a mount that failed left its mountpoint behind: %v", err)
	}
}

// TestOtherUsers: with --allow-other, another user reads by mode bits and can command nothing.
func TestOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	r := mounttest.New(t)
	r.Mnt = openDir(t)
	r.Mount("--allow-other")
	r.Write("open", []byte("open"))
	r.Write("closed", []byte("closed"))
	if err := os.Chmod(r.Live("closed"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := r.Snapshot("one")
	if out, err := as(t, nil, "cat", r.Live("open"), r.Commit(id, "open")); err != nil || out != "openopen" {
		t.Fatalf("a file that all may read: %q, %v", out, err)
	}
	for what, script := range map[string]string{
		"read of a closed file":            "cat " + r.Live("closed"),
		"write to a live tree":             "echo x > " + r.Live("new"),
		"change of a file":                 "echo x >> " + r.Live("open"),
		"delete":                           "rm -f " + r.Live("open"),
		"a branch":                         "mkdir " + filepath.Join(r.Mnt, "branches", "mine"),
		"a tag":                            "ln -s ../commits/" + id + " " + filepath.Join(r.Mnt, "tags", "mine"),
		"a command by the control file":    "echo 'snapshot -m no' > " + filepath.Join(r.Mnt, ".coral", "control"),
		"reading what commands answered":   "cat " + filepath.Join(r.Mnt, ".coral", "last"),
		"the daemon's log":                 "cat " + filepath.Join(r.Mnt, ".coral", "log"),
		"a command by the daemon's socket": mounttest.Bin + " -R " + r.Dir + " snapshot -m no",
		"the packs":                        "ls " + filepath.Join(r.Dir, ".coral", "packs"),
	} {
		if out, err := as(t, nil, "sh", "-c", script); err == nil {
			t.Errorf("%s: another user could: %s", what, out)
		}
	}
	r.Want(r.Live("open"), []byte("open"))
	if out := r.Coral("log", "--oneline"); strings.Count(out, "\n") != 1 {
		t.Fatalf("commits by another user: %s", out)
	}
}

// openDir returns an empty mountpoint that every user can reach.
func openDir(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "coral-open-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	mnt := filepath.Join(base, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	return mnt
}

// TestOrdinaryUser mounts as a user without rights, by fusermount3: no passthrough, no CAP_SYS_ADMIN, and everything works.
func TestOrdinaryUser(t *testing.T) {
	mounttest.NeedFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	dev, err := os.Stat("/dev/fuse") // open to all on ordinary machines, not in every container
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod("/dev/fuse", dev.Mode().Perm())
	mnt := openDir(t)
	base := filepath.Dir(mnt)
	bin := filepath.Join(base, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	helper := findHelper(t)
	for from, to := range map[string]string{mounttest.Bin: "coral", helper: "fusermount3"} {
		mounttest.Exec(t, "cp", from, filepath.Join(bin, to))
	}
	coral := filepath.Join(bin, "coral")
	for path, mode := range map[string]os.FileMode{coral: 0o755, filepath.Join(bin, "fusermount3"): 0o755 | os.ModeSetuid} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(base, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{home, mnt} {
		if err := os.Chown(p, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "CORAL_REPO=" + home + "/models"}
	must := func(name string, args ...string) string {
		t.Helper()
		out, err := as(t, env, name, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return out
	}
	must(coral, "init", home+"/models")
	must(coral, "mount", mnt)
	defer func() {
		if mounttest.IsMounted(mnt) {
			_, _ = as(t, env, coral, "unmount", mnt, "--lazy")
		}
	}()
	must("sh", "-c", "head -c 3000000 /dev/urandom > "+home+"/data && cp "+home+"/data "+mnt+"/branches/main/data && mkdir "+mnt+"/branches/main/d && ln "+mnt+"/branches/main/data "+mnt+"/branches/main/d/link")
	id := strings.TrimSpace(must("sh", "-c", coral+` snapshot -m one --json | sed 's/.*"commit":"\([0-9a-f]*\)".*/\1/'`))
	must("cmp", home+"/data", mnt+"/branches/main/data")
	must("cmp", home+"/data", mnt+"/commits/"+id+"/data")
	must(coral, "cache", "drop")
	must("cmp", home+"/data", mnt+"/commits/"+id+"/d/link")
	var doctor struct {
		OK     bool `json:"ok"`
		Checks []struct{ Name, Level string }
	}
	if err := json.Unmarshal([]byte(must(coral, "doctor", "--json")), &doctor); err != nil {
		t.Fatal(err)
	}
	notes := map[string]string{}
	for _, c := range doctor.Checks {
		notes[c.Name] = c.Level
	}
	if !doctor.OK || notes["passthrough"] != "note" || notes["fusermount3"] != "ok" || notes["daemon"] != "ok" {
		t.Fatalf("doctor for an ordinary user: %+v", doctor)
	}
	if _, err := os.ReadDir(filepath.Join(mnt, "commits")); err == nil {
		t.Fatal("root sees another user's mount without --allow-other")
	}
	must(coral, "unmount", mnt)
	must(coral, "fsck", "--full")
}

// findHelper returns fusermount3 as the system or integration/tools.sh has it.
func findHelper(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/fusermount3", "/bin/fusermount3", filepath.Join(mounttest.Root(), ".cache/tools/root/usr/bin/fusermount3"), filepath.Join(mounttest.Root(), ".cache/tools/root/bin/fusermount3")} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatal("no fusermount3: run 'make tools', or install fuse3")
	return ""
}

// TestMountHelper mounts as mount(8) does for a line of /etc/fstab of type coral.
func TestMountHelper(t *testing.T) {
	r := mounttest.New(t)
	helper := filepath.Join(t.TempDir(), "mount.coral")
	if err := os.Symlink(mounttest.Bin, helper); err != nil {
		t.Fatal(err)
	}
	mounttest.Exec(t, helper, r.Dir, r.Mnt, "-n", "-o", "rw,noauto,nofail,x-systemd.automount,cache_size=1G")
	if !mounttest.IsMounted(r.Mnt) {
		t.Fatal("mount.coral returned and nothing is mounted")
	}
	r.Write("a", []byte("x"))
	var c struct{ Limit int64 }
	r.JSON(&c, "cache")
	if c.Limit != 1<<30 {
		t.Fatalf("cache_size=1G gives a limit of %d", c.Limit)
	}
	r.JSON(&c, "cache", "--size", "2G")
	if c.Limit != 2<<30 {
		t.Fatalf("cache --size 2G gives a limit of %d", c.Limit)
	}
	pid := r.PID()
	mounttest.Exec(t, "umount", r.Mnt) // the last one: the daemon ends
	r.WaitGone(pid)
}

// TestOverlay has the repository on an overlay, as in a container: whatever of passthrough the kernel allows there, everything works, and survives a kill.
func TestOverlay(t *testing.T) {
	mounttest.NeedFUSE(t)
	base := t.TempDir()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(base, "merged")
	opts := "lowerdir=" + filepath.Join(base, "lower") + ",upperdir=" + filepath.Join(base, "upper") + ",workdir=" + filepath.Join(base, "work")
	if err := syscall.Mount("overlay", merged, "overlay", 0, opts); err != nil {
		t.Skipf("no overlay can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(merged, syscall.MNT_DETACH) })
	r := mounttest.NewAt(t, filepath.Join(merged, "r"), filepath.Join(base, "mnt"))
	r.Mount()
	first, second := noise(1, 3_000_000), noise(2, 3_000_000)
	r.Write("model.bin", first)
	id := r.Snapshot("one")
	r.Coral("sync")
	r.Coral("cache", "drop")
	r.Want(r.Commit(id, "model.bin"), first) // decoded
	r.Want(r.Commit(id, "model.bin"), first) // and perhaps materialised
	f, err := os.OpenFile(r.Live("model.bin"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(second, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	r.Want(r.Live("model.bin"), second)
	r.Kill9(r.PID())
	r.Mount()
	r.Want(r.Live("model.bin"), second)
	r.Want(r.Commit(id, "model.bin"), first)
	r.Unmount()
	r.Coral("fsck", "--full")
}
