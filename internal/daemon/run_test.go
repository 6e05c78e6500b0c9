package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coral/fs"
	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
	"coral/vcs"
)

// fakeMounts mounts without a kernel.
type fakeMounts struct {
	mu   sync.Mutex
	list map[string]*fakeMount
}

type fakeMount struct {
	mu   sync.Mutex
	busy bool
	gone chan struct{}
	once sync.Once
}

func (f *fakeMounts) mount(_ context.Context, _ *vcs.Repo, _ fs.Controller, opts fs.Options) (service.Mounted, error) {
	if filepath.Base(opts.Mountpoint) == "bad" {
		return nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: syscall.EACCES}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &fakeMount{gone: make(chan struct{})}
	f.list[opts.Mountpoint] = m
	return m, nil
}

func (f *fakeMounts) at(point string) *fakeMount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[point]
}

func (m *fakeMount) Settle(context.Context)                   {}
func (m *fakeMount) RefsChanged()                             {}
func (m *fakeMount) Wait()                                    { <-m.gone }
func (m *fakeMount) Passthrough() bool                        { return false }
func (m *fakeMount) SetCacheSize(int64) error                 { return nil }
func (m *fakeMount) CacheSize() int64                         { return 0 }
func (m *fakeMount) DropCache(context.Context) (int64, error) { return 0, nil }
func (m *fakeMount) Unmount(lazy bool) error {
	m.mu.Lock()
	busy := m.busy
	m.mu.Unlock()
	if busy && !lazy {
		return errs.Busy
	}
	m.once.Do(func() { close(m.gone) })
	return nil
}

// running is a daemon in this process.
type running struct {
	dir, base string
	mounts    *fakeMounts
	signals   chan os.Signal
	first     MountResult
	ended     chan error
}

