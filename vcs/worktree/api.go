package worktree

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// Ino is an inode number, unique over all trees of a Set while it is open, never 0 or 1 and never reused.
type Ino uint64

// Deps is what live trees need from the layers below. vcs.Repo provides it from vcs/content and vcs/object.
// Its methods are called from several goroutines, never with a lock of this package held.
type Deps interface {
	Tree(ctx context.Context, id oid.ID) (*object.Tree, error)
	PutTree(ctx context.Context, t *object.Tree) (oid.ID, error)
	Manifest(ctx context.Context, id oid.ID) (*object.Manifest, error)
	// Ingest stores size bytes of r and returns the manifest (vcs/content.Store.Ingest).
	Ingest(ctx context.Context, r io.ReaderAt, size int64, path string, prev oid.ID) (manifest oid.ID, stored int64, err error)
	// Open returns the content of a manifest.
	Open(ctx context.Context, manifest oid.ID) (Content, error)
	// Sync makes everything ingested and put so far durable.
	Sync(ctx context.Context) error
}

// Content is stored, immutable file content.
type Content interface {
	Size() int64
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Materialize(ctx context.Context, dst *os.File, verify bool) error
}

// Options of Open. The zero value is usable.
type Options struct {
	ReadOnly     bool
	UID, GID     uint32        // owner of files that a commit brings and that nobody chowned
	SpoolReserve int64         // refuse writers (errs.NoSpace) when the spool's disk has less free; 0 means 64 MiB
	SpoolQuota   int64         // bytes of clean spool copies kept, the oldest go first; 0 means 10 GiB, negative none
	IngestDelay  time.Duration // quiet time after close before a file is ingested; 0 means 200 ms
	SyncInterval time.Duration // the journal's short timer; 0 means 2 s
	TinyDelay    time.Duration // how long no spool file was made before the copies of tiny ingested files are dropped; 0 means 60 s, negative at once
	Logger       *slog.Logger

	// Switched says, at Open, whether the commit of the switch with this mark was made durable: see Tree.Switch. nil: none was.
	Switched func(mark string) (bool, error)
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.SpoolReserve == 0 {
		o.SpoolReserve = 64 << 20
	}
	if o.SpoolQuota == 0 {
		o.SpoolQuota = 10 << 30
	}
	if o.IngestDelay == 0 {
		o.IngestDelay = 200 * time.Millisecond
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 2 * time.Second
	}
	if o.TinyDelay == 0 {
		o.TinyDelay = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate says whether the options make sense.
func (o Options) Validate() error {
	if o.SpoolReserve < 0 || o.IngestDelay < 0 || o.SyncInterval < 0 {
		return fmt.Errorf("live tree options: negative reserve or delay: %w", errs.Invalid)
	}
	return nil
}

// Attr are the attributes of an inode.
type Attr struct {
	Ino                 Ino
	Mode                uint32 // type and permission bits as in st_mode (syscall.S_IF*)
	UID, GID            uint32
	Nlink               uint32
	Rdev                uint32
	Size                int64
	Blocks              int64 // of 512 bytes
	Writing             bool  // a handle may write: size and times may be others by now
	Atime, Mtime, Ctime time.Time
}

// Dirent is one name of a directory.
type Dirent struct {
	Name string
	Ino  Ino
	Mode uint32 // type bits
}

// SetAttr says what to change; nil means leave.
type SetAttr struct {
	Mode         *uint32 // permission bits
	UID, GID     *uint32
	Size         *int64
	Atime, Mtime *time.Time
}

// Rename flags, as in renameat2(2).
const (
	RenameNoReplace = 1
	RenameExchange  = 2
)

// FileState says where a file's content is now.
type FileState struct {
	Manifest oid.ID // zero while dirty
	Spool    bool   // a 1:1 spool file exists
	Dirty    bool
}

// QueueStatus is the state of the ingest queue.
type QueueStatus struct {
	Files   int      `json:"files"`            // waiting or in work
	Bytes   int64    `json:"bytes"`            // of these
	Current string   `json:"current"`          // "branch:path" in work
	Errors  []string `json:"errors,omitempty"` // files that cannot be ingested now, and why; they stay in the spool and are tried again
}

// SpoolStats are sizes of the spool.
type SpoolStats struct {
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`                // on disk
	CleanBytes int64    `json:"clean_bytes"`          // of these, copies of ingested files
	LostFound  []string `json:"lost_found,omitempty"` // orphaned spool files found at recovery
}

// SnapshotResult says what Snapshot froze.
type SnapshotResult struct {
	Root      oid.ID   // tree
	OpenFiles []string // paths that were open for writing, stored as they were at that moment
	Skipped   []string // paths that a commit cannot hold (FIFOs, sockets, device nodes)
	Files     int      // ingested by this call or waited for
	Bytes     int64
}

// Change is one line of status.
type Change struct {
	Path  string `json:"path"`
	Kind  string `json:"kind"`  // "added", "modified", "deleted", "mode", "type"
	State string `json:"state"` // "open" (for writing), "queued", "stored"
}
