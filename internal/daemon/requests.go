package daemon

import (
	"path/filepath"

	"coral/internal/control"
	"coral/internal/service"
)

// Verbs of the control socket that are the daemon's own.
const (
	verbMount   = "mount"
	verbUnmount = "unmount"
)

// MountRequest asks for a mount.
type MountRequest struct {
	Mountpoint string `json:"mountpoint"` // a real path: see ResolveMountpoint
	ReadOnly   bool   `json:"read_only,omitempty"`
	AllowOther bool   `json:"allow_other,omitempty"`
	Lazy       bool   `json:"no_passthrough,omitempty"`
	CacheSize  int64  `json:"cache_size,omitempty"` // bytes; 0 is the default
	At         string `json:"at,omitempty"`         // a branch or revision to show alone
	Memory     int64  `json:"memory,omitempty"`     // bytes; 0 is the default. It counts in the request that starts the daemon

	// Codec is how tensors are coded from now on, by name; "" changes nothing. It is the daemon's: the last mount that names one counts.
	Codec service.Codec `json:"codec,omitempty"`
}

// MountResult is a live mount. JSON names are a promise.
type MountResult struct {
	service.MountInfo
	PID  int    `json:"pid"` // of the daemon
	Repo string `json:"repo"`
}

// UnmountRequest asks for the end of one mount, or of the only one.
type UnmountRequest struct {
	Mountpoint string `json:"mountpoint,omitempty"`
	Lazy       bool   `json:"lazy,omitempty"`
}

// UnmountResult says what was unmounted. JSON names are a promise.
type UnmountResult struct {
	Mountpoint string              `json:"mountpoint"`
	Ended      bool                `json:"ended"`           // it was the last one: the daemon has ended
	Stale      bool                `json:"stale,omitempty"` // its daemon was gone already
	Queue      service.QueueStatus `json:"queue"`           // what stays in the spool, to be ingested later
	Warning    string              `json:"warning,omitempty"`
}

func (r *MountRequest) check() error {
	if !filepath.IsAbs(r.Mountpoint) || filepath.Clean(r.Mountpoint) != r.Mountpoint {
		return control.Usagef("mountpoint %q is not an absolute, clean path", r.Mountpoint)
	}
	if r.Memory != 0 && r.Memory < minMemory {
		return control.Usagef("--memory of %d MiB: at least %d MiB are needed", r.Memory>>20, int64(minMemory)>>20)
	}
	return r.Codec.Check()
}
