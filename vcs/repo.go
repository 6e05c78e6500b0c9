// Package vcs is a repository: objects, refs, content and live trees put together.
package vcs

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/local"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/ref"
	"coral/vcs/worktree"
)

// Options of Open.
type Options struct {
	ReadOnly   bool // nothing on disk is changed
	CacheBytes int64
	UID, GID   uint32
	Logger     *slog.Logger
}

// Repo is an open repository. The parts are exported to be read from; changes that touch more than one part go through Repo's methods.
type Repo struct {
	Dir     string // the directory that holds packs/, index.db …: …/.coral
	Packs   *local.Store
	Objects *object.Store
	Refs    *ref.Store
	Content *content.Store
	Live    *worktree.Set
}

// Init makes a repository in dir/.coral (dir is created) on branch main. errs.Exist if there is one.
func Init(dir string) error { panic("unwritten") }

// Open opens the repository at dir (the .coral directory). The caller holds the repository's lock (internal/daemon) unless opts.ReadOnly.
func Open(ctx context.Context, dir string, opts Options) (*Repo, error) { panic("unwritten") }

// Close closes everything. It does not wait for the ingest queue: see Live.Drain.
func (r *Repo) Close(ctx context.Context) error { panic("unwritten") }

// LiveTree returns the live tree of a branch that exists.
func (r *Repo) LiveTree(ctx context.Context, branch string) (*worktree.Tree, error) {
	panic("unwritten")
}

// Resolve finds the commit that rev names: a branch, tag, HEAD or @, full id or unique prefix of 4 or more hex digits, each with any number of ~n, ^, ^n after it; "" is HEAD.
// errs.NotFound or errs.Invalid (ambiguous: the candidates are named).
func (r *Repo) Resolve(ctx context.Context, rev string) (oid.ID, error) { panic("unwritten") }

// SnapshotOptions say what goes into the commit.
type SnapshotOptions struct {
	Branch     string // "" is HEAD's
	Message    string
	Author     string    // "" is the default: Name <email> from the environment
	Time       time.Time // zero is now
	Metrics    map[string]float64
	Labels     map[string]string
	Strict     bool
	AllowEmpty bool   // commit even if the tree equals the head's
	Tag        string // also make this tag
	Progress   func(worktree.QueueStatus)
}

// SnapshotResult is what a snapshot did. JSON field names are a promise.
type SnapshotResult struct {
	Commit      oid.ID   `json:"commit"`
	Parent      oid.ID   `json:"parent,omitempty"`
	Branch      string   `json:"branch"`
	Tree        oid.ID   `json:"tree"`
	Files       int      `json:"files"` // ingested for it
	Bytes       int64    `json:"bytes"`
	StoredBytes int64    `json:"stored_bytes"` // grown packs
	OpenFiles   []string `json:"open_files,omitempty"`
	Skipped     []string `json:"skipped,omitempty"`
	Unchanged   bool     `json:"unchanged,omitempty"` // nothing had changed: no commit was made, Commit is the head
	Seconds     float64  `json:"seconds"`
}

// Snapshot commits the live tree of a branch: freeze, store, sync packs and index, move the ref by compare-and-set, in that order.
func (r *Repo) Snapshot(ctx context.Context, opts SnapshotOptions) (SnapshotResult, error) {
	panic("unwritten")
}

// Log walks first parents (all parents if all, in time order) from id and calls fn until it returns false.
func (r *Repo) Log(ctx context.Context, id oid.ID, all bool, fn func(oid.ID, *object.Commit) bool) error {
	panic("unwritten")
}

// Lookup finds path ("" is the root directory) in a tree.
func (r *Repo) Lookup(ctx context.Context, tree oid.ID, path string) (object.Entry, error) {
	panic("unwritten")
}

// CreateBranch, DeleteBranch, RenameBranch, SetHead and tags keep refs and live trees in step.
func (r *Repo) CreateBranch(ctx context.Context, name string, at oid.ID) error { panic("unwritten") }

// DeleteBranch refuses (errs.Conflict) a branch whose live tree has changes, unless force, and HEAD's always.
func (r *Repo) DeleteBranch(ctx context.Context, name string, force bool) error { panic("unwritten") }
func (r *Repo) RenameBranch(ctx context.Context, from, to string) error         { panic("unwritten") }
func (r *Repo) CreateTag(ctx context.Context, name string, at oid.ID, message, tagger string) error {
	panic("unwritten")
}

// Export writes the tree of a commit (or the part under path) to a new or empty directory, kinds, modes and times kept; it verifies every file.
func (r *Repo) Export(ctx context.Context, commit oid.ID, path, dst string, progress func(files int, bytes int64)) error {
	panic("unwritten")
}

// Add copies a file or directory of the ordinary file system into the live tree of branch at path.
func (r *Repo) Add(ctx context.Context, branch, src, path string, progress func(files int, bytes int64)) (files int, bytes int64, err error) {
	panic("unwritten")
}

// Stats are totals; JSON names are a promise.
type Stats struct {
	LogicalBytes  int64   `json:"logical_bytes"` // sum of file sizes over all commits reachable from refs
	UniqueBytes   int64   `json:"unique_bytes"`  // sum of raw sizes of blobs
	StoredBytes   int64   `json:"stored_bytes"`  // packs and index on disk
	SavedRatio    float64 `json:"saved_ratio"`   // 1 - stored/logical; 0 if nothing is stored
	Commits       int64   `json:"commits"`
	Branches      int64   `json:"branches"`
	Tags          int64   `json:"tags"`
	Files         int64   `json:"files"` // over all commits
	Blobs         int64   `json:"blobs"`
	Deltas        int64   `json:"deltas"`
	MaxChainDepth int     `json:"max_chain_depth"`
	Packs         int     `json:"packs"`
	SpoolBytes    int64   `json:"spool_bytes"`
	CacheBytes    int64   `json:"cache_bytes"`
}

// Stats computes totals. Trees shared between commits are walked once.
func (r *Repo) Stats(ctx context.Context) (Stats, error) { panic("unwritten") }

// GC drops what no ref, ref-log entry younger than keep, live tree or delta needs.
func (r *Repo) GC(ctx context.Context, keep time.Duration, full, dryRun bool) (local.CollectResult, error) {
	panic("unwritten")
}

// FsckOptions: Full also decodes every file of every commit and compares its BLAKE3.
type FsckOptions struct {
	Full     bool
	Progress func(done, total int64, what string)
}

// FsckReport lists damage. An empty Damaged means whole.
type FsckReport struct {
	Packs     int           `json:"packs"`
	Records   int64         `json:"records"`
	Files     int64         `json:"files"`
	Bytes     int64         `json:"bytes"`
	Damage    []string      `json:"damage,omitempty"` // packs, index, objects
	Damaged   []DamagedFile `json:"damaged_files,omitempty"`
	LostFound []string      `json:"lost_found,omitempty"`
}

// DamagedFile names a file of a commit that cannot be given back whole.
type DamagedFile struct {
	Commit oid.ID `json:"commit"`
	Path   string `json:"path"`
	Why    string `json:"why"`
}

// Fsck checks packs, index, refs, every reachable object, and with Full every byte.
func (r *Repo) Fsck(ctx context.Context, opts FsckOptions) (FsckReport, error) { panic("unwritten") }

var _ io.Reader
var _ *os.File
var _ objstore.Kind
