package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
)

// Bounds of an orderly end. Nothing is lost when they pass: what is closed is in the spool.
const (
	requestsWait = 60 * time.Second // for commands in work
	busyWait     = 10 * time.Second // for a busy mount, before it is detached lazily
	drainWait    = 60 * time.Second // for the ingest queue, on a signal; `coral unmount` waits as long as its user does
	busyPoll     = 250 * time.Millisecond
)

// unmount is `coral unmount`. If it was the last mount, the ingest queue is drained before the answer.
func (d *daemon) unmount(ctx context.Context, req UnmountRequest, progress func(control.Progress)) (UnmountResult, error) {
	res, err := d.detachOne(req)
	if err != nil || !res.Ended {
		return res, err
	}
	progress(control.Progress{Step: "drain"})
	if err := d.svc.Drain(ctx, progress); err != nil {
		res.Warning = control.OneLine(err.Error())
		d.log.Warn("drain after the last unmount", "err", err)
	}
	res.Queue = d.svc.Queue()
	return res, nil
}

func (d *daemon) detachOne(req UnmountRequest) (UnmountResult, error) {
	d.mountMu.Lock()
	defer d.mountMu.Unlock()
	point := req.Mountpoint
	mounts := d.svc.Mounts()
	if point == "" {
		if len(mounts) > 1 {
			var all []string
			for _, m := range mounts {
				all = append(all, m.Mountpoint)
			}
			return UnmountResult{}, control.Usagef("unmount: there are several mounts, name one: %s", strings.Join(all, ", "))
		}
		if len(mounts) == 0 {
			return UnmountResult{}, fmt.Errorf("unmount: nothing is mounted: %w", errs.NotFound)
		}
		point = mounts[0].Mountpoint
	}
	if err := d.svc.Unmount(point, req.Lazy); err != nil {
		if errors.Is(err, errs.Busy) {
			return UnmountResult{}, busyError(point)
		}
		return UnmountResult{}, err
	}
	return UnmountResult{Mountpoint: point, Ended: len(mounts) == 1}, nil
}

func busyError(point string) error {
	return fmt.Errorf("unmount %s: in use by %s: %w", point, heldBy(point), errs.Busy)
}

// shutdown ends everything in order: no new commands, those in work finished, mounts gone, queue drained, all closed.
func (d *daemon) shutdown() error {
	d.log.Info("ending", "why", d.reason)
	if d.server != nil {
		d.server.End()
		ctx, cancel := context.WithTimeout(d.base, requestsWait)
		if err := d.server.Wait(ctx); err != nil {
			d.log.Warn("commands are still in work: canceling them", "err", err)
		}
		cancel()
	}
	d.unmountAll()
	ctx, cancel := context.WithTimeout(d.base, drainWait)
	defer cancel()
	if err := d.svc.Drain(ctx, func(control.Progress) {}); err != nil {
		q := d.svc.Queue()
		d.log.Warn("the spool keeps what is not ingested; the next start goes on", "files", q.Files, "bytes", q.Bytes, "err", err)
	}
	return d.close()
}

// unmountAll detaches every mount: while files are open it tries for a while, then lazily.
func (d *daemon) unmountAll() {
	d.mountMu.Lock()
	defer d.mountMu.Unlock()
	deadline := time.Now().Add(busyWait)
	for _, m := range d.svc.Mounts() {
		told := false
		for {
			lazy := time.Now().After(deadline) || d.base.Err() != nil
			err := d.svc.Unmount(m.Mountpoint, lazy)
			if err == nil || errors.Is(err, errs.NotFound) {
				break
			}
			if lazy {
				d.log.Error("unmount", "path", m.Mountpoint, "err", err)
				break
			}
			if !told {
				d.log.Warn("the mount is in use: waiting, then detaching it", "path", m.Mountpoint, "by", heldBy(m.Mountpoint), "err", err)
				told = true
			}
			select {
			case <-time.After(busyPoll):
			case <-d.base.Done():
			}
		}
	}
}

// close closes whatever is open, in the order opposite to open's, and returns the first error.
func (d *daemon) close() error {
	var first error
	keep := func(what string, err error) {
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", what, err)
		}
		if err != nil && d.log != nil {
			d.log.Error(what, "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(d.base, requestsWait)
	defer cancel()
	if d.svc != nil {
		if err := d.svc.Stop(ctx); err != nil { // of control files
			d.log.Warn("commands of control files are still in work", "err", err)
		}
	}
	if d.server != nil {
		if err := d.server.Close(); err != nil && !errors.Is(err, os.ErrNotExist) {
			keep("close the socket", err)
		}
	}
	if d.svc != nil {
		keep("close the repository", d.svc.Close(context.WithoutCancel(d.base)))
	}
	d.stateMu.Lock()
	d.closed = true
	if d.server != nil {
		_ = os.Remove(filepath.Join(d.opts.Dir, stateName))
	}
	d.stateMu.Unlock()
	if d.log != nil {
		d.log.Info("end", "err", first)
		_ = d.lines.Close()
	}
	d.lock.Unlock()
	return first
}
