package integration

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// kills is how many times TestKill9 kills the daemon; CORAL_KILLS changes it.
func kills(t *testing.T) int {
	if s := os.Getenv("CORAL_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 20
	}
	return 200
}

// crasher is the writer that runs while the daemon is killed: it logs what has been acknowledged, to a plain file outside the mount, and only then.
// Lines: "sync PATH SHA" after fsync of file and directory returned; "gone PATH" before an unlink or a rename away; "snap ID" after a snapshot returned.
const crasher = `
import os, sys, random, hashlib, subprocess
live, log, seed, coral = sys.argv[1], open(sys.argv[2], "a", buffering=1), int(sys.argv[3]), sys.argv[4]
rnd = random.Random(seed)
def note(*a): log.write(" ".join(a) + "\n"); log.flush()
def data():
    n = rnd.choice([0, 1, 4000, 70000, 300000, 1500000])
    return rnd.randbytes(n)
def fsync_dir(d):
    fd = os.open(d, os.O_RDONLY); os.fsync(fd); os.close(fd)
n = 0
print("begins", flush=True)
try:
    while True:
        n += 1
        d = os.path.join(live, "d%d" % rnd.randrange(4)); os.makedirs(d, exist_ok=True)
        p = os.path.join(d, "f%d" % rnd.randrange(12)); rel = os.path.relpath(p, live)
        what = rnd.random()
        if what < 0.5:
            b = data(); note("gone", rel)
            with open(p, "wb") as f:
                f.write(b); f.flush(); os.fsync(f.fileno())
            fsync_dir(d); note("sync", rel, hashlib.sha256(b).hexdigest())
        elif what < 0.75:
            b = data(); tmp = p + ".tmp%d" % n
            with open(tmp, "wb") as f:
                f.write(b); f.flush(); os.fsync(f.fileno())
            note("gone", rel); os.rename(tmp, p); fsync_dir(d); note("sync", rel, hashlib.sha256(b).hexdigest())
        elif what < 0.82:
            note("gone", rel)
            if os.path.exists(p): os.unlink(p)
        elif what < 0.88:
            b = data(); note("gone", rel)
            with open(p, "wb") as f: f.write(b)
            if subprocess.run([coral, "sync"], capture_output=True).returncode == 0: note("sync", rel, hashlib.sha256(b).hexdigest())
        elif what < 0.96:
            r = subprocess.run([coral, "snapshot", "-m", "s%d" % n, "--json", "--allow-empty"], capture_output=True, text=True)
            if r.returncode == 0:
                import json; note("snap", json.loads(r.stdout)["commit"])
        else:
            subprocess.run([coral, "gc"], capture_output=True)
except OSError:
    pass
`

// TestKill9 kills the daemon at random moments while files are written, synced, renamed, ingested, snapshotted and collected. After each remount
// all that was acknowledged must be there, whole.
func TestKill9(t *testing.T) {
	r := mounttest.New(t)
	py, err := exec.LookPath("python3")
	must(t, err)
	script := filepath.Join(t.TempDir(), "crasher.py")
	put(t, script, []byte(crasher))
	total := kills(t)
	rnd := rand.New(rand.NewPCG(uint64(total), 42))
	acked := map[string]string{} // path → sha256
	commits := map[string]map[string]string{}
	for i := range total {
		r.Mount()
		checkAcked(t, r, acked, i)
		pid := r.PID()
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.Command(py, script, r.Live(), log, fmt.Sprint(i), mounttest.Bin)
		cmd.Env = append(os.Environ(), "CORAL_REPO="+r.Dir)
		begins, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		if _, err := bufio.NewReader(begins).ReadString('\n'); err != nil { // a busy machine takes its time to start it
			t.Fatalf("the writer did not begin: %v", err)
		}
		time.Sleep(time.Duration(rnd.IntN(600)) * time.Millisecond) // the moment of death is the test's input
		r.Kill9(pid)
		_ = cmd.Wait()
		for _, id := range readLog(t, log, acked) {
			commits[id] = nil
		}
		if i%10 == 9 || i == total-1 {
			out, errOut, code := r.Try("fsck", "--full")
			if code != 0 {
				t.Fatalf("kill %d: fsck --full: exit %d\n%s%s", i, code, out, errOut)
			}
		}
	}
	r.Mount()
	checkAcked(t, r, acked, total)
	for id := range commits {
		sum := mounttest.Exec(t, "sh", "-c", "cd "+r.Commit(id)+" && find . -type f | sort | xargs -r sha256sum | sha256sum")
		if sum == "" {
			t.Errorf("commit %s reads nothing", id)
		}
	}
	t.Logf("%d kills, %d acknowledged files at the end, %d acknowledged snapshots", total, len(acked), len(commits))
	if len(commits) == 0 || len(acked) == 0 {
		t.Error("the writer acknowledged nothing: the test proves nothing")
	}
}

