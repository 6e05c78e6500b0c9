package worktree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// spoolID names a spool file: spool/<16 hex digits>. 0 is none. Ids only grow; none is reused while a journal or a file has it.
type spoolID uint64

func (id spoolID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// parseSpoolID reads the name of a spool file.
func parseSpoolID(name string) (spoolID, bool) {
	if len(name) != 16 {
		return 0, false
	}
	v, err := strconv.ParseUint(name, 16, 64)
	return spoolID(v), err == nil && v != 0 && spoolID(v).String() == name
}

// spool is the directory of spool files. Safe for concurrent use; it holds no descriptors but the directory's.
type spool struct {
	dir     string
	fd      *os.File
	dirfd   int
	next    atomic.Uint64
	reserve int64

	dirMu sync.Mutex
	grown atomic.Bool // files were made since the directory was last synced

	made    atomic.Int64 // when the last file was made, ns
	checked atomic.Int64 // when free was asked for last, ns
	free    atomic.Int64

	spares spares
}

// openSpool opens dir, making it unless readOnly. Without one, a read-only spool is empty.
func openSpool(dir string, reserve int64, readOnly bool) (*spool, error) {
	s := &spool{dir: dir, reserve: reserve, dirfd: -1}
	if !readOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
	}
	fd, err := os.Open(dir)
	if readOnly && errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s.fd, s.dirfd = fd, int(fd.Fd())
	s.grown.Store(!readOnly) // whether an earlier process synced it is not known
	return s, nil
}

func (s *spool) close() error {
	if s.fd == nil {
		return nil
	}
	s.dropSpares()
	return s.fd.Close()
}

func (s *spool) path(id spoolID) string { return filepath.Join(s.dir, id.String()) }

// used tells that id is taken.
func (s *spool) used(id spoolID) {
	for {
		v := s.next.Load()
		if uint64(id) <= v || s.next.CompareAndSwap(v, uint64(id)) {
			return
		}
	}
}

// alloc returns an id that nothing uses.
func (s *spool) alloc() spoolID { return spoolID(s.next.Add(1)) }

// create makes the empty file id, open read-write.
func (s *spool) create(id spoolID) (*os.File, error) {
	s.grown.Store(true)
	s.made.Store(clock())
	if f := s.reuse(id); f != nil {
		return f, nil
	}
	return s.openat(id, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

// open opens a spool file.
func (s *spool) open(id spoolID, write bool) (*os.File, error) {
	if write {
		return s.openat(id, unix.O_RDWR)
	}
	return s.openat(id, unix.O_RDONLY|unix.O_NOATIME)
}

func (s *spool) openat(id spoolID, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(s.dirfd, id.String(), flags|unix.O_CLOEXEC|unix.O_LARGEFILE, 0o600)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), s.path(id)), nil
		case err == unix.EPERM && flags&unix.O_NOATIME != 0: // not the owner of the file
			flags &^= unix.O_NOATIME
		case err != unix.EINTR:
			return nil, fmt.Errorf("open spool file %s: %w", id, err)
		}
	}
}

// openForWriting says whether anybody has the file open for writing, also a process whose daemon was killed or lazily unmounted: it keeps
// its passthrough descriptor, and no handle of ours tells. A read lease is only granted where there is no writer (fcntl(2), F_SETLEASE). Where leases are not
// to be had (some network file systems) the answer is no.
func (s *spool) openForWriting(id spoolID) bool {
	f, err := s.open(id, false)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lease
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return err == unix.EAGAIN
}

func (s *spool) stat(id spoolID) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(s.dirfd, id.String(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, fmt.Errorf("stat spool file %s: %w", id, err)
	}
	return st, nil
}

// utimes sets the times that are not nil.
func (s *spool) utimes(id spoolID, atime, mtime *int64) error {
	spec := func(ns *int64) unix.Timespec {
		if ns == nil {
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
		return unix.NsecToTimespec(*ns)
	}
	if err := unix.UtimesNanoAt(s.dirfd, id.String(), []unix.Timespec{spec(atime), spec(mtime)}, 0); err != nil {
		return fmt.Errorf("set times of spool file %s: %w", id, err)
	}
	return nil
}

// remove deletes a spool file; one that is gone already is fine.
func (s *spool) remove(id spoolID) error {
	if err := unix.Unlinkat(s.dirfd, id.String(), 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove spool file %s: %w", id, err)
	}
	return nil
}

// syncDir makes the names of all spool files made so far durable.
func (s *spool) syncDir() error {
	s.dirMu.Lock() // a second caller must not pass while the first one's fsync is under way
	defer s.dirMu.Unlock()
	if !s.grown.Swap(false) {
		return nil
	}
	if err := s.fd.Sync(); err != nil {
		s.grown.Store(true)
		return fmt.Errorf("sync spool directory: %w", err)
	}
	return nil
}

// list calls fn for every spool file, and other, if not nil, for every other name.
func (s *spool) list(fn func(spoolID), other func(name string)) error {
	if s.fd == nil {
		return nil
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	for _, name := range names {
		if id, ok := parseSpoolID(name); ok {
			fn(id)
		} else if other != nil {
			other(name)
		}
	}
	return nil
}

// room says whether n more bytes may be written: errs.NoSpace if that would leave less than the reserve.
// The disk is asked every 50 ms, or when what is known does not suffice.
func (s *spool) room(n int64) error {
	if s.reserve <= 0 {
		return nil
	}
	now := clock()
	if now-s.checked.Load() < 50e6 && s.free.Add(-n) >= s.reserve {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(s.dirfd, &st); err != nil {
		return fmt.Errorf("free space of the spool: %w", err)
	}
	free := int64(st.Bavail) * st.Bsize
	s.free.Store(free - n)
	s.checked.Store(now)
	if free-n < s.reserve {
		return fmt.Errorf("write %d bytes to the spool: %d free, %d are reserved: %w", n, free, s.reserve, errs.NoSpace)
	}
	return nil
}

// clockFloor is the latest stamp of a new spool file, ns.
var clockFloor atomic.Int64

// maxAhead is how far stamps of files may be ahead of the coarse clock, ns. Since Linux 6.13 (multigrain timestamps) they are fine where somebody has looked.
const maxAhead = 10e6

// clock returns the time in the resolution that file systems use for their stamps, so that ours and those of spool files compare well.
// It is never before the stamp of a spool file that was made.
func clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return 0 // not on Linux: the clock exists since 2.6.32
	}
	now := ts.Nano()
	if ahead := clockFloor.Load() - now; ahead > 0 && ahead < maxAhead {
		now += ahead
	}
	return now
}

// birth is when a new spool file was made, by its own stamp: its inode's times must be the same, or they would change when the file is opened for writing.
func birth(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat spool file %s: %w", f.Name(), err)
	}
	at := st.Mtim.Nano()
	for {
		was := clockFloor.Load()
		if at <= was && was-at < maxAhead || clockFloor.CompareAndSwap(was, at) {
			return at, nil
		}
	}
}
