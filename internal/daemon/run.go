package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
)

// Options of Run.
type Options struct {
	Dir     string // the .coral directory, a real path
	Command string
	Version string
	Mount   MountRequest
	Stderr  io.Writer // gets a copy of the log; nil in a detached daemon
	Detach  bool      // 1 and 2 become the log
	// Ready is called once, when the mount is live or has failed.
	Ready func(MountResult, error)
	// Signals are SIGTERM and SIGINT: the first ends the daemon in order, the second at once.
	Signals <-chan os.Signal
	Mounter service.Mounter // of service.Options
}

// errForced ends a daemon that got a second signal.
var errForced = errors.New("ended by a second signal: what was not ingested is in the spool")

// daemon is the running one.
type daemon struct {
	opts   Options
	start  time.Time
	log    *slog.Logger
	lines  *logWriter
	lock   *Lock
	svc    *service.Service
	server *control.Server // nil in a repository that cannot be written to

	// base is the context of the daemon's own work; it ends when the daemon is forced to end.
	base  context.Context
	force context.CancelFunc

	once   sync.Once
	ending chan struct{} // closed by end
	reason string        // set before ending is closed

	stateMu sync.Mutex // one writer of daemon.json at a time
	closed  bool       // under stateMu: it is not to come back
	mountMu sync.Mutex // one mount or unmount at a time
}

// Run is the daemon: it returns when the last mount is gone or a signal came, with nil if it ended in order.
func Run(ctx context.Context, opts Options) error {
	d := &daemon{opts: opts, start: time.Now().UTC().Truncate(time.Millisecond), ending: make(chan struct{})}
	d.base, d.force = context.WithCancel(context.WithoutCancel(ctx))
	defer d.force()
	info, err := d.open(ctx)
	opts.Ready(info, err)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		d.end("canceled")
	case s := <-opts.Signals:
		d.end(s.String())
	case <-d.ending:
	}
	done := make(chan error, 1)
	go func() { done <- d.shutdown() }() // ends by itself, or with the process
	select {
	case err := <-done:
		return err
	case <-opts.Signals:
		d.log.Warn("second signal: ending at once")
		d.force()
		for _, m := range d.svc.Mounts() {
			_ = detach(m.Mountpoint, true)
		}
		return errForced
	}
}

// end asks the daemon to end; the first reason counts.
func (d *daemon) end(reason string) {
	d.once.Do(func() {
		d.reason = reason
		close(d.ending)
	})
}

// open takes the lock, opens everything and makes the first mount. After an error nothing of it is left.
func (d *daemon) open(ctx context.Context) (info MountResult, err error) {
	if err := d.opts.Mount.check(); err != nil {
		return info, err
	}
	SetLimits(d.opts.Mount.Memory)
	readOnly := false
	if d.lock, err = d.takeLock(ctx); errors.Is(err, errs.ReadOnly) && d.opts.Mount.ReadOnly {
		readOnly = true
		var holder Holder
		if d.lock, holder, err = tryShared(d.opts.Dir); errors.Is(err, errLocked) {
			err = fmt.Errorf("repository %s: held by %s: %w", d.opts.Dir, holder, errs.Busy)
		}
	}
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	if readOnly {
		d.lines = &logWriter{copyTo: d.opts.Stderr}
	} else {
		d.lines, err = openLog(d.opts.Dir, d.opts.Stderr, d.opts.Detach)
	}
	d.log = slog.New(slog.NewTextHandler(d.lines, nil)).With("pid", os.Getpid())
	if err != nil {
		d.log.Warn("no log file", "err", err) // a full disk: the ring still works, and mounting is how one makes room
	}
	d.log.Info("start", "version", d.opts.Version, "repo", d.opts.Dir, "read_only", readOnly)
	if !readOnly {
		removeStale(d.opts.Dir)
		dropStale(d.opts.Dir, d.log)
	}
	if d.svc, err = service.Open(ctx, d.opts.Dir, service.Options{
		ReadOnly: readOnly, CacheBytes: blockCache(d.opts.Mount.Memory), Logger: d.log, Daemon: d.info, Lines: d.lines.Lines, MountGone: d.mountGone, Mounter: d.opts.Mounter,
	}); err != nil {
		return info, err
	}
	if !readOnly {
		l, err := control.Listen(d.opts.Dir)
		if err != nil {
			return info, err
		}
		d.server = control.Serve(l, d, d.info(), d.log)
	}
	info, err = d.mount(ctx, d.opts.Mount)
	return info, err
}