func newRepo(t *testing.T) (dir, base string) {
	t.Helper()
	t.Setenv("CORAL_AUTHOR", "Test <test@localhost>")
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Init(filepath.Join(base, "repo")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(base, "repo", ".coral"), base
}

// start runs a daemon with one mount at base/mnt.
func start(t *testing.T) *running {
	t.Helper()
	dir, base := newRepo(t)
	return startIn(t, dir, base)
}

func startIn(t *testing.T, dir, base string) *running {
	t.Helper()
	r := &running{dir: dir, base: base, mounts: &fakeMounts{list: map[string]*fakeMount{}}, signals: make(chan os.Signal, 2), ended: make(chan error, 1)}
	ready := make(chan error, 1)
	go func() {
		r.ended <- Run(context.Background(), Options{
			Dir: dir, Command: "coral mount", Version: "test", Mount: MountRequest{Mountpoint: filepath.Join(base, "mnt")}, Signals: r.signals, Mounter: r.mounts.mount,
			Ready: func(m MountResult, err error) { r.first = m; ready <- err },
		})
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *running) caller() Caller { return Caller{Dir: r.dir, Command: "test"} }

// call runs a verb through a Caller.
func call(t *testing.T, c Caller, line string, into any) error {
	t.Helper()
	v, req, err := service.ParseLine(line, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Call(t.Context(), v, req, into, nil)
}

func TestLifeOfDaemon(t *testing.T) {
	r := start(t)
	mnt := filepath.Join(r.base, "mnt")
	if r.first.Mountpoint != mnt || r.first.PID != os.Getpid() || r.first.Repo != filepath.Join(r.base, "repo") {
		t.Errorf("ready: %+v", r.first)
	}
	var st service.StatusResult
	if err := call(t, r.caller(), "status", &st); err != nil || st.Daemon == nil || st.Daemon.PID != os.Getpid() || st.Daemon.Version != "test" {
		t.Fatalf("status: %+v, %v", st, err)
	}
	// A second mount, and what is refused.
	second, err := Start(t.Context(), StartOptions{Dir: r.dir, Mount: MountRequest{Mountpoint: filepath.Join(r.base, "new/mnt2"), ReadOnly: true}})
	if err != nil || !second.ReadOnly || second.PID != os.Getpid() {
		t.Fatalf("second mount: %+v, %v", second, err)
	}
	if s := readState(r.dir); s.PID != os.Getpid() || len(s.Mounts) != 2 {
		t.Errorf("daemon.json: %+v", s)
	}
	full := filepath.Join(r.base, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for point, class := range map[string]error{
		mnt: errs.Busy, filepath.Join(mnt, "sub"): errs.Invalid, filepath.Join(r.dir, "mnt"): errs.Invalid, full: errs.NotEmpty,
		"/proc": errs.Busy, "relative": control.ErrUsage, filepath.Join(r.base, "bad"): errs.Permission,
	} {
		if res, err := Start(t.Context(), StartOptions{Dir: r.dir, Mount: MountRequest{Mountpoint: point}}); !errors.Is(err, class) {
			t.Errorf("mount at %s: %+v, %v, want %v", point, res, err, class)
		}
	}
	if err := Foreground(t.Context(), r.dir); !errors.Is(err, errHeld) || !strings.Contains(err.Error(), mnt) {
		t.Errorf("foreground beside a daemon: %v", err)
	}
	if err := (Caller{Dir: r.dir}).Offline(t.Context(), func() error { t.Error("offline beside a daemon"); return nil }); !errors.Is(err, errHeld) {
		t.Errorf("offline: %v", err)
	}
	// Unmounting.
	if _, err := Unmount(t.Context(), r.dir, UnmountRequest{}, nil); !errors.Is(err, control.ErrUsage) || !strings.Contains(err.Error(), "mnt2") {
		t.Errorf("unmount of several: %v", err)
	}
	if _, err := Unmount(t.Context(), r.dir, UnmountRequest{Mountpoint: "/nowhere"}, nil); !errors.Is(err, errs.NotFound) {
		t.Errorf("unmount of nothing: %v", err)
	}
	r.mounts.at(mnt).busy = true
	if _, err := Unmount(t.Context(), r.dir, UnmountRequest{Mountpoint: mnt}, nil); !errors.Is(err, errs.Busy) {
		t.Errorf("unmount of a busy one: %v", err)
	}
	res, err := Unmount(t.Context(), r.dir, UnmountRequest{Mountpoint: mnt, Lazy: true}, nil)
	if err != nil || res.Ended {
		t.Errorf("lazy: %+v, %v", res, err)
	}
	res, err = Unmount(t.Context(), r.dir, UnmountRequest{}, nil)
	if err != nil || !res.Ended || res.Mountpoint != second.Mountpoint {
		t.Errorf("last: %+v, %v", res, err)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, name := range []string{control.SocketName, stateName} {
		if _, err := os.Lstat(filepath.Join(r.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if err := call(t, r.caller(), "status", &st); err != nil || st.Daemon != nil {
		t.Errorf("status after: %+v, %v", st.Daemon, err)
	}
	log, err := RecentLog(r.dir, 0)
	if err != nil || len(log) < 4 || !strings.Contains(log[0], "msg=start") || !strings.Contains(log[len(log)-1], "msg=end") {
		t.Errorf("log: %q, %v", log, err)
	}
}

func TestSignalEnds(t *testing.T) {
	r := start(t)
	src := filepath.Join(r.base, "file")
	if err := os.WriteFile(src, make([]byte, 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := call(t, r.caller(), "add "+src, nil); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGTERM
	if err := <-r.ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
	var st service.StatusResult
	if err := call(t, r.caller(), "status", &st); err != nil || len(st.Dirty) != 1 || st.Dirty[0].State != "stored" || st.Queue.Files != 0 {
		t.Errorf("the queue was not drained: %+v, %v", st, err)
	}
}

func TestOutsideUnmountEnds(t *testing.T) {
	r := start(t)
	_ = r.mounts.at(r.first.Mountpoint).Unmount(true)
	if err := <-r.ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
}

func TestSecondSignal(t *testing.T) {
	r := start(t)
	r.mounts.at(r.first.Mountpoint).busy = true
	r.signals <- syscall.SIGTERM
	r.signals <- syscall.SIGTERM
	if err := <-r.ended; !errors.Is(err, errForced) {
		t.Fatalf("Run: %v", err)
	}
	for locked(r.dir) { // a process would have ended; here what is left of the daemon must, before its directory goes
		time.Sleep(time.Millisecond)
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	dir, base := newRepo(t)
	m := &fakeMounts{list: map[string]*fakeMount{}}
	var said error
	err := Run(t.Context(), Options{
		Dir: dir, Mount: MountRequest{Mountpoint: filepath.Join(base, "bad")}, Mounter: m.mount, Ready: func(_ MountResult, err error) { said = err },
	})
	if !errors.Is(err, syscall.EACCES) || said == nil {
		t.Fatalf("Run: %v, said %v", err, said)
	}
	if locked(dir) {
		t.Error("the lock is held")
	}
	if _, err := os.Lstat(filepath.Join(dir, control.SocketName)); !os.IsNotExist(err) {
		t.Errorf("socket: %v", err)
	}
	r := startIn(t, dir, base) // and a good one starts after it
	r.signals <- syscall.SIGINT
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
}

// TestCallerBothWays: a command gives the same result by a daemon and without.
func TestCallerBothWays(t *testing.T) {
	r := start(t)
	src := filepath.Join(r.base, "file")
	if err := os.WriteFile(src, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"add " + src, "snapshot -m one"} {
		if err := call(t, r.caller(), line, nil); err != nil {
			t.Fatal(err)
		}
	}
	lines := []string{"log", "branch", "show", "ls main", "stats"}
	get := func() (out []string) {
		for _, line := range lines {
			var raw json.RawMessage
			if err := call(t, r.caller(), line, &raw); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			out = append(out, string(raw))
		}
		req := &service.CatRequest{}
		if err := req.SetArgs([]string{"main:file"}); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.caller().Stream(t.Context(), service.Find("cat"), req, &b); err != nil || b.String() != "text" {
			t.Errorf("cat: %q, %v", b.String(), err)
		}
		return out
	}
	with := get()
	withErr := call(t, r.caller(), "show nowhere", nil)
	r.signals <- syscall.SIGTERM
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	without := get()
	for i := range lines {
		if lines[i] != "stats" && with[i] != without[i] {
			t.Errorf("%s: by the daemon %s, without %s", lines[i], with[i], without[i])
		}
	}
	err := call(t, r.caller(), "show nowhere", nil)
	if err == nil || withErr == nil || err.Error() != withErr.Error() || !errors.Is(err, errs.NotFound) || !errors.Is(withErr, errs.NotFound) {
		t.Errorf("errors: by the daemon %v, without %v", withErr, err)
	}
}

// TestStaleLeftovers: what a killed daemon left is cleaned away by whoever comes next.
func TestStaleLeftovers(t *testing.T) {
	dir, _ := newRepo(t)
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Close removes the file; a killed process would not have.
	if err := os.Rename(filepath.Join(dir, control.SocketName), filepath.Join(dir, "kept")); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, control.SocketName)); err != nil {
		t.Fatal(err)
	}
	if err := writeState(dir, State{PID: 1 << 22}); err != nil {
		t.Fatal(err)
	}
	if err := call(t, Caller{Dir: dir}, "status", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{control.SocketName, stateName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
