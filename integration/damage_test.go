package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// twoCommits makes a repository with two files in two commits and returns the ids and bytes.
func twoCommits(t *testing.T, r *mounttest.Repo) (ids []string, files [][]byte) {
	t.Helper()
	for i := range 2 {
		b := noise(uint64(i+1), 3_000_000)
		files = append(files, b)
		r.Write(fmt.Sprintf("f%d", i), b)
		ids = append(ids, r.Snapshot(fmt.Sprint(i)))
	}
	return ids, files
}

func packs(t *testing.T, r *mounttest.Repo) []string {
	t.Helper()
	p, err := filepath.Glob(filepath.Join(r.Dir, ".coral/packs/*.pack"))
	must(t, err)
	if len(p) == 0 {
		t.Fatal("no packs")
	}
	return p
}

// TestFlippedByte damages one byte in the middle of a pack: fsck names file and commit, reading gives an error and never wrong bytes, the rest is whole.
func TestFlippedByte(t *testing.T) {
	r := mounttest.Mounted(t)
	ids, files := twoCommits(t, r)
	r.Coral("cache", "drop")
	r.Unmount()
	p := packs(t, r)[0]
	b, err := os.ReadFile(p)
	must(t, err)
	b[1_500_000] ^= 0x10 // in the first file: noise is stored raw, in the order written
	must(t, os.WriteFile(p, b, 0o600))

	out, errOut, code := r.Try("fsck", "--full")
	if code != 1 {
		t.Fatalf("fsck of a damaged pack: exit %d\n%s%s", code, out, errOut)
	}
	report := out + errOut
	if !strings.Contains(report, "f0") || !strings.Contains(report, filepath.Base(p)) {
		t.Errorf("fsck does not name the damaged file and pack:\n%s", report)
	}
	if !strings.Contains(report, ids[0][:12]) && !strings.Contains(report, ids[1][:12]) {
		t.Errorf("fsck names no commit:\n%s", report)
	}
	r.Mount()
	got, err := os.ReadFile(r.Commit(ids[0], "f0"))
	if err == nil {
		t.Error("a damaged file was read without an error")
		if string(got) != string(files[0]) {
			t.Error("and its bytes are wrong")
		}
	} else if !errors.Is(err, syscall.EIO) {
		t.Errorf("reading a damaged file: %v, want EIO", err)
	}
	r.Want(r.Commit(ids[1], "f1"), files[1])
	r.Write("f2", files[0]) // and it goes on working: the same bytes can be stored anew
	id := r.Snapshot("after the damage")
	r.Want(r.Commit(id, "f1"), files[1])
}

func TestTruncatedPack(t *testing.T) {
	r := mounttest.Mounted(t)
	ids, files := twoCommits(t, r)
	r.Coral("cache", "drop")
	r.Unmount()
	p := packs(t, r)[0]
	must(t, os.Truncate(p, 3_500_000)) // the first file and its commit remain
	out, errOut, code := r.Try("fsck", "--full")
	if code != 1 || !strings.Contains(out+errOut, filepath.Base(p)) || !strings.Contains(out+errOut, ids[1][:12]) {
		t.Errorf("fsck of a cut pack: exit %d\n%s%s", code, out, errOut)
	}
	if _, errOut, code := r.Try("export", ids[1], filepath.Join(t.TempDir(), "x")); code == 0 || strings.Count(errOut, "\n") != 1 {
		t.Errorf("export of a lost commit: exit %d %q", code, errOut)
	}
	dst := filepath.Join(t.TempDir(), "out")
	if _, errOut, code := r.Try("export", ids[0], dst); code != 0 {
		t.Fatalf("the commit that is whole cannot be exported: %s", errOut)
	}
	got, err := os.ReadFile(filepath.Join(dst, "f0"))
	must(t, err)
	if string(got) != string(files[0]) {
		t.Error("exported bytes differ")
	}
}

// TestIndexDamage destroys the index in several ways: it is rebuilt from the packs, nothing is lost.
func TestIndexDamage(t *testing.T) {
	r := mounttest.Mounted(t)
	ids, files := twoCommits(t, r)
	r.Unmount()
	idx := filepath.Join(r.Dir, ".coral/index.db")
	for name, damage := range map[string]func(){
		"missing":   func() { must(t, os.Remove(idx)) },
		"empty":     func() { must(t, os.Truncate(idx, 0)) },
		"truncated": func() { must(t, os.Truncate(idx, 5000)) },
		"garbage":   func() { must(t, os.WriteFile(idx, noise(5, 100_000), 0o600)) },
		"zeroed pages": func() {
			f, err := os.OpenFile(idx, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt(make([]byte, 4096*2), 8192)
			must(t, err)
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			damage()
			if _, errOut, code := r.Try("fsck", "--rebuild-index"); code != 0 {
				t.Fatalf("fsck --rebuild-index: %s", errOut)
			}
			r.Coral("fsck", "--full")
			for i, id := range ids {
				if got := r.Coral("cat", fmt.Sprintf("%s:f%d", id, i)); got != string(files[i]) {
					t.Errorf("file %d differs", i)
				}
			}
		})
	}
	must(t, os.Remove(idx))
	r.Mount() // and without being asked
	r.Want(r.Commit(ids[0], "f0"), files[0])
}

