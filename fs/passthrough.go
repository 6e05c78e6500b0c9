package fs

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// serving is how one inode is served, decided as docs/design.md says. The kernel refuses with EIO an open of one kind
// (passthrough or cached) while a handle or mapping of the other kind lives; a mapping keeps its handle, so counting
// handles is enough (research/fuse.md §7).
//
// A backing file is registered with the kernel by the library at the first passthrough open and dropped at the last
// release, after our own Release returned. In between, an open would be given the old backing file. So the handle whose
// release was the last is held until the library has dropped it: while it is held, the inode's spool file stays the same.
type serving struct {
	mu      sync.Mutex
	open    int   // handles that the kernel has or is being given
	pass    bool  // passthrough; means something while open > 0 or backing != 0
	backing int32 // the kernel's id of the backing file, 0 if none is registered
	held    []io.Closer
}

// enter counts one more handle and says whether it is served by passthrough, and whether there are others. Only if no other
// decides it, eligible does. The closers returned are to be closed by the caller, whose own handle is open by now.
func (s *serving) enter(eligible bool) (pass, shared bool, closers []io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == 0 {
		s.pass = eligible || s.backing != 0
	}
	shared = s.open > 0
	s.open++
	closers, s.held = s.held, nil
	return s.pass, shared, closers
}

// leave counts one handle less. What it returns is to be closed now; it is nil if the handle has to be held.
func (s *serving) leave(c io.Closer) io.Closer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.open == 0 && s.backing != 0 {
		s.held = append(s.held, c)
		return nil
	}
	return c
}

// now says what a further open would find: busy if another handle has decided the mode, and which it is.
func (s *serving) now() (busy, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open > 0 || s.backing != 0, s.pass
}

// registered notes the backing file's id.
func (s *serving) registered(id int32) {
	s.mu.Lock()
	s.backing = id
	s.mu.Unlock()
}

// unregistered returns the handles that were held for the backing file.
func (s *serving) unregistered() []io.Closer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backing = 0
	held := s.held
	s.held = nil
	return held
}

// passing says whether a handle may register a backing file now.
func (s *serving) passing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pass
}

// lazily makes the inode lazy: no backing file could be registered.
func (s *serving) lazily() {
	s.mu.Lock()
	s.pass = false
	s.mu.Unlock()
}

// kernel stands between the library and the server: it sees backing files come and go, which the library does not tell,
// and keeps one failed registration from disabling passthrough for the whole mount, which the library would do.
type kernel struct {
	fuse.RawFileSystem
	m      *Mount
	server *fuse.Server

	// The library calls PassthroughFd, RegisterBackingFd and UnregisterBackingFd under one lock of its own.
	next    int32 // the id that RegisterBackingFd is to return
	serving map[int32]*serving

	mu    sync.Mutex
	loose []io.Closer // handles whose backing file is gone: Release closes them

	reads, writes atomic.Int64
}

// Init implements fuse.RawFileSystem. The library's own Init, which would replace us as its way to the server, is not called.
func (k *kernel) Init(s *fuse.Server) { k.server = s }

func (k *kernel) DeleteNotify(parent, child uint64, name string) fuse.Status {
	return k.server.DeleteNotify(parent, child, name)
}

func (k *kernel) EntryNotify(parent uint64, name string) fuse.Status {
	return k.server.EntryNotify(parent, name)
}

func (k *kernel) InodeNotify(node uint64, off, length int64) fuse.Status {
	return k.server.InodeNotify(node, off, length)
}

func (k *kernel) InodeRetrieveCache(node uint64, off int64, dest []byte) (int, fuse.Status) {
	return k.server.InodeRetrieveCache(node, off, dest)
}

func (k *kernel) InodeNotifyStoreCache(node uint64, off int64, data []byte) fuse.Status {
	return k.server.InodeNotifyStoreCache(node, off, data)
}

// offer is PassthroughFd for every kind of handle: f is the handle's 1:1 file, nil if it has none. It registers f itself.
func (k *kernel) offer(s *serving, f *os.File) (int, bool) {
	if !s.passing() {
		return 0, false
	}
	if f == nil { // the handle relied on a backing file that was dropped since
		s.lazily()
		return 0, false
	}
	fd := int(f.Fd())
	id, errno := k.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	if errno != 0 {
		s.lazily()
		if k.m.loud.allow("passthrough" + errno.Error()) {
			k.m.log.Warn("no passthrough for a file", "file", f.Name(), "err", errno)
		}
		return 0, false
	}
	k.next = id
	k.serving[id] = s
	s.registered(id)
	return fd, true
}

// RegisterBackingFd returns the id that offer has just got.
func (k *kernel) RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno) {
	if k.next == 0 {
		return 0, syscall.EBADF
	}
	id := k.next
	k.next = 0
	return id, 0
}

// UnregisterBackingFd tells the kernel, then lets go of the handles that were held for it.
func (k *kernel) UnregisterBackingFd(id int32) syscall.Errno {
	errno := k.server.UnregisterBackingFd(id)
	if s := k.serving[id]; s != nil {
		delete(k.serving, id)
		k.mu.Lock()
		k.loose = append(k.loose, s.unregistered()...)
		k.mu.Unlock()
	}
	return errno
}

// Release serves the last close(2). The library's part drops the backing file; what was held for it is closed after.
func (k *kernel) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	k.RawFileSystem.Release(cancel, in)
	k.mu.Lock()
	loose := k.loose
	k.loose = nil
	k.mu.Unlock()
	k.m.closeAll(loose)
}

// Read counts a READ request. With passthrough there are none.
func (k *kernel) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	k.reads.Add(1)
	return k.RawFileSystem.Read(cancel, in, buf)
}

// Writev counts a WRITE request.
func (k *kernel) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	k.writes.Add(1)
	return k.RawFileSystem.Writev(cancel, in, data)
}

// Requests returns how many READ and WRITE requests were answered: what the kernel could not serve by itself.
func (m *Mount) Requests() (reads, writes int64) {
	return m.kernel.reads.Load(), m.kernel.writes.Load()
}

// stackDepth returns the MaxStackDepth to mount with: backing files on overlayfs need 2, and then nothing can be
// stacked on the mount.
func stackDepth(dir string) int {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return 2
	}
	return 1
}

// probe finds out whether the kernel takes a file of the repository's disk as a backing file.
func (k *kernel) probe(dir string) error {
	if k.server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0 {
		return fmt.Errorf("the kernel has no FUSE passthrough (Linux 6.9)")
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("scratch file: %w", err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	id, errno := k.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno != 0 {
		return fmt.Errorf("register a backing file: %w", errno)
	}
	if errno := k.server.UnregisterBackingFd(id); errno != 0 {
		return fmt.Errorf("unregister a backing file: %w", errno)
	}
	return nil
}
