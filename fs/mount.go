package fs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"coral/objstore/cache"
	"coral/vcs"
)

// maxRequest is the largest READ or WRITE: 1 MiB, the kernel's own limit (research/fuse.md §1.1: +57 % with readahead).
const maxRequest = 1 << 20

// Mount is a live mount. Unmount it, then Wait.
type Mount struct {
	repo         *vcs.Repo
	ctl          Controller
	opts         Options
	log          *slog.Logger
	loud         lastText     // fail's rate limit
	cache        *cache.Files // nil if the repository is read-only; shared by the mounts of this process
	releaseCache func() error
	server       *fuse.Server
	dev          string // the mount's device, "0:39"
	kernel       *kernel
	root         fusefs.InodeEmbedder // rootNode, or what Options.At says
	rootIno      uint64
	uid          uint32
	gid          uint32

	base   context.Context // of requests: it does not end before they do
	ctx    context.Context // of background work: ends with the mount
	cancel context.CancelFunc
	work   sync.WaitGroup // background goroutines
	gone   chan struct{}  // closed when the mount is gone and everything of ours has ended
	ended  sync.Once

	passthrough atomic.Bool  // files of ours may be handed to the kernel
	decoded     atomic.Int64 // READ requests for files, not for .coral
	shared      atomic.Bool  // there are other mounts of the repository: SetShared
	changed     atomic.Int64 // when refs last changed, Unix nanoseconds
	live        liveNodes
	open        handles
	commits     commitList
	history     historyHeads
	notify      notifier
	later       materialiser
	last        lastReply
	viewSizes   viewSizes
}

// lastText is the last text logged and when.
type lastText struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

// New mounts repo. When it returns, the mount answers.
func New(ctx context.Context, repo *vcs.Repo, ctl Controller, opts Options) (*Mount, error) {
	m, err := prepare(ctx, repo, ctl, opts)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", opts.Mountpoint, err)
	}
	if err := m.mount(); err != nil {
		m.cancel()
		m.closeCache()
		return nil, fmt.Errorf("mount %s: %w", opts.Mountpoint, err)
	}
	if opts.Lazy {
		m.log.Info("passthrough is off", "why", "as asked for")
	} else if err := m.kernel.probe(repo.Dir); err != nil {
		m.log.Info("passthrough is off", "why", err)
	} else {
		m.passthrough.Store(true)
	}
	m.work.Go(m.notify.run)
	m.work.Go(m.later.run)
	go m.serve()
	if err := m.server.WaitMount(); err != nil {
		m.Unmount(true)
		return nil, fmt.Errorf("mount %s: %w", opts.Mountpoint, err)
	}
	if err := setReadahead(m.dev); err != nil { // without root: slower, no more
		m.log.Info("read-ahead stays at the kernel's default", "err", err)
	}
	return m, nil
}

// prepare makes the Mount without mounting.
func prepare(ctx context.Context, repo *vcs.Repo, ctl Controller, opts Options) (*Mount, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	point, err := filepath.Abs(opts.Mountpoint)
	if err != nil {
		return nil, err
	}
	if point, err = filepath.EvalSymlinks(point); err != nil { // /proc/self/mountinfo and umount2 want the real path
		return nil, err
	}
	opts.Mountpoint = point
	m := &Mount{
		repo: repo, ctl: ctl, opts: opts, log: opts.Logger,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		gone: make(chan struct{}),
	}
	m.base = context.WithoutCancel(ctx)
	m.ctx, m.cancel = context.WithCancel(m.base)
	m.kernel = &kernel{m: m, serving: map[int32]*serving{}}
	m.live.init()
	if m.root, m.rootIno, err = m.makeRoot(); err != nil {
		return nil, err
	}
	m.open.init()
	m.history.init()
	m.viewSizes.init()
	m.notify.init(m)
	m.later.init(m)
	if opts.ReadOnly && !writable(repo.Dir) {
		return m, nil
	}
	m.cache, m.releaseCache, err = cache.Share(filepath.Join(repo.Dir, "cache"), opts.CacheSize)
	if err != nil {
		m.log.Warn("no cache of materialised files", "err", err)
	}
	return m, nil
}