func readLog(t *testing.T, path string, acked map[string]string) (snaps []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return nil // killed before the writer began
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		switch {
		case len(w) == 3 && w[0] == "sync":
			acked[w[1]] = w[2]
		case len(w) == 2 && w[0] == "gone":
			delete(acked, w[1])
		case len(w) == 2 && w[0] == "snap":
			snaps = append(snaps, w[1])
		}
	}
	return snaps
}

func checkAcked(t *testing.T, r *mounttest.Repo, acked map[string]string, round int) {
	t.Helper()
	for path, sum := range acked {
		b, err := os.ReadFile(r.Live(path))
		if err != nil {
			t.Fatalf("after kill %d: an acknowledged file is gone: %v", round, err)
		}
		h := sha256.Sum256(b)
		if hex.EncodeToString(h[:]) != sum {
			t.Fatalf("after kill %d: %s (%d bytes) is not what was acknowledged", round, path, len(b))
		}
	}
}

// TestReaderSurvivesKill: a process that has a committed file open by passthrough reads on after the daemon is killed.
func TestReaderSurvivesKill(t *testing.T) {
	r := mounttest.Mounted(t)
	data := noise(1, 4_000_000)
	r.Write("a", data)
	id := r.Snapshot("one")
	f, err := os.Open(r.Commit(id, "a"))
	must(t, err)
	defer f.Close()
	r.Kill9(r.PID())
	got := make([]byte, len(data))
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatalf("read after the daemon was killed: %v", err)
	}
	if string(got) != string(data) {
		t.Fatal("read wrong bytes after the daemon was killed")
	}
	f.Close()
	if !mounttest.IsMounted(r.Mnt) {
		t.Fatal("expected the stale mount to be there still")
	}
	r.Mount() // takes the stale mount and socket over
	r.Want(r.Live("a"), data)
}

// TestKilledDaemonCLI: commands work right after a kill, without a mount.
func TestKilledDaemonCLI(t *testing.T) {
	r := mounttest.Mounted(t)
	r.Write("a", noise(1, 1000))
	r.Kill9(r.PID())
	id := r.Snapshot("after the kill")
	if got := r.Coral("cat", id+":a"); got != string(noise(1, 1000)) {
		t.Error("cat after a kill differs")
	}
	r.Coral("unmount", r.Mnt)
	if mounttest.IsMounted(r.Mnt) {
		t.Error("unmount left the stale mount")
	}
}

// TestWriterOutlivesDaemon: a program that has a file open for writing goes on writing to it after the daemon was killed, or after a lazy
// unmount. What it wrote is there after the next mount, however small the file is.
func TestWriterOutlivesDaemon(t *testing.T) {
	for _, how := range []string{"kill", "lazy"} {
		for _, size := range []int{100, 100_000} {
			t.Run(fmt.Sprintf("%s/%d", how, size), func(t *testing.T) {
				r := mounttest.Mounted(t)
				f, err := os.Create(r.Live("f"))
				must(t, err)
				defer f.Close()
				data := noise(1, size)
				_, err = f.Write(data)
				must(t, err)
				if how == "kill" {
					r.Kill9(r.PID())
				} else {
					pid := r.PID()
					r.Coral("unmount", "--lazy", r.Mnt)
					r.WaitGone(pid)
				}
				_, err = f.WriteString("written after")
				must(t, err)
				r.Mount() // ingests it, while it is still open
				r.Coral("sync")
				_, err = f.WriteString(", and after that")
				must(t, err)
				_ = f.Close() // ENOTCONN: nobody is there to acknowledge it
				want := append(data, "written after, and after that"...)
				r.Want(r.Live("f"), want)
				r.Unmount()
				r.Mount()
				r.Want(r.Live("f"), want)
				id := r.Snapshot("all of it")
				r.Want(r.Commit(id, "f"), want)
			})
		}
	}
}
