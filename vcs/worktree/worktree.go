// Package worktree holds the live trees: for each branch, the mutable state that a mount shows under branches/<name>. It knows POSIX semantics and no FUSE types.
// (The stub's comments are the contract; the owner writes the full package comment: journal, spool, lock order, recovery.)
package worktree

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"coral/internal/oid"
	"coral/vcs/object"
)

// Ino is an inode number, unique over all trees of a Set while it is open, never 0 or 1 and never reused.
type Ino uint64

// Deps is what live trees need from the layers below. vcs.Repo provides it from vcs/content and vcs/object.
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

// Options of Open.
type Options struct {
	ReadOnly     bool
	UID, GID     uint32        // owner of files that a commit brings and that nobody chowned
	SpoolReserve int64         // refuse writers (errs.NoSpace) when the spool's disk has less free; 0 means 64 MiB
	IngestDelay  time.Duration // quiet time after close before a file is ingested; 0 means 200 ms
	SyncInterval time.Duration // the journal's short timer; 0 means 2 s
	Logger       *slog.Logger
}

// Set is all live trees of one repository and the ingest queue they share. It must be closed. Safe for concurrent use, as are Tree and Handle.
type Set struct{}

// Open opens the live trees under dir (dir/live/<escaped branch>/journal…, dir/spool/…) and replays their journals: a torn tail is ignored, spool files that no journal
// knows are listed in lost+found, nothing is deleted silently. Dirty files are queued for ingest again.
func Open(ctx context.Context, dir string, deps Deps, opts Options) (*Set, error) { panic("unwritten") }

// Close stops the queue after the file in work, syncs the journals and closes. Handles must have been closed. Nothing needs to have been ingested.
func (s *Set) Close(ctx context.Context) error { panic("unwritten") }

// Tree returns the live tree of branch; if it has none yet, one that starts as root (a tree id; zero: empty).
func (s *Set) Tree(ctx context.Context, branch string, root oid.ID) (*Tree, error) {
	panic("unwritten")
}

// Remove deletes the live tree of branch. Rename renames it. errs.Busy while handles are open in it.
func (s *Set) Remove(ctx context.Context, branch string) error          { panic("unwritten") }
func (s *Set) Rename(ctx context.Context, branch, newName string) error { panic("unwritten") }

// Drain waits until every file that was closed before the call is ingested and durable, reporting progress (may be nil). This is `coral sync`.
// It returns the first ingest error of a file, naming its path.
func (s *Set) Drain(ctx context.Context, progress func(QueueStatus)) error { panic("unwritten") }

// QueueStatus is the state of the ingest queue.
type QueueStatus struct {
	Files   int      `json:"files"`            // waiting or in work
	Bytes   int64    `json:"bytes"`            // of these
	Current string   `json:"current"`          // "branch:path" in work
	Errors  []string `json:"errors,omitempty"` // files that cannot be ingested now, and why; they stay in the spool and are tried again
}

// Queue returns the state of the ingest queue.
func (s *Set) Queue() QueueStatus { panic("unwritten") }

// Pause stops ingest (after the file in work) until resume is called: gc runs between.
func (s *Set) Pause(ctx context.Context) (resume func(), err error) { panic("unwritten") }

// Manifests calls fn for every manifest and every tree that a live tree refers to: gc's roots.
func (s *Set) Roots(ctx context.Context, manifest func(oid.ID) error, tree func(oid.ID) error) error {
	panic("unwritten")
}

// DropSpool removes the spool copies of ingested files that no handle has open and returns the bytes freed (`coral cache drop`).
func (s *Set) DropSpool(ctx context.Context) (int64, error) { panic("unwritten") }

