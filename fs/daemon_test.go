package fs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/ref"
)

// Mounted tests run this test binary a second time as the daemon: a process must not touch its own mount. The daemon obeys
// commands written to the control file (daemonController) and to its standard input.

const daemonEnv = "CORAL_FS_TEST_DAEMON"

// daemonConfig is the value of daemonEnv.
type daemonConfig struct {
	Repo       string
	Mountpoint string
	ReadOnly   bool
	AllowOther bool
	CacheSize  int64
	Lazy       bool // no passthrough
}

func TestMain(m *testing.M) {
	if conf := os.Getenv(daemonEnv); conf != "" {
		if err := daemon(conf); err != nil {
			fmt.Fprintln(os.Stderr, "daemon:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func daemon(conf string) error {
	var c daemonConfig
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		return err
	}
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	repo, err := vcs.Open(ctx, c.Repo, vcs.Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Logger: log})
	if err != nil {
		return err
	}
	ctl := &daemonController{repo: repo, release: make(chan struct{})}
	m, err := New(ctx, repo, ctl, Options{Mountpoint: c.Mountpoint, ReadOnly: c.ReadOnly, AllowOther: c.AllowOther, Lazy: c.Lazy, CacheSize: c.CacheSize, Logger: log})
	if err != nil {
		return err
	}
	ctl.m = m
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := m.Unmount(in.Text() == "lazy"); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	if err := m.Unmount(false); err != nil {
		if err2 := m.Unmount(true); err2 != nil {
			return errors.Join(err, err2)
		}
	}
	m.Wait()
	return repo.Close(ctx)
}

// daemonController is a small stand-in for internal/service.
type daemonController struct {
	repo    *vcs.Repo
	m       *Mount
	release chan struct{}
	once    sync.Once
}

func (d *daemonController) Status(context.Context) []byte { return []byte("{\"branch\":\"main\"}\n") }
func (d *daemonController) Log(context.Context) []byte    { return []byte("a line\n") }

func (d *daemonController) Run(ctx context.Context, line string) ([]byte, error) {
	v, err := d.run(ctx, line)
	if err != nil {
		v = map[string]any{"error": map[string]string{"message": err.Error()}}
	}
	b, err2 := json.Marshal(v)
	return b, errors.Join(err, err2)
}

func (d *daemonController) run(ctx context.Context, line string) (any, error) {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "snapshot":
		branch, message, _ := strings.Cut(arg, " ")
		r, err := d.repo.Snapshot(ctx, vcs.SnapshotOptions{Branch: branch, Message: message, Author: "T <t@example>"})
		d.m.RefsChanged()
		return r, err
	case "sync":
		return nil, d.repo.Live.Drain(ctx, nil)
	case "drop":
		_, err := d.m.DropCache(ctx)
		_, err2 := d.repo.Live.DropSpool(ctx)
		d.repo.Content.DropCache()
		return nil, errors.Join(err, err2)
	case "branch":
		id, err := d.repo.Resolve(ctx, "HEAD")
		if err == nil {
			err = d.repo.CreateBranch(ctx, arg, id)
		}
		d.m.RefsChanged()
		return nil, err
	case "unbranch":
		err := d.repo.DeleteBranch(ctx, true, arg)
		d.m.RefsChanged()
		return nil, err
	case "untag":
		err := d.repo.Refs.DeleteTag(arg, "test", "")
		d.m.RefsChanged()
		return nil, err
	case "count":
		reads, writes := d.m.Requests()
		files, _ := d.m.CacheStats()
		return counts{reads, writes, d.m.Passthrough(), files}, nil
	case "decoded":
		return d.repo.Content.Counters().BlocksDecoded, nil
	case "rename": // behind the mount's back
		t, err := d.repo.LiveTree(ctx, "main")
		if err == nil {
			from, to, _ := strings.Cut(arg, " ")
			err = t.Rename(ctx, t.Root(), from, t.Root(), to, 0)
		}
		d.m.LiveChanged("main")
		d.m.Told(ctx)
		return nil, err
	case "head":
		err := d.repo.Refs.SetHead(ref.Head{Branch: arg}, "test", "")
		d.m.RefsChanged()
		return nil, err
	case "sweep":
		d.m.live.sweep()
		return nil, nil
	case "invalid":
		return nil, fmt.Errorf("%s: %w", arg, errs.Invalid)
	case "wait":
		<-d.release
		return "released", nil
	case "release":
		d.once.Do(func() { close(d.release) })
		return nil, nil
	case "panic":
		panic("a controller that panics")
	}
	return nil, fmt.Errorf("%s: no such command: %w", verb, errs.Invalid)
}

// counts is the reply to "count".
type counts struct {
	Reads, Writes int64
	Passthrough   bool
	Cached        int
}

