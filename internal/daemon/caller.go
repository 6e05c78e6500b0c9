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
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
)

// Times of waiting for the lock.
const (
	lockWait   = 60 * time.Second // in all, for a holder that is no daemon and so ends soon
	lockNotice = 2 * time.Second  // before the user is told who holds it
	lockPoll   = 25 * time.Millisecond
)

// Caller runs commands on a repository: by its daemon if one runs, else in this process, under the lock.
type Caller struct {
	Dir     string       // the .coral directory
	Command string       // how this process is called, for others that wait for it
	Notice  func(string) // tells the user what is waited for; may be nil
	Logger  *slog.Logger // of work in this process; nil: silent
	wait    time.Duration
}

// Call runs a verb and decodes its result into result.
func (c Caller) Call(ctx context.Context, v *service.Verb, req service.Request, result any, progress func(control.Progress)) error {
	return c.run(ctx, v, req, func(cl *control.Client) error {
		raw, err := cl.Call(ctx, v.Name, req, progress)
		if err != nil {
			return err
		}
		return decodeResult(v.Name, raw, result)
	}, func(s *service.Service) error {
		// Through JSON, as with a daemon: the same result whichever way.
		raw, err := control.Marshal(v.Name, req)
		if err != nil {
			return err
		}
		if progress == nil {
			progress = func(control.Progress) {}
		}
		res, err := s.Call(ctx, v.Name, raw, progress)
		if err != nil {
			return err
		}
		if raw, err = json.Marshal(res); err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		if err := decodeResult(v.Name, raw, result); err != nil {
			return err
		}
		if v.Drains && req.Access() != service.Reads { // for one that reads the queue is paused
			return s.Drain(ctx, progress)
		}
		return nil
	})
}

// Stream runs a verb whose result is raw bytes, and writes them to w.
func (c Caller) Stream(ctx context.Context, v *service.Verb, req service.Request, w io.Writer) error {
	return c.run(ctx, v, req, func(cl *control.Client) error { return cl.Stream(ctx, v.Name, req, w) }, func(s *service.Service) error {
		raw, err := control.Marshal(v.Name, req)
		if err != nil {
			return err
		}
		return s.Stream(ctx, v.Name, raw, w)
	})
}

func decodeResult(verb string, raw json.RawMessage, result any) error {
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("%s: reply: %w", verb, err)
	}
	return nil
}

// run finds the owner and lets it work. A daemon that ends just then is waited for, and the command put again.
func (c Caller) run(ctx context.Context, v *service.Verb, req service.Request, remote func(*control.Client) error, local func(*service.Service) error) error {
	for {
		own, err := c.own(ctx, req.Access())
		if err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		if own.client == nil {
			return c.here(ctx, v, req, own, local)
		}
		err = remote(own.client)
		own.client.Close()
		if !errors.Is(err, control.ErrEnding) {
			return err
		}
	}
}

// owner is who works: the daemon, or this process.
type owner struct {
	client   *control.Client
	lock     *Lock
	readOnly bool
}

// own finds the daemon or takes the lock.
func (c Caller) own(ctx context.Context, access service.Access) (owner, error) {
	wait := c.wait
	if wait == 0 {
		wait = lockWait
	}
	start, told := time.Now(), false
	for {
		foreign := false // a daemon listens and does not let us in
		client, err := control.Dial(ctx, c.Dir)
		switch {
		case err == nil && !client.Info().Ending:
			return owner{client: client}, nil
		case err == nil:
			client.Close()
		case errors.Is(err, os.ErrPermission):
			foreign = true
		case errors.Is(err, errs.NotFound), errors.Is(err, control.ErrGone):
		default:
			return owner{}, err
		}
		lock, holder, err := TryLock(c.Dir, c.Command, false)
		readOnly := errors.Is(err, errs.ReadOnly)
		if readOnly {
			if access != service.Reads {
				return owner{}, err
			}
			lock, holder, err = tryShared(c.Dir)
		}
		if !errors.Is(err, errLocked) {
			return owner{lock: lock, readOnly: readOnly}, err
		}
		if foreign {
			return owner{}, fmt.Errorf("repository %s: held by %s, which belongs to another user: %w", c.Dir, holder, errs.Permission)
		}
		waited := time.Since(start)
		if waited > wait {
			return owner{}, fmt.Errorf("repository %s: held by %s for more than %s: %w", c.Dir, holder, wait, errs.Busy)
		}
		if waited > lockNotice && !told && c.Notice != nil {
			c.Notice(fmt.Sprintf("waiting for %s, which holds the repository", holder))
			told = true
		}
		select {
		case <-ctx.Done():
			return owner{}, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// here runs a command in this process.
func (c Caller) here(ctx context.Context, v *service.Verb, req service.Request, own owner, local func(*service.Service) error) (err error) {
	defer own.lock.Unlock()
	if !own.readOnly {
		removeStale(c.Dir)
	}
	set, err := service.LoadSettings(c.Dir)
	if err != nil {
		return err
	}
	memory := service.SettingMemory(set)
	SetLimits(memory)
	svc, err := service.Open(ctx, c.Dir, service.Options{ReadOnly: own.readOnly, CacheBytes: blockCache(memory), Logger: c.Logger})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := svc.Close(context.WithoutCancel(ctx)); err == nil && cerr != nil {
			err = fmt.Errorf("%s: %w", v.Name, cerr)
		}
	}()
	if !own.readOnly && req.Access() == service.Reads {
		// Closing waits for a file in work: `coral status` must not begin to ingest what a killed daemon left.
		resume, err := svc.PauseIngest(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		defer resume()
	}
	return local(svc)
}

// Offline runs fn with the repository locked and closed, in this process: no daemon may be running.
func (c Caller) Offline(ctx context.Context, fn func() error) error {
	own, err := c.own(ctx, service.Exclusive)
	if err != nil {
		return err
	}
	if own.client != nil {
		defer own.client.Close()
		return heldError(c.Dir, Holder{PID: own.client.Info().PID, Daemon: true})
	}
	defer own.lock.Unlock()
	removeStale(c.Dir)
	return fn()
}

// removeStale removes what a killed daemon left; the caller holds the lock, so there is no daemon.
func removeStale(dir string) {
	_ = os.Remove(filepath.Join(dir, control.SocketName))
	_ = os.Remove(filepath.Join(dir, stateName))
}
