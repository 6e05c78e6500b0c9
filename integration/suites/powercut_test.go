package suites

import (
	"bufio"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// mark is what the workload tells: an acknowledgement, or that one no longer holds. In the recording it is the making of a directory, mark-<number>.
type mark struct {
	path   string   // below branches/main
	sum    [32]byte // of its content from now on
	gone   bool     // it is about to be changed
	commit string   // a snapshot of this id returned
	files  map[string][32]byte
}

// TestPowerCut runs a repository on a file system that writes down every change of it, then builds what a disk may hold after a power cut at random
// moments: of what was not synced, any writes may be missing, in any order, page by page, and names as of any moment since the last fsync of their
// directory. Then fsck must pass, and nothing that was acknowledged may be missing: files fsynced, snapshots that returned, `coral sync`.
func TestPowerCut(t *testing.T) {
	mounttest.NeedFUSE(t)
	if os.Getuid() != 0 {
		t.Skip("CANNOT RUN: the recorder needs root to mount")
	}
	for seed := range size(uint64(1), 20) {
		log, marks := recorded(t, seed)
		rnd := rand.New(rand.NewPCG(seed, 77))
		first := slices.IndexFunc(log, func(op recOp) bool { return op.Name == "mark-0" })
		if first < 0 || len(marks) < 20 {
			t.Fatalf("%d marks, the first at %d: the workload did nothing", len(marks), first)
		}
		cuts := size(36, 300)
		t.Logf("seed %d: %d operations of the repository recorded, %d marks, %d power cuts", seed, len(log), len(marks), cuts)
		for i := range cuts {
			at := first + 1 + rnd.IntN(len(log)-first)
			how := []string{"nothing unsynced", "any of it", "any of it", "names only"}[i%4]
			cut(t, log[:at], marks, how, rand.New(rand.NewPCG(seed, uint64(i))))
			if t.Failed() {
				t.Fatalf("seed %d, cut %d: after %d of %d operations, %s", seed, i, at, len(log), how)
			}
		}
	}
}

// recorded runs the workload on a recorder and returns what was recorded.
func recorded(t *testing.T, seed uint64) ([]recOp, []mark) {
	t.Helper()
	base := filepath.Join(os.TempDir(), fmt.Sprint(mounted.Add(1)))
	below, err := os.MkdirTemp("/dev/shm", "recorded-") // its inode numbers are not used again soon
	if err != nil {
		below, err = os.MkdirTemp("", "recorded-")
	}
	must(t, err)
	defer os.RemoveAll(below)
	disk, logPath := filepath.Join(base, "d"), filepath.Join(base, "log")
	must(t, os.MkdirAll(disk, 0o755))
	defer os.RemoveAll(base)

	rec := exec.Command(os.Args[0])
	rec.Env = append(os.Environ(), recEnv+"="+strings.Join([]string{below, disk, logPath}, "\n"))
	rec.Stderr = os.Stderr
	out, err := rec.StdoutPipe()
	must(t, err)
	must(t, rec.Start())
	unmounted := false
	defer func() {
		if !unmounted {
			_ = syscall.Unmount(disk, syscall.MNT_DETACH)
			_ = rec.Wait()
		}
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the recorder says %q, %v", line, err)
	}
	r := mounttest.NewAt(t, filepath.Join(disk, "r"), filepath.Join(base, "m"))
	r.Mount()
	w := &worker{t: t, r: r, disk: disk, rnd: rand.New(rand.NewPCG(seed, 5))}
	for range size(150, 400) {
		w.step()
	}
	r.Unmount()
	must(t, syscall.Unmount(disk, syscall.MNT_DETACH)) // files are released behind its back: the recorder ends with the last
	unmounted = true
	must(t, rec.Wait())
	return readRecording(t, logPath), w.marks
}

func readRecording(t *testing.T, path string) []recOp {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var log []recOp
	for d := gob.NewDecoder(bufio.NewReaderSize(f, 1<<20)); ; {
		var op recOp
		err := d.Decode(&op)
		if errors.Is(err, io.EOF) {
			return log
		}
		must(t, err)
		log = append(log, op)
	}
}

// worker is who writes while the recorder records.
type worker struct {
	t     *testing.T
	r     *mounttest.Repo
	disk  string
	rnd   *rand.Rand
	marks []mark
}

func (w *worker) mark(m mark) {
	must(w.t, os.Mkdir(filepath.Join(w.disk, fmt.Sprintf("mark-%d", len(w.marks))), 0o755))
	w.marks = append(w.marks, m)
}

// step does one thing of those that the crash test does too, and opens committed files to change them in place.
func (w *worker) step() {
	dir := fmt.Sprintf("d%d", w.rnd.IntN(3))
	path := filepath.Join(dir, fmt.Sprintf("f%d", w.rnd.IntN(6)))
	live := w.r.Live(path)
	must(w.t, os.MkdirAll(w.r.Live(dir), 0o755))
	b := noise(w.rnd.Uint64(), []int{0, 1, 4000, 70_000, 300_000}[w.rnd.IntN(5)])
	switch p := w.rnd.IntN(100); {
	case p < 30: // written in place, fsynced or not
		w.mark(mark{path: path, gone: true})
		w.write(live, b, p < 20)
		if p < 20 {
			w.mark(mark{path: path, sum: sha256.Sum256(b)})
		}
	case p < 50: // written beside and renamed over
		w.write(live+".tmp", b, true)
		w.mark(mark{path: path, gone: true})
		must(w.t, os.Rename(live+".tmp", live))
		w.sync(w.r.Live(dir))
		w.mark(mark{path: path, sum: sha256.Sum256(b)})
	case p < 58:
		w.mark(mark{path: path, gone: true})
		if err := os.Remove(live); err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
	case p < 70: // opened for writing, not written to: nothing may happen to it
		if f, err := os.OpenFile(live, os.O_RDWR, 0); err == nil {
			must(w.t, f.Close())
		}
	case p < 78: // `coral sync` makes what was closed durable
		w.mark(mark{path: path, gone: true})
		w.write(live, b, false)
		w.r.Coral("sync")
		w.mark(mark{path: path, sum: sha256.Sum256(b)})
	case p < 92:
		m := mark{files: map[string][32]byte{}}
		for _, d := range []string{"d0", "d1", "d2"} {
			entries, _ := os.ReadDir(w.r.Live(d))
			for _, e := range entries {
				c, err := os.ReadFile(w.r.Live(d, e.Name()))
				must(w.t, err)
				m.files[filepath.Join(d, e.Name())] = sha256.Sum256(c)
			}
		}
		m.commit = w.r.Snapshot("power", "--allow-empty")
		w.mark(m)
		for path, sum := range m.files { // a snapshot acknowledges the live files too
			w.mark(mark{path: path, sum: sum})
		}
	case p < 96:
		w.r.Coral("cache", "drop")
	default:
		w.r.Coral("gc")
	}
}

func (w *worker) write(path string, b []byte, sync bool) {
	f, err := os.Create(path)
	must(w.t, err)
	_, err = f.Write(b)
	must(w.t, err)
	if sync {
		must(w.t, f.Sync())
	}
	must(w.t, f.Close())
	if sync {
		w.sync(filepath.Dir(path))
	}
}

func (w *worker) sync(dir string) {
	d, err := os.Open(dir)
	must(w.t, err)
	must(w.t, d.Sync())
	must(w.t, d.Close())
}

// cut builds a disk after a power cut at the end of log and checks the repository on it.
func cut(t *testing.T, log []recOp, marks []mark, how string, rnd *rand.Rand) {
	t.Helper()
	base := filepath.Join(os.TempDir(), fmt.Sprint(mounted.Add(1)))
	must(t, os.MkdirAll(filepath.Join(base, "m"), 0o755))
	defer os.RemoveAll(base)
	buildDisk(t, log, base, how, rnd)
	r := &mounttest.Repo{T: t, Dir: filepath.Join(base, "r"), Mnt: filepath.Join(base, "m")}
	for _, marker := range []string{"spool/boot", "cache/boot"} { // the machine was booted since
		p := filepath.Join(r.Dir, ".coral", marker)
		if _, err := os.Stat(p); err == nil {
			must(t, os.WriteFile(p, []byte("another-boot\n"), 0o600))
		}
	}
	if out, errOut, code := r.Try("fsck", "--full"); code != 0 {
		t.Errorf("fsck --full: exit %d\n%s%s", code, out, errOut)
		return
	}
	if _, errOut, code := r.Try("mount", r.Mnt); code != 0 {
		t.Errorf("mount: exit %d\n%s", code, errOut)
		return
	}
	defer func() {
		if _, errOut, code := r.Try("unmount", r.Mnt); code != 0 {
			t.Errorf("unmount: %s", errOut)
		}
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(r.Dir, ".coral", "log", "daemon.log"))
			t.Logf("daemon.log:\n%s", tail(b, 30))
		}
	}()
	acked := map[string][32]byte{}
	for _, op := range log {
		var n int
		if _, err := fmt.Sscanf(op.Name, "mark-%d", &n); err != nil || op.Kind != opMkdir {
			continue
		}
		switch m := marks[n]; {
		case m.commit != "":
			for path, sum := range m.files {
				wantSum(t, r.Commit(m.commit, path), sum)
			}
		case m.gone:
			delete(acked, m.path)
		default:
			acked[m.path] = m.sum
		}
	}
	for path, sum := range acked {
		if !wantSum(t, r.Live(path), sum) {
			t.Logf("what happened to it:\n%s", history(log, marks, path))
		}
	}
}

func wantSum(t *testing.T, path string, sum [32]byte) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil && sha256.Sum256(b) == sum {
		return true
	}
	t.Errorf("acknowledged, and not there as it was: %s (%d bytes %.4x, %v, want %.4x)", path, len(b), sha256.Sum256(b), err, sum)
	return false
}

// history tells what the workload did to a file, and where in the log.
func history(log []recOp, marks []mark, path string) string {
	var out []string
	for i, op := range log {
		var n int
		if _, err := fmt.Sscanf(op.Name, "mark-%d", &n); err != nil || op.Kind != opMkdir {
			continue
		}
		switch m := marks[n]; {
		case m.commit != "":
			out = append(out, fmt.Sprintf("%d: snapshot %.12s with %.4x", i, m.commit, m.files[path]))
		case m.path == path && m.gone:
			out = append(out, fmt.Sprintf("%d: changes", i))
		case m.path == path:
			out = append(out, fmt.Sprintf("%d: acknowledged as %.4x", i, m.sum))
		}
	}
	return strings.Join(out[max(0, len(out)-12):], "\n")
}