// TestFullDisk puts the repository on a small ext4: writers get ENOSPC, what was there stays, and after making room all goes on.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: it mounts a small ext4")
	}
	base := t.TempDir()
	img, disk := filepath.Join(base, "img"), filepath.Join(base, "disk")
	must(t, os.WriteFile(img, nil, 0o600))
	must(t, os.Truncate(img, 200<<20))
	must(t, os.Mkdir(disk, 0o755))
	mounttest.Exec(t, "mkfs.ext4", "-q", "-m", "0", img)
	mounttest.Exec(t, "mount", "-o", "loop", img, disk)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	r := mounttest.NewIn(t, disk)
	r.Mount()
	keep := noise(1, 10_000_000)
	r.Write("keep", keep)
	id := r.Snapshot("keep")
	var wrote int
	var err error
	for ; wrote < 100; wrote++ {
		if err = os.WriteFile(r.Live(fmt.Sprintf("fill%d", wrote)), noise(uint64(wrote+10), 5_000_000), 0o644); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk ended with %v after %d files, want ENOSPC", err, wrote)
	}
	if _, errOut, code := r.Try("snapshot", "-m", "too full"); code == 0 {
		t.Log("the snapshot on the full disk succeeded")
	} else if strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "space") {
		t.Errorf("snapshot on a full disk: %q", errOut)
	}
	r.Want(r.Commit(id, "keep"), keep)
	r.Want(r.Live("keep"), keep)
	for i := range wrote {
		r.Want(r.Live(fmt.Sprintf("fill%d", i)), noise(uint64(i+10), 5_000_000))
	}
	for i := 2; i <= wrote; i++ { // make room: all but two of the fillers
		_ = os.Remove(r.Live(fmt.Sprintf("fill%d", i)))
	}
	r.Coral("gc", "--full", "--keep", "0s")
	r.Coral("cache", "drop")
	id2 := r.Snapshot("room again")
	r.Want(r.Commit(id2, "fill1"), noise(11, 5_000_000))
	r.Unmount()
	r.Coral("fsck", "--full")
	r.Mount()
	r.Want(r.Live("keep"), keep)
	r.Want(r.Commit(id2, "fill0"), noise(10, 5_000_000))
}

// TestReadOnlyRepository: reading commands and a mount work on a read-only file system; writing ones say why not.
func TestReadOnlyRepository(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: it makes a read-only bind mount")
	}
	r := mounttest.Mounted(t)
	ids, files := twoCommits(t, r)
	r.Write("dirty", []byte("not committed"))
	r.Unmount()
	mounttest.Exec(t, "mount", "--bind", r.Dir, r.Dir)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", r.Dir).Run() })
	mounttest.Exec(t, "mount", "-o", "remount,ro,bind", r.Dir)
	r.Coral("log")
	r.Coral("status")
	r.Coral("stats")
	r.Coral("fsck", "--full")
	if got := r.Coral("cat", ids[0]+":f0"); got != string(files[0]) {
		t.Error("cat differs")
	}
	for _, args := range [][]string{{"snapshot", "-m", "x"}, {"tag", "v1"}, {"branch", "b"}, {"gc"}} {
		_, errOut, code := r.Try(args...)
		if code == 0 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "read-only") {
			t.Errorf("coral %v: exit %d %q", args, code, errOut)
		}
	}
	if _, errOut, code := r.Try("mount", r.Mnt); code == 0 || !strings.Contains(errOut, "--ro") {
		t.Errorf("mount: exit %d %q, want a refusal that names --ro", code, errOut)
	}
	r.Mount("--ro")
	r.Want(r.Commit(ids[1], "f1"), files[1])
	r.Want(r.Live("dirty"), []byte("not committed"))
	if err := os.WriteFile(r.Live("new"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write: %v, want EROFS", err)
	}
	must(t, syscall.Unmount(r.Mnt, 0))
}

// TestVanishedRepository: the directory is moved away under a running daemon.
func TestVanishedRepository(t *testing.T) {
	r := mounttest.Mounted(t)
	data := noise(1, 100_000)
	r.Write("a", data)
	r.Snapshot("one")
	pid := r.PID()
	away := r.Dir + ".away"
	must(t, os.Rename(r.Dir, away))
	if _, errOut, code := r.Try("status"); code == 0 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, r.Dir) {
		t.Errorf("status without the repository: exit %d %q", code, errOut)
	}
	err := os.WriteFile(r.Live("b"), data, 0o644)
	t.Logf("write meanwhile: %v", err)
	must(t, os.Rename(away, r.Dir))
	must(t, syscall.Kill(pid, syscall.SIGTERM))
	r.WaitGone(pid)
	r.Mount()
	r.Want(r.Live("a"), data)
	if err == nil {
		r.Want(r.Live("b"), data)
	}
	r.Coral("fsck", "--full")
}