// mounted is a repository served by a daemon in another process.
type mounted struct {
	t    *testing.T
	repo string
	dir  string // mountpoint
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  *bytes.Buffer
}

// needFuse skips where there is no FUSE at all. Where there is, a mount that fails is a failure.
func needFuse(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no /dev/fuse: %v", err)
	}
}

// mount makes a repository and mounts it.
func mount(t *testing.T, conf daemonConfig) *mounted {
	t.Helper()
	needFuse(t)
	tmp := t.TempDir()
	m := &mounted{t: t, repo: filepath.Join(tmp, "models"), dir: filepath.Join(tmp, "mnt")}
	if err := vcs.Init(m.repo); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.start(conf)
	return m
}

// start starts a daemon on the repository.
func (m *mounted) start(conf daemonConfig) {
	m.t.Helper()
	conf.Repo, conf.Mountpoint = filepath.Join(m.repo, ".coral"), m.dir
	text, err := json.Marshal(conf)
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), daemonEnv+"="+string(text))
	m.log = &bytes.Buffer{}
	m.cmd.Stderr = m.log
	m.in, err = m.cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.out = bufio.NewReader(out)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	cmd, dir, log := m.cmd, m.dir, m.log
	m.t.Cleanup(func() { m.stop(cmd, dir, log) })
	if line, err := m.out.ReadString('\n'); line != "ready\n" {
		m.cmd.Wait()
		m.t.Fatalf("the daemon did not start: %q, %v\n%s", line, err, m.log)
	}
}

// stop ends a daemon and cleans up after one that does not end. It may be called again.
func (m *mounted) stop(cmd *exec.Cmd, dir string, log *bytes.Buffer) {
	if cmd.ProcessState != nil {
		return
	}
	if cmd == m.cmd {
		m.in.Close()
	}
	deadline := time.AfterFunc(60*time.Second, func() {
		m.t.Errorf("the daemon does not end: killed")
		cmd.Process.Kill()
	})
	err := cmd.Wait()
	deadline.Stop()
	if err != nil && !m.t.Failed() {
		m.t.Errorf("daemon: %v", err)
	}
	syscall.Unmount(dir, syscall.MNT_DETACH)
	if m.t.Failed() || testing.Verbose() {
		m.t.Logf("daemon's log:\n%s", log)
	}
	if bytes.Contains(log.Bytes(), []byte("DATA RACE")) {
		m.t.Errorf("data race in the daemon:\n%s", log)
	}
}

// kill ends the daemon as a power cut would and detaches the dead mount.
func (m *mounted) kill() {
	m.t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Wait()
	if err := syscall.Unmount(m.dir, syscall.MNT_DETACH); err != nil {
		m.t.Fatal(err)
	}
}

// tell writes a line to the daemon's input and returns its answer.
func (m *mounted) tell(line string) string {
	m.t.Helper()
	if _, err := io.WriteString(m.in, line+"\n"); err != nil {
		m.t.Fatal(err)
	}
	answer, err := m.out.ReadString('\n')
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

// path returns a path in the mount.
func (m *mounted) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

// main returns a path in branches/main.
func (m *mounted) main(parts ...string) string {
	return m.path(append([]string{"branches", "main"}, parts...)...)
}

// try runs a command through the control file and returns the reply and the write's error.
func (m *mounted) try(line string) (string, error) {
	m.t.Helper()
	f, err := os.OpenFile(m.path(".coral", "control"), os.O_RDWR, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	_, werr := f.WriteString(line + "\n")
	reply, err := io.ReadAll(f)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(reply), werr
}

// run runs a command that must succeed and decodes its reply into v, if not nil.
func (m *mounted) run(line string, v any) {
	m.t.Helper()
	reply, err := m.try(line)
	if err != nil {
		m.t.Fatalf("%s: %v: %s", line, err, reply)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(reply), v); err != nil {
			m.t.Fatalf("%s: %v in %q", line, err, reply)
		}
	}
}

// snapshot commits branches/main.
func (m *mounted) snapshot(message string) oid.ID {
	m.t.Helper()
	var r vcs.SnapshotResult
	m.run("snapshot main "+message, &r)
	return r.Commit
}

// count returns the daemon's counters.
func (m *mounted) count() counts {
	m.t.Helper()
	var c counts
	m.run("count", &c)
	return c
}

// ls lists a directory of the mount, in the order the mount has it.
func (m *mounted) ls(parts ...string) []string {
	m.t.Helper()
	f, err := os.Open(m.path(parts...))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		m.t.Fatal(err)
	}
	return names
}

func write(t *testing.T, path string, p []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantBytes(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d written", path, len(got), len(want))
	}
}

// wantErrno checks that err is the errno.
func wantErrno(t *testing.T, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
