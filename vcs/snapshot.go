package vcs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/ref"
	"coral/vcs/worktree"
)

// SnapshotOptions say what goes into the commit.
type SnapshotOptions struct {
	Branch     string // "" is HEAD's
	Message    string
	Author     string    // "" is DefaultAuthor
	Time       time.Time // zero is now
	Metrics    map[string]float64
	Labels     map[string]string
	Strict     bool   // refuse (errs.Busy) while files are open for writing
	AllowEmpty bool   // commit even if the tree equals the head's
	Tag        string // also make this tag
	Progress   func(worktree.QueueStatus)
}

// SnapshotResult is what a snapshot did. JSON field names are a promise.
type SnapshotResult struct {
	Commit      oid.ID   `json:"commit"`
	Parent      oid.ID   `json:"parent,omitzero"`
	Branch      string   `json:"branch"`
	Tree        oid.ID   `json:"tree"`
	Files       int      `json:"files"` // ingested for it
	Bytes       int64    `json:"bytes"`
	StoredBytes int64    `json:"stored_bytes"` // how much packs have grown since the last snapshot
	OpenFiles   []string `json:"open_files,omitempty"`
	Skipped     []string `json:"skipped,omitempty"`
	Unchanged   bool     `json:"unchanged,omitempty"` // nothing had changed: no commit was made, Commit is the head (zero if there is none)
	Seconds     float64  `json:"seconds"`
}

// Snapshot commits the live tree of a branch: freeze, store, sync packs and index, move the ref by compare-and-set, in that order.
// errs.Conflict if another process moved the branch meanwhile. Snapshots of one branch wait for each other.
// The branch moves and Tag is made in one transaction.
func (r *Repo) Snapshot(ctx context.Context, opts SnapshotOptions) (SnapshotResult, error) {
	start := time.Now()
	res, err := r.snapshot(ctx, opts)
	res.Seconds = time.Since(start).Seconds()
	if err != nil {
		return res, fmt.Errorf("snapshot: %w", err)
	}
	return res, nil
}

func (r *Repo) snapshot(ctx context.Context, opts SnapshotOptions) (SnapshotResult, error) {
	if err := r.writable("commit"); err != nil {
		return SnapshotResult{}, err
	}
	branch, err := r.branchToCommit(opts.Branch)
	if err != nil {
		return SnapshotResult{}, err
	}
	if err := r.tagIsFree(opts.Tag); err != nil { // before anything is stored
		return SnapshotResult{}, err
	}
	unlock, err := r.snapshots.lock(ctx, branch)
	if err != nil {
		return SnapshotResult{}, err
	}
	defer unlock()
	release, err := r.share(ctx)
	if err != nil {
		return SnapshotResult{}, err
	}
	defer release()

	res, live, err := r.commitLive(ctx, branch, opts)
	if err != nil {
		return SnapshotResult{}, err
	}
	// From here on the commit exists.
	if err := live.Rebase(ctx, res.Tree); err != nil {
		r.log.Warn("live tree keeps its old journal", "op", "snapshot", "branch", branch, "err", err)
	}
	return res, nil
}

// tagWhy is the log's line of a tag that a snapshot makes.
const tagWhy = "tag: by snapshot"

