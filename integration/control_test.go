package integration

import (
	"encoding/json"
	"errors"
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

	"coral/integration/mounttest"
)

// control writes one line to the control file and reads the reply from the same descriptor.
func control(t *testing.T, r *mounttest.Repo, line string) (map[string]any, error) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.Mnt, ".coral/control"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, werr := f.WriteString(line + "\n")
	b, err := io.ReadAll(f)
	must(t, err)
	var reply map[string]any
	if err := json.Unmarshal(b, &reply); err != nil {
		t.Fatalf("control %q: reply %q: %v", line, b, err)
	}
	return reply, werr
}

func TestControlFile(t *testing.T) {
	r := mounttest.Mounted(t)
	at := time.Unix(1_700_000_000, 5)
	write := func(s string) { // with one mtime, as a tree holds it
		t.Helper()
		r.Write("a", []byte(s))
		must(t, os.Chtimes(r.Live("a"), at, at))
	}
	write("1")
	reply, err := control(t, r, `snapshot -m 'step 500' --metric loss=0.41 --label run="a b"`)
	must(t, err)
	id, _ := reply["commit"].(string)
	if len(id) != 64 {
		t.Fatalf("reply %v", reply)
	}
	var shown map[string]any
	r.JSON(&shown, "cat", id)
	if b, _ := json.Marshal(shown); !strings.Contains(string(b), "step 500") || !strings.Contains(string(b), "0.41") || !strings.Contains(string(b), "a b") {
		t.Errorf("coral cat of the commit: %s", b)
	}
	last, err := os.ReadFile(filepath.Join(r.Mnt, ".coral/last"))
	must(t, err)
	if !strings.Contains(string(last), id) {
		t.Errorf("last: %s", last)
	}

	// the same content through the CLI is the same tree
	write("2")
	cli := r.Snapshot("cli")
	write("1")
	reply, err = control(t, r, "commit -m back")
	must(t, err)
	treeOf := func(id string) string {
		var c struct {
			Tree string `json:"tree"`
		}
		r.JSON(&c, "cat", id)
		return c.Tree
	}
	if a, b := treeOf(id), treeOf(reply["commit"].(string)); a != b || a == treeOf(cli) || a == "" {
		t.Errorf("trees %s %s %s", a, b, treeOf(cli))
	}

	for _, bad := range []string{"nosuchverb", "snapshot --nosuchflag", "snapshot -m 'unclosed", "checkout nosuch", ""} {
		reply, err := control(t, r, bad)
		if err == nil {
			t.Errorf("control %q: the write succeeded", bad)
		} else if bad != "checkout nosuch" && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("control %q: %v, want EINVAL", bad, err)
		}
		if reply["error"] == nil {
			t.Errorf("control %q: reply %v says no error", bad, reply)
		}
	}
	// a shell that cannot read back
	mounttest.Exec(t, "sh", "-c", "echo 'status' > "+filepath.Join(r.Mnt, ".coral/control"))
	var status map[string]any
	b, err := os.ReadFile(filepath.Join(r.Mnt, ".coral/last"))
	must(t, err)
	must(t, json.Unmarshal(b, &status))
	if status["branch"] != "main" {
		t.Errorf("status through control: %s", b)
	}
	b, err = os.ReadFile(filepath.Join(r.Mnt, ".coral/status"))
	must(t, err)
	must(t, json.Unmarshal(b, &status))
	st, err := os.Stat(filepath.Join(r.Mnt, ".coral/control"))
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("control has mode %v", st.Mode())
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	r := mounttest.Mounted(t)
	pid := r.PID()
	other := t.TempDir()
	cmd := exec.Command(mounttest.Bin, "-R", r.Dir, "mount", "--foreground", other)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprint(pid)) {
		t.Errorf("second daemon: %v %q, want a refusal that names %d", err, out, pid)
	}
	if _, errOut, code := r.Try("mount", r.Mnt); code == 0 || !strings.Contains(errOut, r.Mnt) {
		t.Errorf("mount over the mount: exit %d %q", code, errOut)
	}
	// several mounts of one daemon are fine
	r.Coral("mount", other)
	r.Write("a", []byte("seen in both"))
	r.Want(filepath.Join(other, "branches/main/a"), []byte("seen in both"))
	// with nothing named, what is mounted is listed: in the repository, and where there is none
	if _, errOut, code := r.Try("unmount"); code != 2 || !strings.Contains(errOut, r.Mnt) || !strings.Contains(errOut, other) {
		t.Errorf("unmount of nothing in particular: exit %d %q", code, errOut)
	}
	cmd = exec.Command(mounttest.Bin, "unmount")
	cmd.Dir = t.TempDir()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "CORAL_REPO=") })
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), r.Mnt) || !strings.Contains(string(out), other) {
		t.Errorf("unmount without a repository: %v %q", err, out)
	}
	r.Coral("unmount", other)
	if r.PID() != pid {
		t.Error("unmounting one of two mounts ended the daemon")
	}
}

func TestBusyUnmountNamesHolder(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", []byte("x"))
	cmd := exec.Command("sleep", "600")
	cmd.Dir = r.Live()
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_, errOut, code := r.Try("unmount", r.Mnt)
	if code == 0 || !strings.Contains(errOut, fmt.Sprint(cmd.Process.Pid)) {
		t.Fatalf("unmount of a busy mount: exit %d %q, want the pid %d", code, errOut, cmd.Process.Pid)
	}
	r.Want(r.Live("a"), []byte("x")) // still works
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	r.Unmount()
}

