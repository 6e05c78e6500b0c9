package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/control"
	"coral/internal/errs"
)

// readyFD is where a detached daemon finds the pipe on which it says that it is live.
const readyFD = 3

// ready is what it says.
type ready struct {
	Mount MountResult    `json:"mount"`
	Held  bool           `json:"held,omitempty"` // another daemon holds the repository
	Error *control.Error `json:"error,omitempty"`
}

// ReadyPipe returns an Options.Ready that answers the process that called Start. It takes the pipe from the
// environment of a process that Start made.
func ReadyPipe() func(MountResult, error) {
	unix.CloseOnExec(readyFD)
	f := os.NewFile(readyFD, "ready")
	return func(m MountResult, err error) {
		r := ready{Mount: m, Held: errors.Is(err, errHeld)}
		if err != nil {
			r.Error = control.NewError(err)
		}
		_ = json.NewEncoder(f).Encode(r) // nobody reads if the caller was killed: we live on
		_ = f.Close()
	}
}

// StartOptions of Start.
type StartOptions struct {
	Dir   string
	Mount MountRequest
	Args  []string // of this program, that make it call Run with ReadyPipe
}

// Start mounts in the background: by the daemon of the repository if one runs, else by a new one, detached from the terminal.
// It returns when the mount is live.
func Start(ctx context.Context, opts StartOptions) (MountResult, error) {
	for deadline := time.Now().Add(lockWait); ; {
		client, err := control.Dial(ctx, opts.Dir)
		switch {
		case err == nil && !client.Info().Ending:
			res, err := addMount(ctx, client, opts.Mount)
			client.Close()
			if !errors.Is(err, control.ErrEnding) {
				return res, err
			}
		case err == nil:
			client.Close()
		case errors.Is(err, os.ErrPermission):
			return MountResult{}, fmt.Errorf("mount %s: the repository's daemon belongs to another user: %w", opts.Mount.Mountpoint, errs.Permission)
		case !errors.Is(err, errs.NotFound) && !errors.Is(err, control.ErrGone):
			return MountResult{}, err
		}
		r, err := spawn(ctx, opts)
		if err != nil {
			return MountResult{}, err
		}
		if r.Error == nil {
			return r.Mount, nil
		}
		// A daemon that is just starting or ending: ask it when it listens, or begin when it is gone.
		if !r.Held || time.Now().After(deadline) {
			return MountResult{}, r.Error
		}
		select {
		case <-ctx.Done():
			return MountResult{}, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func addMount(ctx context.Context, client *control.Client, req MountRequest) (res MountResult, err error) {
	raw, err := client.Call(ctx, verbMount, req, nil)
	if err == nil {
		err = decodeResult(verbMount, raw, &res)
	}
	return res, err
}

// spawn runs this program again as a daemon and waits for what it says. If ctx ends first, so does the daemon.
func spawn(ctx context.Context, opts StartOptions) (ready, error) {
	self, err := os.Executable()
	if err != nil {
		return ready{}, fmt.Errorf("start the daemon: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return ready{}, fmt.Errorf("start the daemon: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(self, opts.Args...)
	cmd.Dir = "/" // hold no directory of the user's
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	errFile, err := os.CreateTemp("", "coral-start-*") // what it says before its log is open, should it die by then
	if err == nil {
		_ = os.Remove(errFile.Name())
		cmd.Stdout, cmd.Stderr = errFile, errFile
		defer errFile.Close()
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return ready{}, fmt.Errorf("start the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	var answer ready
	line, readErr := bufio.NewReader(io.LimitReader(r, 1<<20)).ReadBytes('\n')
	if readErr == nil {
		readErr = json.Unmarshal(line, &answer)
	}
	if readErr == nil && answer.Error == nil {
		return answer, cmd.Process.Release() // it is on its own now; init reaps it
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ready{}, ctx.Err()
	case readErr == nil:
		return answer, nil
	}
	return ready{}, fmt.Errorf("the daemon ended before it was live (%v)%s: see %s", err, lastWords(errFile), LogPath(opts.Dir))
}

// lastWords is the end of what a daemon printed that died without an answer.
func lastWords(f *os.File) string {
	if f == nil {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, 4096), 4096))
	text := control.OneLine(string(b))
	if err != nil || text == "" {
		return ""
	}
	return ": " + text
}

// Foreground refuses to begin where a daemon runs: for `coral mount --foreground`.
func Foreground(ctx context.Context, dir string) error {
	client, err := control.Dial(ctx, dir)
	if err != nil {
		return nil // Run finds out by the lock
	}
	defer client.Close()
	return heldError(dir, Holder{PID: client.Info().PID, Daemon: true})
}

// Unmount unmounts point ("" is the only mount) and waits, if it was the last one, until its daemon has ended. A mount whose daemon
// is gone, or has no socket, is detached directly. dir may be "" if the repository is not known: without a
// point either, the mounts of all are listed in the error.
func Unmount(ctx context.Context, dir string, req UnmountRequest, progress func(control.Progress)) (UnmountResult, error) {
	if req.Mountpoint != "" {
		if at, err := mountedAt(req.Mountpoint); err == nil && at != nil && at.Type == fsType {
			dir = filepath.Join(at.Source, ".coral") // the mount itself knows best whose it is
		}
	}
	if dir != "" {
		client, err := control.Dial(ctx, dir)
		if err == nil {
			defer client.Close()
			return unmountBy(ctx, client, dir, req, progress)
		}
		if !errors.Is(err, errs.NotFound) && !errors.Is(err, control.ErrGone) && !errors.Is(err, os.ErrNotExist) {
			return UnmountResult{}, err
		}
	}
	return unmountDirect(dir, req)
}

func unmountBy(ctx context.Context, client *control.Client, dir string, req UnmountRequest, progress func(control.Progress)) (res UnmountResult, err error) {
	raw, err := client.Call(ctx, verbUnmount, req, progress)
	if errors.Is(err, control.ErrEnding) && !errors.Is(err, context.Canceled) {
		res, err = UnmountResult{Mountpoint: req.Mountpoint, Ended: true}, nil // somebody else was first
	} else if err == nil {
		err = decodeResult(verbUnmount, raw, &res)
	}
	if err != nil || !res.Ended {
		return res, err
	}
	// It has answered; now it closes.
	for deadline := time.Now().Add(busyWait + drainWait); alive(client.Info().PID) && locked(dir) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return res, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
	return res, nil
}

// alive reports whether the process runs.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := strings.LastIndexByte(string(b), ')')
	return i < 0 || len(b) < i+3 || b[i+2] != 'Z'
}

// unmountDirect detaches what is in the mount table, without a daemon's help.
func unmountDirect(dir string, req UnmountRequest) (UnmountResult, error) {
	list, err := readMounts()
	if err != nil {
		return UnmountResult{}, err
	}
	var found []string
	for _, m := range list {
		switch {
		case m.Type != fsType:
		case req.Mountpoint != "" && m.Point == req.Mountpoint, req.Mountpoint == "" && (dir == "" || m.Source == filepath.Dir(dir)):
			found = append(found, m.Point)
		}
	}
	switch {
	case len(found) == 0 && req.Mountpoint != "":
		return UnmountResult{}, fmt.Errorf("unmount %s: not a mount of coral: %w", req.Mountpoint, errs.NotFound)
	case len(found) == 0:
		return UnmountResult{}, fmt.Errorf("unmount: nothing is mounted: %w", errs.NotFound)
	case dir == "" && req.Mountpoint == "":
		return UnmountResult{}, control.Usagef("unmount: no repository is named, name one of its mounts: %s", strings.Join(found, ", "))
	case len(found) > 1 && req.Mountpoint == "":
		return UnmountResult{}, control.Usagef("unmount: there are several mounts, name one: %s", strings.Join(found, ", "))
	}
	point := found[len(found)-1]
	stale := dead(point)
	if err := detach(point, stale || req.Lazy); err != nil {
		if errors.Is(err, errs.Busy) || errors.Is(err, unix.EBUSY) {
			return UnmountResult{}, busyError(point)
		}
		return UnmountResult{}, err
	}
	return UnmountResult{Mountpoint: point, Stale: stale, Ended: true}, nil
}