// SpoolStats are sizes of the spool.
type SpoolStats struct {
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`                // on disk
	CleanBytes int64    `json:"clean_bytes"`          // of these, copies of ingested files
	LostFound  []string `json:"lost_found,omitempty"` // orphaned spool files found at recovery
}

// Spool returns sizes of the spool.
func (s *Set) Spool() SpoolStats { panic("unwritten") }

// Tree is the live tree of one branch.
type Tree struct{}

// Attr are the attributes of an inode.
type Attr struct {
	Ino                 Ino
	Mode                uint32 // type and permission bits as in st_mode (syscall.S_IF*)
	UID, GID            uint32
	Nlink               uint32
	Rdev                uint32
	Size                int64
	Blocks              int64 // of 512 bytes
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

// All names are checked: at most 255 bytes, not empty, ".", "..", no "/" or NUL. Errors are classes of internal/errs.
// Every change is in the journal (written, not synced) when the method returns.

func (t *Tree) Branch() string                                                  { panic("unwritten") }
func (t *Tree) Root() Ino                                                       { panic("unwritten") }
func (t *Tree) Lookup(ctx context.Context, dir Ino, name string) (Attr, error)  { panic("unwritten") }
func (t *Tree) Getattr(ctx context.Context, ino Ino) (Attr, error)              { panic("unwritten") }
func (t *Tree) Setattr(ctx context.Context, ino Ino, set SetAttr) (Attr, error) { panic("unwritten") }
func (t *Tree) Readdir(ctx context.Context, dir Ino) ([]Dirent, error)          { panic("unwritten") }
func (t *Tree) Readlink(ctx context.Context, ino Ino) (string, error)           { panic("unwritten") }
func (t *Tree) Mkdir(ctx context.Context, dir Ino, name string, mode, uid, gid uint32) (Attr, error) {
	panic("unwritten")
}

// Mknod makes a regular file, FIFO, socket or device node (type bits in mode).
func (t *Tree) Mknod(ctx context.Context, dir Ino, name string, mode, rdev, uid, gid uint32) (Attr, error) {
	panic("unwritten")
}

// Create makes and opens a regular file; if name exists it is errs.Exist.
func (t *Tree) Create(ctx context.Context, dir Ino, name string, mode, uid, gid uint32, flags int) (Attr, *Handle, error) {
	panic("unwritten")
}

// CreateUnnamed makes and opens a regular file with no name (O_TMPFILE); Link may give it one.
func (t *Tree) CreateUnnamed(ctx context.Context, mode, uid, gid uint32, flags int) (Attr, *Handle, error) {
	panic("unwritten")
}
func (t *Tree) Symlink(ctx context.Context, dir Ino, name, target string, uid, gid uint32) (Attr, error) {
	panic("unwritten")
}
func (t *Tree) Link(ctx context.Context, ino, dir Ino, name string) (Attr, error) { panic("unwritten") }
func (t *Tree) Unlink(ctx context.Context, dir Ino, name string) error            { panic("unwritten") }
func (t *Tree) Rmdir(ctx context.Context, dir Ino, name string) error             { panic("unwritten") }
func (t *Tree) Rename(ctx context.Context, dir Ino, name string, newDir Ino, newName string, flags uint32) error {
	panic("unwritten")
}

// User xattrs (any name in user., trusted., security.; user.coral. is refused). They belong to the live tree.
func (t *Tree) Getxattr(ctx context.Context, ino Ino, name string) ([]byte, error) {
	panic("unwritten")
}
func (t *Tree) Setxattr(ctx context.Context, ino Ino, name string, value []byte, flags int) error {
	panic("unwritten")
}
func (t *Tree) Listxattr(ctx context.Context, ino Ino) ([]string, error)    { panic("unwritten") }
func (t *Tree) Removexattr(ctx context.Context, ino Ino, name string) error { panic("unwritten") }

// FileState says where a file's content is now.
type FileState struct {
	Manifest oid.ID // zero while dirty
	Spool    bool   // a 1:1 spool file exists
	Dirty    bool
}

func (t *Tree) State(ctx context.Context, ino Ino) (FileState, error) { panic("unwritten") }

// Open opens a regular file. flags are open(2)'s (O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_APPEND). Opening for write copies a committed file up to a spool file and journals that it is dirty, before it returns.
func (t *Tree) Open(ctx context.Context, ino Ino, flags int) (*Handle, error) { panic("unwritten") }

// SyncTree makes every change of names and attributes so far durable (fsync of a directory).
func (t *Tree) SyncTree(ctx context.Context) error { panic("unwritten") }

// Forget tells that the kernel no longer knows ino; its memory may be freed if the commit can bring it back.
func (t *Tree) Forget(ino Ino) { panic("unwritten") }

// Handle is an open file. While any handle of an inode is open, the inode's spool file, once there, is neither replaced nor dropped, so its descriptor may back a passthrough.
type Handle struct{}

func (h *Handle) Ino() Ino { panic("unwritten") }

// Spool returns the 1:1 spool file (read-write for a handle opened for writing), or nil if the content is only in the store.
// It belongs to the worktree and stays open until Close.
func (h *Handle) Spool() *os.File { panic("unwritten") }

// ReadAt reads the inode's present content, wherever it is. n < len(p) only at end of file (err nil or io.EOF).
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error)  { panic("unwritten") }
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) { panic("unwritten") }

// Allocate is fallocate(2). Seek is lseek(2) with SEEK_DATA or SEEK_HOLE only.
func (h *Handle) Allocate(ctx context.Context, mode uint32, off, length int64) error {
	panic("unwritten")
}
func (h *Handle) Seek(ctx context.Context, off int64, whence int) (int64, error) { panic("unwritten") }

// Fsync: the data and everything needed to find it after a power cut is durable.
func (h *Handle) Fsync(ctx context.Context) error { panic("unwritten") }

// Close releases the handle. After the last writer's Close the file is queued for ingest.
func (h *Handle) Close() error { panic("unwritten") }

// SnapshotResult says what Snapshot froze.
type SnapshotResult struct {
	Root      oid.ID   // tree
	OpenFiles []string // paths that were open for writing, stored as they were at that moment
	Skipped   []string // paths that a commit cannot hold (FIFOs, sockets, device nodes)
	Files     int      // ingested by this call or waited for
	Bytes     int64
}

// Snapshot freezes the tree: ingests what is dirty, writes trees for changed directories only, syncs nothing (the caller does), and does not stop writers.
// strict refuses (errs.Busy, naming them) when files are open for writing.
func (t *Tree) Snapshot(ctx context.Context, strict bool, progress func(QueueStatus)) (SnapshotResult, error) {
	panic("unwritten")
}

// Rebase tells that the branch's head is now a commit of tree root, which Snapshot returned: the journal is compacted against it when that pays.
func (t *Tree) Rebase(ctx context.Context, root oid.ID) error { panic("unwritten") }

// Change is one line of status.
type Change struct {
	Path  string `json:"path"`
	Kind  string `json:"kind"`  // "added", "modified", "deleted", "mode", "type"
	State string `json:"state"` // "open" (for writing), "queued", "stored"
}

// Status compares the live tree with a committed one (zero: empty), by path. Directories appear only when they are empty or deleted as a whole.
func (t *Tree) Status(ctx context.Context, head oid.ID) ([]Change, error) { panic("unwritten") }
