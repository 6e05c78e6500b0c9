package fs

import (
	"context"
	"log/slog"
)

// Controller is what the control directory of the mount (.coral/) needs from above. Its replies are JSON, one line.
type Controller interface {
	// Run executes one command line ("snapshot -m 'step 500'") and returns its reply, also when err is not nil:
	// then {"error": {...}}. The class of err decides the errno of the write. It is called from any number of goroutines.
	Run(ctx context.Context, line string) (reply []byte, err error)
	Status(ctx context.Context) []byte
	Log(ctx context.Context) []byte
}

// Options of New.
type Options struct {
	Mountpoint string
	At         At   // one tree at the root; zero for the whole repository
	ReadOnly   bool // branches/ and tags/ are read-only too; the control file still works
	AllowOther bool
	Lazy       bool  // no passthrough: the kernel asks the daemon for every page
	CacheSize  int64 // bytes of materialised files kept under cache/; 0 means 10 GiB
	Debug      bool  // log every request
	Logger     *slog.Logger
}
