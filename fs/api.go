// Package fs turns kernel requests into calls on a repository: the mount. It is the only package that imports go-fuse.
package fs

import (
	"context"
	"log/slog"

	"coral/vcs"
)

// Controller is what the control directory of the mount (.coral/) needs from above. Its replies are JSON, one line.
type Controller interface {
	// Run executes one command line ("snapshot -m 'step 500'") and returns its reply, also when err is not nil:
	// then {"error": {...}}. The class of err decides the errno of the write.
	Run(ctx context.Context, line string) (reply []byte, err error)
	Status(ctx context.Context) []byte
	Log(ctx context.Context) []byte
}

// Options of New.
type Options struct {
	Mountpoint string
	ReadOnly   bool
	AllowOther bool
	CacheSize  int64 // bytes of materialised files kept under cache/; 0 means 10 GiB
	Debug      bool
	Logger     *slog.Logger
}

// Mount is a live mount.
type Mount struct{}

// New mounts repo. When it returns, the mount answers.
func New(ctx context.Context, repo *vcs.Repo, ctl Controller, opts Options) (*Mount, error) {
	panic("unwritten")
}

// RefsChanged tells the mount that branches, tags, HEAD or a head commit changed; it never blocks.
func (m *Mount) RefsChanged() { panic("unwritten") }

// Unmount detaches the mount. While files are open it is errs.Busy, unless lazy.
func (m *Mount) Unmount(lazy bool) error { panic("unwritten") }

// Wait returns when the mount is gone, for whatever reason.
func (m *Mount) Wait() { panic("unwritten") }

// CacheStats returns the state of the materialised-file cache; DropCache empties it and returns the bytes freed.
func (m *Mount) CacheStats() (files int, bytes int64)         { panic("unwritten") }
func (m *Mount) DropCache(ctx context.Context) (int64, error) { panic("unwritten") }
