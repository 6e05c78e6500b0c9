package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"coral/fs"
	"coral/internal/errs"
	"coral/vcs"
)

// Mounted is what a Service needs of a live mount; *fs.Mount is one.
type Mounted interface {
	// Settle waits until files closed before the call are closed here too.
	Settle(ctx context.Context)
	// RefsChanged tells the mount that branches, tags or HEAD changed; it never blocks.
	RefsChanged()
	Unmount(lazy bool) error
	Wait()
	DropCache(ctx context.Context) (int64, error)
	SetCacheSize(bytes int64) error // 0: the default
	CacheSize() int64
	Passthrough() bool
}

// follower is what a Mounted may also be: it is told of changes of live trees that did not come through it. One that is none shows them
// when the kernel asks again, within a second.
type follower interface {
	LiveChanged(branch string) // it never blocks
	Told(ctx context.Context)  // returns when what LiveChanged was called for before is seen in the mount
	SetShared(on bool)         // there are other mounts, or no more; it never blocks
}

var _ follower = (*fs.Mount)(nil)

// Mounter makes a live mount.
type Mounter func(ctx context.Context, repo *vcs.Repo, ctl fs.Controller, opts fs.Options) (Mounted, error)

// MountOptions of Mount.
type MountOptions struct {
	Mountpoint string // an absolute, clean path that the caller has checked
	ReadOnly   bool
	AllowOther bool
	Lazy       bool   // no passthrough
	CacheSize  int64  // bytes of materialised files; 0 is the default
	At         string // a branch or revision to show alone, at the root; "" for the whole repository
}

func mountFUSE(ctx context.Context, repo *vcs.Repo, ctl fs.Controller, opts fs.Options) (Mounted, error) {
	m, err := fs.New(ctx, repo, ctl, opts)
	if err != nil {
		return nil, err // not a *fs.Mount that is nil inside an interface that is not
	}
	return m, nil
}

// MountInfo is one mount. JSON names are a promise.
type MountInfo struct {
	Mountpoint  string    `json:"mountpoint"`
	At          string    `json:"at,omitempty"` // the branch, or the commit's id, that it shows alone
	ReadOnly    bool      `json:"read_only,omitempty"`
	AllowOther  bool      `json:"allow_other,omitempty"`
	Passthrough bool      `json:"passthrough"`
	Since       time.Time `json:"since"`
}

type mount struct {
	info MountInfo
	m    Mounted // nil while the mount is being made
}

// Mount mounts the repository. When it returns, the mount answers.
func (s *Service) Mount(ctx context.Context, opts MountOptions) (MountInfo, error) {
	at, err := s.mountAt(ctx, &opts)
	if err != nil {
		return MountInfo{}, fmt.Errorf("mount %s: %w", opts.Mountpoint, err)
	}
	entry := &mount{info: MountInfo{Mountpoint: opts.Mountpoint, At: opts.At, ReadOnly: opts.ReadOnly, AllowOther: opts.AllowOther, Since: time.Now().UTC().Truncate(time.Millisecond)}}
	s.mu.Lock()
	if slices.ContainsFunc(s.mounts, func(m *mount) bool { return m.info.Mountpoint == opts.Mountpoint }) {
		s.mu.Unlock()
		return MountInfo{}, fmt.Errorf("mount %s: this repository is mounted there already: %w", opts.Mountpoint, errs.Busy)
	}
	s.mounts = append(s.mounts, entry)
	s.mu.Unlock()

	m, err := s.opts.Mounter(context.WithoutCancel(ctx), s.repo, s, fs.Options{ // the mount outlives the request
		Mountpoint: opts.Mountpoint, At: at, ReadOnly: opts.ReadOnly || s.opts.ReadOnly, AllowOther: opts.AllowOther, Lazy: opts.Lazy, CacheSize: opts.CacheSize, Logger: s.log,
	})
	if err != nil {
		s.forget(entry)
		return MountInfo{}, err
	}
	s.mu.Lock()
	entry.m = m
	entry.info.Passthrough = m.Passthrough()
	info := entry.info
	s.mu.Unlock()
	s.shareMounts()
	s.log.Info("mounted", "path", info.Mountpoint, "read_only", info.ReadOnly, "passthrough", info.Passthrough)
	s.wait.Go(func() { // ends with the mount
		m.Wait()
		left := s.forget(entry)
		s.log.Info("unmounted", "path", info.Mountpoint)
		if s.opts.MountGone != nil {
			s.opts.MountGone(info.Mountpoint, left)
		}
	})
	return info, nil
}

