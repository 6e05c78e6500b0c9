package daemon

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"coral/internal/service"
)

// Memory: the bound of the daemon's RSS is 400 MiB. The runtime collects harder as the heap comes near memoryLimit; the rest is
// for what the collector does not count (page tables of bbolt's map, stacks) and for what it has not collected yet.
const (
	memoryLimit = 256 << 20
	minMemory   = service.MinMemory
	gcPercent   = 50
	openFiles   = 1 << 20
)

// blockCache is how much of memory (0: the default) decoded blocks get: 64 MiB by default, and half of what is given beyond.
func blockCache(memory int64) int64 {
	if memory == 0 {
		return 0
	}
	return max(16<<20, 64<<20+(memory-memoryLimit)/2)
}

// SetLimits makes the process fit for the work: a soft bound of memory (0: the default; $GOMEMLIMIT and $GOGC count more) and as
// many open files as the system allows, since each file open in a mount is one here.
func SetLimits(memory int64) {
	if memory == 0 {
		memory = memoryLimit
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
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
