package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "embed"

	"coral/internal/natural"
)

//go:embed peers/peers.py
var helper []byte

const (
	maxOutput = 1 << 20         // of a process that is kept
	killWait  = 5 * time.Second // for the pipes of a killed process
	probeTime = 2 * time.Minute // to tell a version: a first import may compile
	errorTail = 300             // characters of a failed process's last words
)

// find looks for the peer and asks its version.
func (c *call) find() (bool, error) {
	if c.peer.module != "" {
		return c.findModule()
	}
	c.exe = filepath.Join(c.o.Tools, "tools", c.peer.program)
	if _, err := os.Stat(c.exe); c.o.Tools == "" || err != nil {
		path, err := exec.LookPath(c.peer.program)
		if err != nil {
			return false, nil
		}
		c.exe = path
	}
	abs, err := filepath.Abs(c.exe)
	if err != nil {
		return false, err
	}
	c.exe = abs
	out, err := c.exec(probeTime, c.exe, "version")
	if err != nil {
		if out, err = c.exec(probeTime, c.exe, "--version"); err != nil {
			return false, err
		}
	}
	c.row.Version = versionIn(string(out))
	return true, nil
}

// versionIn returns the first word that looks like a version.
func versionIn(s string) string {
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '*' }) {
		if v := strings.TrimPrefix(w, "v"); strings.Count(v, ".") > 0 && natural.Digits(v) > 0 {
			return v
		}
	}
	return ""
}

// findModule looks for a Python package.
func (c *call) findModule() (bool, error) {
	c.exe = c.o.Python
	if c.exe == "" && c.o.Tools != "" {
		if p := filepath.Join(c.o.Tools, "venv", "bin", "python"); exists(p) {
			c.exe = p
		}
	}
	if c.exe == "" {
		c.exe = "python3"
	}
	path, err := exec.LookPath(c.exe)
	if err != nil {
		if c.o.Python != "" {
			return false, err
		}
		return false, nil
	}
	if c.exe, err = filepath.Abs(path); err != nil {
		return false, err
	}
	if err := os.WriteFile(c.helper(), helper, 0o600); err != nil {
		return false, err
	}
	res, err := c.python(probeTime, "version")
	if err != nil {
		return false, err
	}
	c.row.Version = res.Version
	return res.Missing == "", nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *call) helper() string { return filepath.Join(c.dir, "peers.py") }

// helperResult is the last line of the helper's output.
type helperResult struct {
	Version string  `json:"version"`
	Missing string  `json:"missing"` // the module that cannot be imported
	Seconds float64 `json:"seconds"` // of the step, without the start of the interpreter and the imports
	CPU     float64 `json:"cpu"`     // processor time of the same, with child processes
	Note    string  `json:"note"`
	Tensors int     `json:"tensors"` // of what gives back tensors only
	Differ  int     `json:"differ"`
	Error   string  `json:"error"`
}

// python runs one step of the helper.
func (c *call) python(limit time.Duration, step string) (helperResult, error) {
	var res helperResult
	out, err := c.exec(limit, c.exe, c.helper(), c.peer.module, step, c.corpus(), c.store, c.out, strconv.Itoa(c.o.Cores))
	if err != nil {
		return res, err
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &res); err != nil {
		return res, fmt.Errorf("%s: reply of the helper: %w", c.peer.name, err)
	}
	if res.Error != "" {
		return res, errors.New(res.Error)
	}
	if res.Note != "" {
		c.row.Note = res.Note
	}
	return res, nil
}

// timed runs a program as a step of its own and adds its time.
func (c *call) timed(args ...string) error {
	start := time.Now()
	_, err := c.exec(c.limit(), c.exe, args...)
	c.took.add(spent{time.Since(start), c.cpu})
	return err
}

func (c *call) limit() time.Duration {
	if c.o.PeerLimit > 0 {
		return c.o.PeerLimit
	}
	return DefaultPeerLimit
}

// exec runs a process to its end on the cores that are meant, in the corpus's directory, and returns what it printed. After limit, or when the context ends,
// it and its children are killed.
func (c *call) exec(limit time.Duration, exe string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	out, errOut := &tail{max: maxOutput}, &tail{max: maxOutput}
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = out, errOut, c.corpus(), c.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killWait
	if err := startOn(cmd, c.o.Cores); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.row.PeakBytes = max(c.row.PeakBytes, u.Maxrss<<10)
	}
	switch {
	case c.ctx.Err() != nil:
		return nil, c.ctx.Err()
	case ctx.Err() != nil:
		return nil, fmt.Errorf("ended after %v", limit)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(exe), err, lastWords(errOut.b, out.b))
	}
	return out.b, nil
}

// environment is that of this process, with what keeps the peers inside the work directory, offline, and on the cores that are meant.
func (c *call) environment() []string {
	n := strconv.Itoa(c.o.Cores)
	env := append(os.Environ(), "GOMAXPROCS="+n, "OMP_NUM_THREADS="+n, "NUMBA_NUM_THREADS="+n, "HF_HUB_OFFLINE=1", "PYTHONDONTWRITEBYTECODE=1", "TQDM_DISABLE=1",
		"RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+filepath.Join(c.dir, "cache"), "NUMBA_CACHE_DIR="+filepath.Join(c.dir, "cache"))
	if c.peer.module != "" && c.o.Tools != "" {
		if abs, err := filepath.Abs(filepath.Join(c.o.Tools, "peers", c.peer.name)); err == nil && exists(abs) {
			env = append(env, "PYTHONPATH="+abs)
		}
	}
	return env
}

// tail keeps the last max bytes that are written to it.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// lastWords is the end of the first output that has any, on one line.
func lastWords(outputs ...[]byte) string {
	for _, o := range outputs {
		if words := strings.Join(strings.Fields(string(o)), " "); words != "" {
			r := []rune(words)
			return string(r[max(0, len(r)-errorTail):])
		}
	}
	return "it said nothing"
}