// mount attaches the file system and answers the kernel's INIT.
func (m *Mount) mount() error {
	if os.Geteuid() != 0 {
		if _, err := fusermount(); err != nil {
			return err
		}
		f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0) // fusermount opens it as the user, and says only that it failed
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	opts := m.fuseOptions()
	m.kernel.RawFileSystem = fusefs.NewNodeFS(m.root, opts)
	server, err := fuse.NewServer(m.kernel, m.opts.Mountpoint, &opts.MountOptions)
	if err != nil {
		if strings.HasPrefix(err.Error(), "init") { // mounted, but the kernel and the library do not agree
			unmount(m.opts.Mountpoint, true)
		}
		return err
	}
	m.server = server
	m.dev, err = device(m.opts.Mountpoint)
	if err != nil {
		unmount(m.opts.Mountpoint, true)
	}
	return err
}

func (m *Mount) fuseOptions() *fusefs.Options {
	logger := slog.NewLogLogger(m.log.Handler(), slog.LevelWarn)
	return &fusefs.Options{
		NullPermissions: true,
		RootStableAttr:  &fusefs.StableAttr{Ino: m.rootIno},
		ServerCallbacks: m.kernel,
		Logger:          logger,
		MountOptions: fuse.MountOptions{
			AllowOther:        m.opts.AllowOther,
			Options:           []string{"default_permissions"},
			FsName:            filepath.Dir(m.repo.Dir),
			Name:              "coral",
			MaxWrite:          maxRequest,
			DisableSplice:     true, // at 1 MiB it fails and logs for each read (research/fuse.md §1.4)
			DirectMountStrict: os.Geteuid() == 0,
			MaxStackDepth:     stackDepth(m.repo.Dir),
			// KILLPRIV_V2: else each write(2) asks for security.capability first and cp runs at 0.4 of native (§6).
			// ATOMIC_O_TRUNC: else an open that truncates copies the old content up first.
			ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC,
			PanicHandler:      m.panicked,
			Debug:             m.opts.Debug,
			Logger:            logger,
		},
	}
}

// panicked answers a request whose handler panicked.
func (m *Mount) panicked(v any) fuse.Status {
	m.log.Error("panic in a request handler", "panic", v, "stack", string(debug.Stack()))
	return fuse.EIO
}

// serve answers requests until the mount is gone, for whatever reason, then ends everything.
func (m *Mount) serve() {
	m.server.Serve()
	// If the connection was cut (umount -f, fusectl), a dead mount is left. Another daemon's may be there by now, with the
	// device number that ours had, but it is not dead. To ask a dead mount is safe: no request comes to us.
	var st unix.Statfs_t
	if dev, err := device(m.opts.Mountpoint); err == nil && dev == m.dev && unix.Statfs(m.opts.Mountpoint, &st) == unix.ENOTCONN {
		m.log.Warn("the connection to the kernel was cut", "mountpoint", m.opts.Mountpoint)
		unmount(m.opts.Mountpoint, true)
	}
	m.end()
}

// end stops background work and closes every handle. Handles that are still open belong to a mount that was detached
// lazily, or whose connection was cut.
func (m *Mount) end() {
	m.ended.Do(func() {
		m.cancel()
		m.notify.disarm()
		m.work.Wait()
		m.closeAll(m.open.all())
		m.closeCache()
		close(m.gone)
	})
}

func (m *Mount) closeCache() {
	if m.cache != nil {
		m.releaseCache()
	}
}

// closeAll closes handles and logs what closing says.
func (m *Mount) closeAll(cs []io.Closer) {
	for _, c := range cs {
		if err := c.Close(); err != nil {
			m.log.Error("close a file", "err", err)
		}
	}
}

// Wait returns when the mount is gone, for whatever reason.
func (m *Mount) Wait() { <-m.gone }

// Mountpoint returns the absolute path of the mountpoint.
func (m *Mount) Mountpoint() string { return m.opts.Mountpoint }

// Passthrough reports whether files may be handed to the kernel.
func (m *Mount) Passthrough() bool { return m.passthrough.Load() }

// CacheStats returns the state of the materialised-file cache.
func (m *Mount) CacheStats() (files int, bytes int64) {
	if m.cache == nil {
		return 0, 0
	}
	return m.cache.Stats()
}

// SetCacheSize changes the disk space of materialised files, for all mounts of the process; 0 means the default.
func (m *Mount) SetCacheSize(bytes int64) error {
	if m.cache == nil {
		return nil
	}
	return m.cache.SetQuota(bytes)
}

// CacheSize returns the disk space that materialised files may take, 0 if there is no cache.
func (m *Mount) CacheSize() int64 {
	if m.cache == nil {
		return 0
	}
	return m.cache.Quota()
}

// DropCache empties the materialised-file cache and returns the bytes freed. Files that are open keep being served.
func (m *Mount) DropCache(context.Context) (int64, error) {
	if m.cache == nil {
		return 0, nil
	}
	return m.cache.Drop()
}
