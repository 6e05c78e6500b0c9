// Package mounttest drives the built coral binary and real mounts from tests, as a user would:
// every daemon is a process of its own, and what a test leaves behind fails it.
package mounttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bin is the binary under test; TestMain sets it.
var Bin string

// Root returns the checkout, found from the working directory of a test in integration/.
func Root() string {
	d, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
	}
	panic("no go.mod above the working directory")
}

// Build compiles the binary into dir and returns its path.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "coral")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/coral")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build coral: %w\n%s", err, out)
	}
	return bin, nil
}

// NeedFUSE skips a test, and says so, on a machine that has no /dev/fuse. Where there is one, a mount that fails is a failure.
func NeedFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("CANNOT RUN: no /dev/fuse: %v", err)
	}
}

// Repo is one repository, mounted or not.
type Repo struct {
	T        testing.TB
	Dir, Mnt string
}

// New makes a repository in a temporary directory; its mountpoint exists and is not mounted.
// At the end of the test the daemon is stopped, and left-over mounts fail the test.
func New(t testing.TB) *Repo {
	t.Helper()
	return NewIn(t, t.TempDir())
}

// NewIn makes a repository in base/repo, to be mounted at a temporary directory.
func NewIn(t testing.TB, base string) *Repo {
	t.Helper()
	return NewAt(t, filepath.Join(base, "repo"), filepath.Join(t.TempDir(), "mnt"))
}

// NewAt makes a repository in dir, to be mounted at mnt, which it makes.
func NewAt(t testing.TB, dir, mnt string) *Repo {
	t.Helper()
	NeedFUSE(t)
	r := &Repo{T: t, Dir: dir, Mnt: mnt}
	if err := os.Mkdir(r.Mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Coral("init", r.Dir)
	t.Cleanup(r.cleanup)
	return r
}

// Mounted makes a repository and mounts it.
func Mounted(t testing.TB, flags ...string) *Repo {
	t.Helper()
	r := New(t)
	r.Mount(flags...)
	return r
}

// Live returns a path below branches/main.
func (r *Repo) Live(parts ...string) string {
	return filepath.Join(append([]string{r.Mnt, "branches", "main"}, parts...)...)
}

// Commit returns a path below commits/<id>.
func (r *Repo) Commit(id string, parts ...string) string {
	return filepath.Join(append([]string{r.Mnt, "commits", id}, parts...)...)
}

// Mount starts the daemon and mounts.
func (r *Repo) Mount(flags ...string) {
	r.T.Helper()
	r.Coral(append([]string{"mount", r.Mnt}, flags...)...)
	if !IsMounted(r.Mnt) {
		r.T.Fatalf("coral mount returned, but %s is not a mount", r.Mnt)
	}
}

// Unmount unmounts and waits for the daemon to go.
func (r *Repo) Unmount() {
	r.T.Helper()
	pid := r.PID()
	r.Coral("unmount", r.Mnt)
	if IsMounted(r.Mnt) {
		r.T.Fatalf("coral unmount returned, but %s is still mounted", r.Mnt)
	}
	r.WaitGone(pid)
}

// PID returns the daemon's process id, as status tells it; 0 if there is none.
func (r *Repo) PID() int {
	r.T.Helper()
	var s struct {
		Daemon *struct {
			PID int `json:"pid"`
		} `json:"daemon"`
	}
	r.JSON(&s, "status")
	if s.Daemon == nil {
		return 0
	}
	return s.Daemon.PID
}

// Kill9 kills the daemon and waits until it is gone.
func (r *Repo) Kill9(pid int) {
	r.T.Helper()
	if pid <= 1 {
		r.T.Fatalf("no daemon to kill (pid %d)", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		r.T.Fatal(err)
	}
	r.WaitGone(pid)
}

// WaitGone waits until the process has ended (a zombie counts as ended).
func (r *Repo) WaitGone(pid int) {
	r.T.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if i := bytes.LastIndexByte(b, ')'); i > 0 && len(b) > i+2 && b[i+2] == 'Z' {
			return
		}
	}
	r.T.Fatalf("daemon %d did not end within 60 s", pid)
}

// Coral runs the binary on the repository and returns its standard output. It must succeed.
func (r *Repo) Coral(args ...string) string {
	r.T.Helper()
	out, errOut, code := r.Try(args...)
	if code != 0 {
		r.T.Fatalf("coral %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// Try runs the binary and returns its output and exit code.
func (r *Repo) Try(args ...string) (stdout, stderr string, code int) {
	r.T.Helper()
	return Run(r.T, r.Dir, args...)
}

// Run runs the binary on a repository.
func Run(t testing.TB, repo string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(Bin, args...)
	cmd.Env = append(os.Environ(), "CORAL_REPO="+repo, "CORAL_AUTHOR=Test <test@localhost>")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = 5 * time.Second // the daemon must not keep our pipes open
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("coral %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// JSON runs a command with --json and decodes what it prints.
func (r *Repo) JSON(v any, args ...string) {
	r.T.Helper()
	out := r.Coral(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		r.T.Fatalf("coral %s --json: %v in %q", strings.Join(args, " "), err, out)
	}
}

// Snapshot commits and returns the commit's id.
func (r *Repo) Snapshot(message string, flags ...string) string {
	r.T.Helper()
	var s struct {
		Commit string `json:"commit"`
	}
	r.JSON(&s, append([]string{"snapshot", "-m", message}, flags...)...)
	if len(s.Commit) != 64 {
		r.T.Fatalf("snapshot --json: commit %q is not 64 hex digits", s.Commit)
	}
	return s.Commit
}

// Write writes a file below branches/main.
func (r *Repo) Write(path string, data []byte) {
	r.T.Helper()
	p := r.Live(path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.T.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		r.T.Fatal(err)
	}
}

// Want compares a file with what it should hold.
func (r *Repo) Want(path string, data []byte) {
	r.T.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		r.T.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		r.T.Fatalf("%s: %d bytes differ from the %d written (first at %d)", path, len(got), len(data), firstDiff(got, data))
	}
}

func firstDiff(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (r *Repo) cleanup() {
	if r.T.Failed() {
		if b, err := os.ReadFile(filepath.Join(r.Dir, ".coral", "log", "daemon.log")); err == nil {
			r.T.Logf("daemon.log:\n%s", tail(string(b), 40))
		}
	}
	if !IsMounted(r.Mnt) {
		return
	}
	if _, errOut, code := r.Try("unmount", r.Mnt, "--lazy"); code != 0 {
		r.T.Errorf("unmount at the end: %s", errOut)
	}
	if IsMounted(r.Mnt) {
		r.T.Errorf("%s was left mounted", r.Mnt)
		_ = syscall.Unmount(r.Mnt, syscall.MNT_DETACH)
	}
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// IsMounted reports whether something is mounted at path, alive or not.
func IsMounted(path string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			return true
		}
	}
	return false
}

// Python returns the interpreter of the checkout's virtual environment, which has torch and friends.
// It is made by `make venv`; a missing one fails the test, since `make test` makes it.
func Python(t testing.TB) string {
	t.Helper()
	p := filepath.Join(Root(), ".cache", "venv", "bin", "python")
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("no %s: run `make venv` (it installs torch into the checkout)", p)
	}
	return p
}

// Exec runs a program and fails the test if it fails; it returns the combined output.
func Exec(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "TRANSFORMERS_VERBOSITY=error", "TOKENIZERS_PARALLELISM=false")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(string(out), 60))
	}
	return string(out)
}
