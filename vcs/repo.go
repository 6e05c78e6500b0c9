package vcs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore/local"
	"coral/vcs/content"
	"coral/vcs/graph"
	"coral/vcs/object"
	"coral/vcs/ref"
	"coral/vcs/similar"
	"coral/vcs/worktree"
)

// Options of Open.
type Options struct {
	ReadOnly   bool // nothing on disk is changed
	CacheBytes int64
	Strategy   delta.Strategy // how files are coded: see content.Options
	NoBases    bool           // no blob is stored as a difference to another: content.Options
	UID, GID   uint32
	Logger     *slog.Logger

	SpoolReserve, SpoolQuota int64   // of worktree.Options
	Similarity               float64 // of similar.Options
}

// Repo is an open repository. The parts are exported to be read from; changes that touch more than one part go through Repo's methods.
type Repo struct {
	Dir     string // the directory that holds packs/, index.db …: …/.coral
	Packs   *local.Store
	Objects *object.Store
	Refs    *ref.Store
	Content *content.Store
	Similar *similar.Index
	Live    *worktree.Set
	Graph   *graph.Graph // times and parents of commits

	opts      Options
	log       *slog.Logger
	snapshots keyLock
	gate      *semaphore.Weighted // see share and exclude
	names     sync.RWMutex
	checks    sync.RWMutex // Fsck reads, GC writes; never waited for
	onLive    atomic.Pointer[func(branch string)]
	closeOnce sync.Once
	closeErr  error
}

// sharers bounds how many may make objects reachable at once.
const sharers = 1 << 20

// Open opens the repository at dir (the .coral directory). The caller holds the repository's lock (internal/daemon) unless opts.ReadOnly.
func Open(ctx context.Context, dir string, opts Options) (*Repo, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Repo{Dir: dir, opts: opts, log: opts.Logger, gate: semaphore.NewWeighted(sharers)}
	if err := r.open(ctx); err != nil {
		_ = r.Close(context.WithoutCancel(ctx)) // the first error says more
		return nil, fmt.Errorf("open repository %s: %w", dir, err)
	}
	return r, nil
}

func (r *Repo) open(ctx context.Context) (err error) {
	if err := checkConfig(r.Dir); err != nil {
		return err
	}
	if r.Packs, err = local.Open(ctx, r.Dir, local.Options{ReadOnly: r.opts.ReadOnly, Logger: r.log, Sources: content.Sources}); err != nil {
		return err
	}
	if r.Refs, err = ref.Open(r.Dir, r.opts.ReadOnly); err != nil {
		return err
	}
	r.Objects = object.NewStore(r.Packs, 0)
	r.Graph = graph.Open(r.Dir, r.Objects, r.opts.ReadOnly, r.log)
	r.Similar = similar.Open(r.Dir, similar.Options{ReadOnly: r.opts.ReadOnly, Similarity: r.opts.Similarity, Logger: r.log})
	r.Content = content.New(r.Packs, r.Objects, content.Options{
		CacheBytes: r.opts.CacheBytes, Strategy: r.opts.Strategy, NoBases: r.opts.NoBases, Logger: r.log, Neighbours: r.Similar,
	})
	live := worktree.Options{
		ReadOnly: r.opts.ReadOnly, UID: r.opts.UID, GID: r.opts.GID, SpoolReserve: r.opts.SpoolReserve, SpoolQuota: r.opts.SpoolQuota, Logger: r.log,
		Switched: r.Refs.Switched,
	}
	if r.Live, err = worktree.Open(ctx, r.Dir, deps{r}, live); err != nil {
		return err
	}
	return r.mendNames(ctx)
}

// Close closes everything. It does not wait for the ingest queue: see Live.Drain. Closing twice is harmless.
func (r *Repo) Close(ctx context.Context) error {
	r.closeOnce.Do(func() {
		step := func(what string, err error) {
			if err != nil && r.closeErr == nil {
				r.closeErr = fmt.Errorf("close repository %s: %w", r.Dir, err)
			} else if err != nil {
				r.log.Error("close repository", "part", what, "err", err)
			}
		}
		if r.Live != nil {
			step("live trees", r.Live.Close(ctx))
		}
		if r.Content != nil {
			step("content", r.Content.Close())
		}
		if r.Similar != nil {
			step("similar tensors", r.Similar.Close())
		}
		if r.Graph != nil {
			step("commit graph", r.Graph.Close())
		}
		if r.Refs != nil {
			step("refs", r.Refs.Close())
		}
		if r.Packs != nil {
			step("packs", r.Packs.Close())
		}
	})
	return r.closeErr
}

// OnRefsChanged makes every later change of branches, tags or HEAD call fn, after it is durable and with no lock held. fn must not block.
func (r *Repo) OnRefsChanged(fn func()) { r.Refs.OnChange(fn) }

// OnLiveChanged makes every later change of a live tree by a method of Repo call fn with its branch, after the change, and now and then during a long one. fn
// must not block.
func (r *Repo) OnLiveChanged(fn func(branch string)) { r.onLive.Store(&fn) }

// liveChanged tells who asked by OnLiveChanged.
func (r *Repo) liveChanged(branch string) {
	if fn := r.onLive.Load(); fn != nil {
		(*fn)(branch)
	}
}

// LiveTree returns the live tree of a branch that exists. If the head commit is damaged, a live tree that was there already is still returned.
func (r *Repo) LiveTree(ctx context.Context, branch string) (*worktree.Tree, error) {
	r.names.RLock()
	defer r.names.RUnlock()
	b, err := r.Refs.Branch(branch)
	if err != nil {
		return nil, err
	}
	root, err := r.rootOf(ctx, b.ID)
	if err != nil && !slices.Contains(r.Live.Branches(), branch) {
		return nil, fmt.Errorf("live tree %s: %w", branch, err)
	}
	return r.Live.Tree(ctx, branch, root)
}

// rootOf returns the tree of a commit; zero for no commit.
func (r *Repo) rootOf(ctx context.Context, commit oid.ID) (oid.ID, error) {
	if commit.IsZero() {
		return oid.ID{}, nil
	}
	c, err := r.Objects.Commit(ctx, commit)
	if err != nil {
		return oid.ID{}, err
	}
	return c.Tree, nil
}

func (r *Repo) writable(what string) error {
	if r.opts.ReadOnly {
		return fmt.Errorf("%s: repository %s is open %w", what, r.Dir, errs.ReadOnly)
	}
	return nil
}

// share keeps GC out until release is called.
func (r *Repo) share(ctx context.Context) (release func(), err error) {
	if err := r.gate.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { r.gate.Release(1) }, nil
}

// exclude waits until nobody shares, and keeps all out until release is called.
func (r *Repo) exclude(ctx context.Context) (release func(), err error) {
	if err := r.gate.Acquire(ctx, sharers); err != nil {
		return nil, err
	}
	return func() { r.gate.Release(sharers) }, nil
}

// keyLock is a mutex for each name, waited for with a context. The zero value is ready.
type keyLock struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed at release
}

func (k *keyLock) lock(ctx context.Context, name string) (release func(), err error) {
	for {
		k.mu.Lock()
		ch, busy := k.held[name]
		if !busy {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			ch = make(chan struct{})
			k.held[name] = ch
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, name)
				k.mu.Unlock()
				close(ch)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
