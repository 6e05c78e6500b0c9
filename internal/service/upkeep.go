package service

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore/cache"
	"coral/objstore/local"
	"coral/vcs"
	blobs "coral/vcs/content"
	"coral/vcs/worktree"
)

// StatsRequest is `coral stats`.
type StatsRequest struct{}

// Flags implements Request.
func (r *StatsRequest) Flags(*pflag.FlagSet) {}

// SetArgs implements Request.
func (r *StatsRequest) SetArgs(args []string) error { return noArgs("stats", args) }

// Access implements Request.
func (r *StatsRequest) Access() Access { return Reads }

func (s *Service) stats(ctx context.Context, _ *StatsRequest, _ Progress) (vcs.Stats, error) {
	return s.repo.Stats(ctx)
}

// CacheRequest is `coral cache`.
type CacheRequest struct {
	Drop bool `json:"drop,omitempty"`
	Size Size `json:"size,omitempty"` // the new bound of materialised files
}

// Flags implements Request.
func (r *CacheRequest) Flags(f *pflag.FlagSet) {
	f.Var(&r.Size, "size", "keep materialised files within this `space` from now on, until the daemon ends")
}

// SetArgs implements Request.
func (r *CacheRequest) SetArgs(args []string) error {
	switch what := arg(args, 0); what {
	case "", "status":
	case "drop":
		r.Drop = true
	default:
		return control.Usagef("cache: %q is neither status nor drop", what)
	}
	return atMost("cache", args, 1)
}

// Access implements Request.
func (r *CacheRequest) Access() Access {
	if r.Drop || r.Size != 0 {
		return Writes
	}
	return Reads
}

// CacheResult is the state of what could be dropped, after dropping if that was asked. JSON names are a promise.
type CacheResult struct {
	Files      int                 `json:"files"` // materialised files of commits
	Bytes      int64               `json:"bytes"`
	Limit      int64               `json:"limit,omitempty"` // of Bytes, while the repository is mounted
	Spool      worktree.SpoolStats `json:"spool"`
	Dropped    bool                `json:"dropped,omitempty"`
	FreedBytes int64               `json:"freed_bytes"` // of both
}

func (s *Service) cache(ctx context.Context, r *CacheRequest, _ Progress) (CacheResult, error) {
	res := CacheResult{Dropped: r.Drop}
	if r.Drop {
		var err error
		if res.FreedBytes, err = s.dropCaches(ctx); err != nil {
			return res, fmt.Errorf("cache drop: %w", err)
		}
	}
	if r.Size != 0 {
		if err := s.resizeCache(int64(r.Size)); err != nil {
			return res, fmt.Errorf("cache --size: %w", err)
		}
	}
	for _, m := range s.live() {
		res.Limit = max(res.Limit, m.m.CacheSize())
	}
	var err error
	if res.Files, res.Bytes, err = cacheSize(filepath.Join(s.repo.Dir, "cache")); err != nil {
		return res, fmt.Errorf("cache: %w", err)
	}
	res.Spool = s.repo.Live.Spool()
	return res, nil
}

// resizeCache sets the bound of the mounts' cache; without a mount, it evicts what is beyond it now.
func (s *Service) resizeCache(size int64) error {
	mounts := s.live()
	for _, m := range mounts {
		if err := m.m.SetCacheSize(size); err != nil {
			return err
		}
	}
	if len(mounts) > 0 {
		return nil
	}
	c, err := cache.Open(filepath.Join(s.repo.Dir, "cache"), size)
	if err != nil {
		return err
	}
	return c.Close()
}

func (s *Service) dropCaches(ctx context.Context) (freed int64, err error) {
	s.settle(ctx)
	s.repo.Content.DropCache()
	if freed, err = s.repo.Live.DropSpool(ctx); err != nil {
		return freed, err
	}
	_, before, err := cacheSize(filepath.Join(s.repo.Dir, "cache"))
	if err != nil {
		return freed, err
	}
	mounts := s.live()
	for _, m := range mounts {
		if _, err := m.m.DropCache(ctx); err != nil {
			return freed, err
		}
	}
	if len(mounts) == 0 {
		c, err := cache.Open(filepath.Join(s.repo.Dir, "cache"), 0)
		if err != nil {
			return freed, err
		}
		_, err = c.Drop()
		if cerr := c.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return freed, err
		}
	}
	_, after, err := cacheSize(filepath.Join(s.repo.Dir, "cache"))
	return freed + max(before-after, 0), err
}

// cacheSize sums the materialised files in dir, as they are on disk, whichever mount made them; a directory that is not
// there is empty. Files that go away meanwhile are not counted: the cache evicts when it likes.
func cacheSize(dir string) (files int, bytes int64, err error) {
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return 0, 0, err
	}
	for _, d := range list {
		if _, err := oid.Parse(d.Name()); err != nil {
			continue // the cache's own notes, and files being made
		}
		fi, err := d.Info()
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return files, bytes, err
		}
		files++
		bytes += fi.Size()
	}
	return files, bytes, nil
}