func TestSIGTERMDrains(t *testing.T) {
	r := mounttest.Mounted(t)
	data := noise(1, 20_000_000)
	r.Write("big", data)
	pid := r.PID()
	must(t, syscall.Kill(pid, syscall.SIGTERM))
	r.WaitGone(pid)
	if mounttest.IsMounted(r.Mnt) {
		t.Fatal("still mounted after SIGTERM")
	}
	var s struct {
		Queue struct{ Files int }
	}
	r.JSON(&s, "status")
	if s.Queue.Files != 0 {
		t.Errorf("%d files were not ingested before the daemon ended", s.Queue.Files)
	}
	r.Mount()
	r.Want(r.Live("big"), data)
}

func TestForeground(t *testing.T) {
	r := mounttest.New(t)
	cmd := exec.Command(mounttest.Bin, "-R", r.Dir, "mount", "--foreground", r.Mnt)
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !mounttest.IsMounted(r.Mnt) {
		select {
		case err := <-ended:
			t.Fatalf("the foreground daemon ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.Write("a", []byte("x"))
	if got := r.PID(); got != cmd.Process.Pid {
		t.Errorf("status says pid %d, the process is %d", got, cmd.Process.Pid)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	if err := <-ended; err != nil {
		t.Fatalf("exit after SIGINT: %v", err)
	}
	if mounttest.IsMounted(r.Mnt) {
		t.Error("still mounted")
	}
}

// TestTwoCLIs runs commands at once, with and without a daemon: each must succeed, one after the other.
func TestTwoCLIs(t *testing.T) {
	r := mounttest.New(t)
	src := t.TempDir()
	for i := range 6 {
		put(t, filepath.Join(src, fmt.Sprintf("f%d", i)), noise(uint64(i), 100_000))
	}
	for _, mounted := range []bool{false, true} {
		if mounted {
			r.Mount()
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				_, errOut, code := mounttest.Run(t, r.Dir, "add", filepath.Join(src, fmt.Sprintf("f%d", i)), "--to", fmt.Sprintf("d%v", mounted))
				if code != 0 {
					t.Errorf("add %d: %s", i, errOut)
				}
				_, errOut, code = mounttest.Run(t, r.Dir, "snapshot", "-m", fmt.Sprint(i))
				if code != 0 {
					t.Errorf("snapshot %d: %s", i, errOut)
				}
			})
		}
		wg.Wait()
		id := r.Snapshot("all", "--allow-empty")
		dst := filepath.Join(t.TempDir(), "out")
		r.Coral("export", id, dst)
		mounttest.Exec(t, "diff", "-r", src, filepath.Join(dst, fmt.Sprintf("d%v", mounted)))
	}
	r.Coral("fsck", "--full")
}

// TestManyWritersAndReaders writes and reads from several processes while snapshots are taken; each commit must hold whole files only.
func TestManyWritersAndReaders(t *testing.T) {
	r := mounttest.Mounted(t)
	const writers, rounds = 4, 12
	stop := make(chan struct{})
	var wg, readers sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			script := fmt.Sprintf(`set -e; cd %s; mkdir -p w%d; for i in $(seq %d); do
				head -c 300000 /dev/urandom > w%d/.tmp; sha256sum < w%d/.tmp > w%d/.sum; mv w%d/.tmp w%d/data.$i; mv w%d/.sum w%d/sum.$i; done`,
				r.Live(), w, rounds, w, w, w, w, w, w, w)
			if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v %s", w, err, out)
			}
		})
	}
	var ids []string
	readers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				ids = append(ids, r.Snapshot(fmt.Sprint(n), "--allow-empty"))
			}
		}
	})
	wg.Wait()
	close(stop)
	readers.Wait()
	ids = append(ids, r.Snapshot("last", "--allow-empty"))
	check := `cd %s && for s in $(find . -name 'sum.*'); do d=$(echo $s | sed 's/sum\./data./'); test "$(cat $s)" = "$(sha256sum < $d)" || { echo $d differs; exit 1; }; done`
	for _, id := range []string{ids[len(ids)/2], ids[len(ids)-1]} {
		mounttest.Exec(t, "sh", "-c", fmt.Sprintf(check, r.Commit(id)))
	}
	got := splitLines(mounttest.Exec(t, "sh", "-c", "cd "+r.Commit(ids[len(ids)-1])+" && ls w*/data.*"))
	if len(got) != writers*rounds {
		t.Errorf("%d files in the last commit, want %d", len(got), writers*rounds)
	}
	t.Logf("%d snapshots taken meanwhile", len(ids))
}

// TestSnapshotOfOpenFile: a file open for writing enters as it is and is named; --strict refuses.
func TestSnapshotOfOpenFile(t *testing.T) {
	r := mounttest.Mounted(t)
	f, err := os.Create(r.Live("open"))
	must(t, err)
	_, err = f.Write(noise(1, 50_000))
	must(t, err)
	if _, errOut, code := r.Try("snapshot", "-m", "x", "--strict"); code == 0 || !strings.Contains(errOut, "open") {
		t.Errorf("--strict: exit %d %q", code, errOut)
	}
	var s struct {
		Commit    string
		OpenFiles []string `json:"open_files"`
	}
	r.JSON(&s, "snapshot", "-m", "x")
	if len(s.OpenFiles) != 1 || s.OpenFiles[0] != "open" {
		t.Errorf("open_files = %v", s.OpenFiles)
	}
	r.Want(r.Commit(s.Commit, "open"), noise(1, 50_000))
	_, err = f.Write([]byte("more"))
	must(t, err)
	must(t, f.Close())
	id := r.Snapshot("closed")
	r.Want(r.Commit(id, "open"), append(noise(1, 50_000), "more"...))
	r.Want(r.Commit(s.Commit, "open"), noise(1, 50_000))
}