// mountAt resolves opts.At, and makes it what the mount says of itself: the branch, or the full id of the commit. A commit is read-only.
func (s *Service) mountAt(ctx context.Context, opts *MountOptions) (fs.At, error) {
	if opts.At == "" {
		return fs.At{}, nil
	}
	r, err := s.repo.Refs.Branch(opts.At)
	if err == nil {
		opts.At = r.Name
		return fs.At{Branch: r.Name}, nil
	}
	if !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Invalid) {
		return fs.At{}, err
	}
	id, err := s.repo.Resolve(ctx, opts.At)
	if err != nil {
		return fs.At{}, err
	}
	opts.At, opts.ReadOnly = id.String(), true
	return fs.At{Commit: id}, nil
}

// forget takes a mount off the list and returns how many are left.
func (s *Service) forget(entry *mount) int {
	s.mu.Lock()
	s.mounts = slices.DeleteFunc(s.mounts, func(m *mount) bool { return m == entry })
	left := len(s.mounts)
	s.mu.Unlock()
	s.shareMounts()
	return left
}

// shareMounts tells each mount whether there are others.
func (s *Service) shareMounts() {
	live := s.live()
	for _, m := range live {
		if f, ok := m.m.(follower); ok {
			f.SetShared(len(live) > 1)
		}
	}
}

// liveChanged tells the mounts that a live tree was changed by a command.
func (s *Service) liveChanged(branch string) {
	for _, m := range s.live() {
		if f, ok := m.m.(follower); ok {
			f.LiveChanged(branch)
		}
	}
}

// told lets the mounts' users see what a command has done to live trees before it returns.
func (s *Service) told(ctx context.Context) {
	for _, m := range s.live() {
		if f, ok := m.m.(follower); ok {
			f.Told(ctx)
		}
	}
}

// Unmount detaches one mount. While files are open in it that is errs.Busy, unless lazy.
func (s *Service) Unmount(point string, lazy bool) error {
	for _, m := range s.live() {
		if m.info.Mountpoint == point {
			return m.m.Unmount(lazy)
		}
	}
	return fmt.Errorf("unmount %s: not a mount of this repository: %w", point, errs.NotFound)
}

// Mounts lists the mounts that are live.
func (s *Service) Mounts() []MountInfo {
	out := []MountInfo{}
	for _, m := range s.live() {
		out = append(out, m.info)
	}
	return out
}

// live returns copies of the entries of mounts that are made.
func (s *Service) live() []mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []mount
	for _, m := range s.mounts {
		if m.m != nil {
			out = append(out, *m)
		}
	}
	return out
}

// refsChanged follows every change of refs, whoever made it. It does not block.
func (s *Service) refsChanged() {
	for _, m := range s.live() {
		m.m.RefsChanged()
	}
}

// settle lets the mounts take in what was closed before the command: see fs.Mount.Settle.
func (s *Service) settle(ctx context.Context) {
	for _, m := range s.live() {
		m.m.Settle(ctx)
	}
}

// outside refuses a path that is in a mount of this process, or has one below it, also by way of symbolic links: opening it
// would make the daemon wait for itself. Each component is checked by name before it is looked at.
func (s *Service) outside(op, path string) error {
	mounts := s.Mounts()
	if len(mounts) == 0 {
		return nil
	}
	check := func(p string) error {
		for _, m := range mounts {
			if within(p, m.Mountpoint) {
				return fmt.Errorf("%s %s: inside the mount at %s, use cp there: %w", op, path, m.Mountpoint, errs.Invalid)
			}
		}
		return nil
	}
	at, rest := "/", strings.Split(filepath.Clean(path), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" {
			continue
		}
		next := filepath.Join(at, name) // at has no symbolic links, so ".." is its parent
		if err := check(next); err != nil {
			return err
		}
		to, err := os.Readlink(next)
		if err != nil || len(rest) == 0 { // not a link, or the last one, which is added as such
			at = next
			continue
		}
		if links++; links > 40 {
			return fmt.Errorf("%s %s: %w", op, path, syscall.ELOOP)
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	for _, m := range mounts {
		if within(m.Mountpoint, at) {
			return fmt.Errorf("%s %s: the mount at %s is below it: %w", op, path, m.Mountpoint, errs.Invalid)
		}
	}
	return nil
}
