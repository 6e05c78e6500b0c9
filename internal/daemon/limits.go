package daemon

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Memory: the bound of the daemon's RSS is 400 MiB. The runtime collects harder as the heap comes near memoryLimit; the rest is
// for what the collector does not count (page tables of bbolt's map, stacks) and for what it has not collected yet.
const (
	memoryLimit = 256 << 20
	gcPercent   = 50
	openFiles   = 1 << 20
)

// SetLimits makes the process fit for the work: a soft bound of memory (unless $GOMEMLIMIT or $GOGC say otherwise) and as
// many open files as the system allows, since each file open in a mount is one here.
func SetLimits() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil {
		return
	}
	if want := max(now.Max, openFiles); now.Cur < want {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: want}) != nil { // needs root beyond Max
			_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: now.Max, Max: now.Max})
		}
	}
}