// commitLive freezes the live tree and makes the branch's next commit of it, unless nothing changed.
func (r *Repo) commitLive(ctx context.Context, branch string, opts SnapshotOptions) (SnapshotResult, *worktree.Tree, error) {
	head, err := r.Refs.Branch(branch)
	if err != nil {
		return SnapshotResult{}, nil, err
	}
	headTree, err := r.rootOf(ctx, head.ID)
	if err != nil {
		return SnapshotResult{}, nil, fmt.Errorf("head of %s: %w", branch, err)
	}
	live, err := r.LiveTree(ctx, branch)
	if err != nil {
		return SnapshotResult{}, nil, err
	}
	frozen, err := live.Snapshot(ctx, opts.Strict, opts.Progress)
	if err != nil {
		return SnapshotResult{}, nil, err
	}
	res := SnapshotResult{Parent: head.ID, Branch: branch, Tree: frozen.Root, Files: frozen.Files, Bytes: frozen.Bytes, OpenFiles: frozen.OpenFiles, Skipped: frozen.Skipped}
	if !opts.AllowEmpty && (frozen.Root == headTree || head.ID.IsZero() && frozen.Root == emptyTree) {
		res.Commit, res.Parent, res.Unchanged = head.ID, oid.ID{}, true
		err := r.Packs.Sync(ctx)
		if err == nil && opts.Tag != "" && !head.ID.IsZero() {
			err = r.Refs.CreateTag(ref.Ref{Name: opts.Tag, ID: head.ID}, authorOr(opts.Author), tagWhy)
		}
		return res, live, err
	}
	c := &object.Commit{
		Tree: frozen.Root, Message: strings.TrimRight(strings.ToValidUTF8(opts.Message, "\uFFFD"), " \t\r\n"),
		Author: authorOr(opts.Author), Time: opts.Time, Metrics: opts.Metrics, Labels: opts.Labels,
	}
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	if !head.ID.IsZero() {
		c.Parents = []oid.ID{head.ID}
	}
	if res.Commit, err = r.Objects.PutCommit(ctx, c); err != nil {
		return SnapshotResult{}, nil, err
	}
	if err := r.Packs.Sync(ctx); err != nil {
		return SnapshotResult{}, nil, err
	}
	res.StoredBytes = r.grownPacks()
	err = r.Refs.Update(c.Author, func(t *ref.Txn) error {
		if err := t.MoveBranch(branch, head.ID, res.Commit, "snapshot: "+oneLine(c.Message)); err != nil || opts.Tag == "" {
			return err
		}
		return t.CreateTag(ref.Ref{Name: opts.Tag, ID: res.Commit}, tagWhy)
	})
	if err != nil {
		return SnapshotResult{}, nil, err
	}
	if _, err := r.Graph.Node(ctx, res.Commit); err != nil { // noted while it is at hand; a walk would find it too
		r.log.Warn("commit graph", "err", err)
	}
	return res, live, nil
}

// emptyTree is the id of a directory without entries.
var emptyTree = func() oid.ID {
	_, b, err := object.Encode(&object.Tree{})
	if err != nil {
		panic(err) // an empty tree is always valid
	}
	return object.Sum(b)
}()

func (r *Repo) branchToCommit(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	h, err := r.Refs.Head()
	if err != nil {
		return "", err
	}
	if h.Branch == "" {
		return "", fmt.Errorf("HEAD is at commit %s and on no branch, make one with coral checkout -b NAME: %w", h.Commit.Short(), errs.Invalid)
	}
	return h.Branch, nil
}

func (r *Repo) tagIsFree(name string) error {
	if name == "" {
		return nil
	}
	if err := ref.CheckName(name); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	if _, err := r.Refs.Tag(name); !errors.Is(err, errs.NotFound) {
		return cmp.Or(err, fmt.Errorf("tag %q: %w", name, errs.Exist))
	}
	return nil
}

// grownHint is the key under which the size of the packs at the last snapshot is remembered: files are ingested before
// a snapshot, by other processes even, and what they cost belongs to the snapshot that follows.
var grownHint = []byte("vcs/snapshot/pack-bytes")

// grownPacks returns how much the packs have grown since it was last called. Best effort: 0 after a collection has shrunk them.
func (r *Repo) grownPacks() int64 {
	now, err := dirBytes(filepath.Join(r.Dir, "packs"))
	if err != nil {
		return 0
	}
	var last int64
	if b := r.Packs.Hint(grownHint); len(b) == 8 {
		last = int64(binary.BigEndian.Uint64(b))
	}
	r.Packs.SetHint(grownHint, binary.BigEndian.AppendUint64(nil, uint64(now)))
	return max(0, now-last)
}

// dirBytes returns the sizes of the files right under dir, 0 if there is none.
func dirBytes(dir string) (int64, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var n int64
	for _, e := range list {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() { // else removed meanwhile
			n += info.Size()
		}
	}
	return n, err
}
