package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/service"
)

// TestMain makes the test binary play other processes: see child.
func TestMain(m *testing.M) {
	if role := os.Getenv("CORAL_TEST_ROLE"); role != "" {
		if err := play(role); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play is what a child does: it says when it is ready and lives until its standard input ends.
func play(role string) error {
	arg := os.Getenv("CORAL_TEST_ARG")
	switch role {
	case "lock":
		l, _, err := TryLock(arg, "coral snapshot", false)
		if err != nil {
			return err
		}
		defer l.Unlock()
	case "daemon-lock":
		l, _, err := TryLock(arg, "coral mount", true)
		if err != nil {
			return err
		}
		defer l.Unlock()
	case "open":
		f, err := os.Open(arg)
		if err != nil {
			return err
		}
		defer f.Close()
	case "cwd":
		if err := os.Chdir(arg); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// child starts a child in a role and returns its pid and what ends it.
func child(t *testing.T, role, arg string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CORAL_TEST_ROLE="+role, "CORAL_TEST_ARG="+arg, "GORACE=atexit_sleep_ms=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("child %s: %q, %v", role, line, err)
	}
	over := false
	end = func() {
		if !over {
			over = true
			_ = in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func TestLockNamesHolder(t *testing.T) {
	dir := t.TempDir()
	pid, end := child(t, "lock", dir)
	l, holder, err := TryLock(dir, "coral gc", false)
	if l != nil || !errors.Is(err, errLocked) || !errors.Is(err, errs.Busy) {
		t.Fatalf("second lock: %v, %v", l, err)
	}
	if want := fmt.Sprintf("process %d (coral snapshot)", pid); holder.String() != want {
		t.Errorf("holder %q, want %q", holder, want)
	}
	if !locked(dir) {
		t.Error("locked says no")
	}
	if _, _, err := tryShared(dir); !errors.Is(err, errLocked) {
		t.Errorf("shared lock beside a writer: %v", err)
	}
	end()
	if l, _, err = TryLock(dir, "coral gc", false); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	if locked(dir) {
		t.Error("locked after Unlock")
	}
	s, _, err := tryShared(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Unlock()
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		t.Errorf("the lock file must stay: %v", err)
	}
}

// TestCallerWaits: a command waits for another one, and gives up naming it when it does not end.
func TestCallerWaits(t *testing.T) {
	dir := t.TempDir()
	pid, end := child(t, "lock", dir)
	c := Caller{Dir: dir, Command: "coral gc", wait: 3 * lockPoll}
	_, err := c.own(t.Context(), service.Writes)
	if !errors.Is(err, errs.Busy) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Fatalf("own: %v, want busy naming %d", err, pid)
	}
	c.wait = time.Minute
	got := make(chan error, 1)
	go func() {
		own, err := c.own(context.Background(), service.Writes)
		own.lock.Unlock()
		got <- err
	}()
	end()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _ = child(t, "lock", dir)
	cancel()
	if _, err := c.own(ctx, service.Writes); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestDaemonRefusesDaemon(t *testing.T) {
	dir := t.TempDir()
	pid, _ := child(t, "daemon-lock", dir)
	if err := writeState(dir, State{PID: pid, Mounts: []service.MountInfo{{Mountpoint: "/mnt/a"}, {Mountpoint: "/mnt/b"}}}); err != nil {
		t.Fatal(err)
	}
	d := &daemon{opts: Options{Dir: dir}}
	_, err := d.takeLock(t.Context())
	want := fmt.Sprintf("held by the daemon, process %d, mounted at /mnt/a, /mnt/b", pid)
	if !errors.Is(err, errHeld) || !strings.Contains(err.Error(), want) {
		t.Errorf("takeLock: %v, want %q", err, want)
	}
}

func TestGarbageInLockFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, lockName), []byte(strings.Repeat("{", 1<<17)), 0o644); err != nil {
		t.Fatal(err)
	}
	l, _, err := TryLock(dir, "x", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if _, h, err := TryLock(dir, "y", false); !errors.Is(err, errLocked) || h.PID != os.Getpid() {
		t.Errorf("holder %+v, %v", h, err)
	}
}