// GCRequest is `coral gc`.
type GCRequest struct {
	Keep   Duration `json:"keep"`
	Full   bool     `json:"full,omitempty"`
	DryRun bool     `json:"dry_run,omitempty"`
}

// DefaultKeep is how long gc keeps what only the ref log still names.
const DefaultKeep = Duration(30 * 24 * time.Hour)

// Flags implements Request.
func (r *GCRequest) Flags(f *pflag.FlagSet) {
	r.Keep = DefaultKeep
	f.Var(&r.Keep, "keep", "keep what refs named within this `time`: 30d, 2w, 12h, 0")
	f.BoolVar(&r.Full, "full", false, "rewrite every pack with anything dead in it, not only those a quarter dead")
	f.BoolVar(&r.DryRun, "dry-run", false, "only count")
}

// SetArgs implements Request.
func (r *GCRequest) SetArgs(args []string) error { return noArgs("gc", args) }

// Access implements Request.
func (r *GCRequest) Access() Access { return Exclusive }

// GCResult says what gc dropped, or would. JSON names are a promise.
type GCResult struct {
	Dropped        int64   `json:"dropped"` // records
	FreedBytes     int64   `json:"freed_bytes"`
	PacksRemoved   int     `json:"packs_removed"`
	PacksRewritten int     `json:"packs_rewritten"`
	DryRun         bool    `json:"dry_run,omitempty"`
	Seconds        float64 `json:"seconds"`
}

func (s *Service) gc(ctx context.Context, r *GCRequest, _ Progress) (GCResult, error) {
	if r.Keep < 0 {
		return GCResult{}, fmt.Errorf("gc: keep %s: %w", r.Keep.String(), errs.Invalid)
	}
	start := time.Now()
	c, err := s.repo.GC(ctx, time.Duration(r.Keep), r.Full, r.DryRun)
	if err != nil {
		return GCResult{}, err
	}
	return GCResult{c.Dropped, c.FreedBytes, c.PacksRemoved, c.PacksRewritten, r.DryRun, time.Since(start).Seconds()}, nil
}

// FsckRequest is `coral fsck`.
type FsckRequest struct {
	Full bool `json:"full,omitempty"`
}

// Flags implements Request.
func (r *FsckRequest) Flags(f *pflag.FlagSet) {
	f.BoolVar(&r.Full, "full", false, "also decode every file of every commit and compare its BLAKE3")
}

// SetArgs implements Request.
func (r *FsckRequest) SetArgs(args []string) error { return noArgs("fsck", args) }

// Access implements Request.
func (r *FsckRequest) Access() Access { return Reads }

// FsckResult is what fsck found. JSON names are a promise.
type FsckResult struct {
	OK bool `json:"ok"`
	vcs.FsckReport
	Seconds float64 `json:"seconds"`
}

// Failed reports damage: the exit code is then 1.
func (r FsckResult) Failed() bool { return !r.OK }

func (s *Service) fsck(ctx context.Context, r *FsckRequest, p Progress) (FsckResult, error) {
	if !s.opts.ReadOnly { // a collector at work would look like damage
		leave, err := s.enter(ctx, Writes)
		if err != nil {
			return FsckResult{}, fmt.Errorf("fsck: %w", err)
		}
		defer leave()
	}
	start := time.Now()
	rep, err := s.repo.Fsck(ctx, vcs.FsckOptions{Full: r.Full, Progress: func(done, total int64, what string) {
		p(control.Progress{Step: "check", Done: done, Total: total, What: what})
	}})
	if err != nil {
		return FsckResult{}, err
	}
	return FsckResult{OK: len(rep.Damage) == 0 && len(rep.Damaged) == 0, FsckReport: rep, Seconds: time.Since(start).Seconds()}, nil
}

// RebuildResult is what RebuildIndex found. JSON names are a promise.
type RebuildResult struct {
	Records int64    `json:"records"`
	Damage  []string `json:"damage,omitempty"`
}

// RebuildIndex makes the index of the repository at dir again from its packs. The caller holds the lock, and nothing has it open.
func RebuildIndex(ctx context.Context, dir string, logger *slog.Logger) (RebuildResult, error) {
	n, damage, err := local.RebuildIndex(ctx, dir, local.Options{Logger: logger, Sources: blobs.Sources})
	if err != nil {
		return RebuildResult{}, fmt.Errorf("rebuild the index: %w", err)
	}
	res := RebuildResult{Records: n}
	for _, d := range damage {
		line := d.Detail
		if d.Pack != "" {
			line = fmt.Sprintf("%s at offset %d: %s", d.Pack, d.Offset, d.Detail)
		}
		res.Damage = append(res.Damage, line)
	}
	return res, nil
}

// InitResult is a new repository. JSON names are a promise.
type InitResult struct {
	Repo string `json:"repo"`
}

// Init makes a repository in dir/.coral.
func Init(dir string) (InitResult, error) {
	abs, err := realPath(dir, false)
	if err != nil {
		return InitResult{}, fmt.Errorf("init %s: %w", dir, err)
	}
	if err := vcs.Init(abs); err != nil {
		return InitResult{}, err
	}
	return InitResult{Repo: abs}, nil
}
