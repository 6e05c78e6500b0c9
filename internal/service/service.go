package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"coral/internal/config"
	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
	"coral/vcs/worktree"
)

// Options of New.
type Options struct {
	ReadOnly   bool                // the repository was opened so
	CacheBytes int64               // decoded blocks in memory; 0 is the default
	Logger     *slog.Logger        // nil: silent
	Daemon     func() control.Info // nil in a process that is not the daemon
	Lines      func() []byte       // the daemon's recent log lines; nil elsewhere
	// MountGone is called, on a goroutine of its own, after a mount has gone for whatever reason; left is how many there still are.
	MountGone func(point string, left int)
	Mounter   Mounter // nil means fs.New; tests replace it

	settings *config.Config // as they were at Open; nil: none
}

// Service runs commands on one repository. It owns the repository and its mounts.
type Service struct {
	repo *vcs.Repo
	opts Options
	log  *slog.Logger
	gate *semaphore.Weighted

	codecs *semaphore.Weighted // of 1: held by the command that has changed the codec for a while

	mu      sync.Mutex
	mounts  []*mount
	stopped bool
	active  sync.WaitGroup // requests in work; Add only under mu and while !stopped
	wait    sync.WaitGroup // goroutines that watch mounts
}

const gateSize = 1 << 20

// Open opens the repository at dir (a .coral directory) as its settings say, whose lock the caller holds, and returns a Service over it.
func Open(ctx context.Context, dir string, opts Options) (*Service, error) {
	c, err := LoadSettings(dir)
	if err != nil {
		return nil, err
	}
	o, err := repoOptions(c, vcs.Options{ReadOnly: opts.ReadOnly, CacheBytes: opts.CacheBytes, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Logger: opts.Logger})
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", dir, err)
	}
	repo, err := vcs.Open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if !opts.ReadOnly {
		sweepScratch(dir)
	}
	opts.settings = c
	return New(repo, opts), nil
}

// New returns a Service over repo, which it owns from now on.
func New(repo *vcs.Repo, opts Options) *Service {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Mounter == nil {
		opts.Mounter = mountFUSE
	}
	s := &Service{repo: repo, opts: opts, log: opts.Logger, gate: semaphore.NewWeighted(gateSize), codecs: semaphore.NewWeighted(1)}
	repo.OnRefsChanged(s.refsChanged)
	repo.OnLiveChanged(s.liveChanged)
	return s
}

// Repo returns the repository.
func (s *Service) Repo() *vcs.Repo { return s.repo }

// Progress is told how far a command is. It is never nil inside this package and never blocks.
type Progress func(control.Progress)

// Access is what a request does to the repository.
type Access uint8

// The accesses.
const (
	Reads     Access = iota // works on a read-only repository
	Writes                  // adds, or moves refs
	Exclusive               // no other command that writes may run meanwhile
)

var _ control.Handler = (*Service)(nil)

// Call implements control.Handler.
func (s *Service) Call(ctx context.Context, verb string, raw json.RawMessage, progress func(control.Progress)) (any, error) {
	v, req, err := decode(verb, raw)
	if err != nil {
		return nil, err
	}
	if v.run == nil {
		return nil, control.Usagef("%s gives raw bytes: it needs /v1/stream", verb)
	}
	return s.do(ctx, v, req, progress)
}

// Stream implements control.Handler.
func (s *Service) Stream(ctx context.Context, verb string, raw json.RawMessage, w io.Writer) error {
	v, req, err := decode(verb, raw)
	if err != nil {
		return err
	}
	if v.stream == nil {
		return control.Usagef("%s gives no raw bytes", verb)
	}
	end, err := s.begin()
	if err != nil {
		return err
	}
	defer end()
	return v.stream(ctx, s, req, w)
}

// do runs one request.
func (s *Service) do(ctx context.Context, v *Verb, req Request, progress Progress) (any, error) {
	end, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	defer s.told(ctx)
	if progress == nil {
		progress = func(control.Progress) {}
	}
	leave, err := s.enter(ctx, req.Access())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name, err)
	}
	defer leave()
	return v.run(ctx, s, req, progress)
}

// begin counts a request in.
func (s *Service) begin() (end func(), err error) {
	if err := s.present(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, control.ErrEnding
	}
	s.active.Add(1)
	return s.active.Done, nil
}

// Stop refuses requests from now on (control.ErrEnding) and waits for those in work. Mounts stay as they are.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.active.Wait(); close(done) }() // ends with the last request
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drain waits for the ingest queue, as `coral sync` does, also after Stop.
func (s *Service) Drain(ctx context.Context, progress func(control.Progress)) error {
	report, stop := s.watchQueue("ingest", progress)
	defer stop()
	return s.repo.Live.Drain(ctx, report)
}

// present reports a repository directory that was moved or deleted under the daemon.
func (s *Service) present() error {
	if _, err := os.Stat(filepath.Join(s.repo.Dir, repoFile)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("repository %s: moved or deleted while it was open: %w", s.repo.Dir, errs.NotFound)
		}
		return fmt.Errorf("repository: %w", err)
	}
	return nil
}

// exclusiveWait is how long gc waits for commands that write to end.
const exclusiveWait = 60 * time.Second

// enter takes the gate as access wants it.
func (s *Service) enter(ctx context.Context, a Access) (leave func(), err error) {
	if a == Reads {
		return func() {}, nil
	}
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("repository %s: %w", s.repo.Dir, errs.ReadOnly)
	}
	n := int64(1)
	if a == Exclusive {
		n = gateSize
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, exclusiveWait)
		defer cancel()
	}
	if err := s.gate.Acquire(ctx, n); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("another command is still writing: %w", errs.Busy)
		}
		return nil, err
	}
	return func() { s.gate.Release(n) }, nil
}

// PauseIngest keeps files from being ingested until resume: closing waits for the file in work.
func (s *Service) PauseIngest(ctx context.Context) (resume func(), err error) {
	return s.repo.Live.Pause(ctx)
}

// Queue returns the state of the ingest queue.
func (s *Service) Queue() QueueStatus { return s.repo.Live.Queue() }

// QueueStatus is the state of the ingest queue.
type QueueStatus = worktree.QueueStatus

// Close waits for the watchers of mounts and closes the repository. All mounts must have been removed, and no request be in work.
func (s *Service) Close(ctx context.Context) error {
	s.wait.Wait()
	return s.repo.Close(ctx)
}