// takeLock waits for commands that hold the lock for a moment; a daemon that holds it is an error that names it.
func (d *daemon) takeLock(ctx context.Context) (*Lock, error) {
	for start := time.Now(); ; {
		l, holder, err := TryLock(d.opts.Dir, d.opts.Command, true)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		if holder.Daemon {
			return nil, heldError(d.opts.Dir, holder)
		}
		if time.Since(start) > lockWait {
			return nil, fmt.Errorf("repository %s: held by %s for more than %s: %w", d.opts.Dir, holder, lockWait, errs.Busy)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// errHeld marks that a daemon holds the repository.
var errHeld = fmt.Errorf("one daemon for each repository: %w", errs.Busy)

func heldError(dir string, h Holder) error {
	at := ""
	if s := readState(dir); s.PID == h.PID {
		for i, m := range s.Mounts {
			if i == 0 {
				at = ", mounted at "
			} else {
				at += ", "
			}
			at += m.Mountpoint
		}
	}
	return fmt.Errorf("repository %s: held by %s%s: %w", filepath.Dir(dir), h, at, errHeld)
}

func (d *daemon) info() control.Info {
	return control.Info{PID: os.Getpid(), Started: d.start, Version: d.opts.Version}
}

var _ control.Handler = (*daemon)(nil)

// Call implements control.Handler: what is the daemon's own, and all that the service does.
func (d *daemon) Call(ctx context.Context, verb string, raw json.RawMessage, progress func(control.Progress)) (any, error) {
	switch verb {
	case verbMount:
		var req MountRequest
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, control.Usagef("mount: request: %v", err)
		}
		return d.mount(ctx, req)
	case verbUnmount:
		var req UnmountRequest
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, control.Usagef("unmount: request: %v", err)
		}
		return d.unmount(ctx, req, progress)
	}
	return d.svc.Call(ctx, verb, raw, progress)
}

// Stream implements control.Handler.
func (d *daemon) Stream(ctx context.Context, verb string, raw json.RawMessage, w io.Writer) error {
	return d.svc.Stream(ctx, verb, raw, w)
}

// mount adds a mount.
func (d *daemon) mount(ctx context.Context, req MountRequest) (MountResult, error) {
	if err := req.check(); err != nil {
		return MountResult{}, err
	}
	d.mountMu.Lock()
	defer d.mountMu.Unlock()
	select {
	case <-d.ending: // the last mount has gone meanwhile
		return MountResult{}, control.ErrEnding
	default:
	}
	made, err := prepareMountpoint(req.Mountpoint, d.opts.Dir, d.svc.Mounts(), d.log)
	if err != nil {
		return MountResult{}, err
	}
	if req.Codec != "" {
		if err := d.svc.SetCodec(ctx, req.Codec); err != nil {
			return MountResult{}, err
		}
	}
	info, err := d.svc.Mount(ctx, service.MountOptions{
		Mountpoint: req.Mountpoint, ReadOnly: req.ReadOnly, AllowOther: req.AllowOther, Lazy: req.Lazy, CacheSize: req.CacheSize, At: req.At,
	})
	if err != nil {
		if made {
			_ = os.Remove(req.Mountpoint) // leave nothing behind; only an empty directory goes
		}
		return MountResult{}, err
	}
	d.saveState()
	debug.FreeOSMemory() // what recovery used: the bound is on what stays resident
	return MountResult{MountInfo: info, PID: os.Getpid(), Repo: filepath.Dir(d.opts.Dir)}, nil
}

// mountGone follows every end of a mount.
func (d *daemon) mountGone(point string, left int) {
	d.saveState()
	if left == 0 {
		d.end("the last mount is gone")
	}
}

// saveState writes daemon.json as things are now.
func (d *daemon) saveState() {
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	if d.closed || d.server == nil {
		return
	}
	if err := writeState(d.opts.Dir, State{PID: os.Getpid(), Started: d.start, Version: d.opts.Version, Mounts: d.svc.Mounts()}); err != nil {
		d.log.Warn("daemon.json", "err", err)
	}
}
