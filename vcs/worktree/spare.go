package worktree

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Spares are spool files that nothing needs any more, kept empty for the next that is made: a new inode is the larger part of what it costs to create a file.
// ext4 looks for one that nobody deleted in the last minutes, past each that was, if it has no journal: after 8,000 files were deleted a
// create took 390 µs of the daemon's time in the kernel, and 110 with spares (two runs, 2 cores of an EPYC VM under load, Linux 6.18, 2026-11-24).
//
// A spare's name is sparePrefix and the id that it had. It is as durable as anything: a file becomes one where it would have been removed, that is after the
// record that made it superfluous was synced, and what a power cut leaves of it is an empty file. They go when the set is closed, or at the next Open.
const (
	sparePrefix = ".spare-"
	maxSpares   = 16 << 10
	maxSpare    = 1 << 20 // bytes on disk of a file that is worth keeping
)

// spares is the names of the spares, by the ids that they had.
type spares struct {
	mu  sync.Mutex
	ids []spoolID
}

func spareName(id spoolID) string { return sparePrefix + id.String() }

// discard removes a spool file that the journal does not need any more, or makes it a spare; one that is gone already is fine.
func (s *spool) discard(id spoolID) error {
	s.spares.mu.Lock()
	full := len(s.spares.ids) >= maxSpares
	s.spares.mu.Unlock()
	if full || !s.spareable(id) || unix.Renameat(s.dirfd, id.String(), s.dirfd, spareName(id)) != nil {
		return s.remove(id)
	}
	s.spares.mu.Lock()
	s.spares.ids = append(s.spares.ids, id)
	s.spares.mu.Unlock()
	return nil
}

// spareable empties a file, if nobody has it open: a process of a mount that was detached, or whose daemon was killed, may go on using it by the descriptor
// that it has (see openForWriting). A write lease is only granted to the only one.
func (s *spool) spareable(id spoolID) bool {
	fd, err := unix.Openat(s.dirfd, id.String(), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) // and with it the lease
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || st.Blocks > maxSpare/512 {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return false
	}
	if st.Size == 0 && st.Blocks == 0 {
		return true
	}
	return unix.Ftruncate(fd, 0) == nil && unix.Fstat(fd, &st) == nil && st.Blocks == 0
}

// reuse makes a spare the new, empty file id, open read-write; nil if there is none.
func (s *spool) reuse(id spoolID) *os.File {
	s.spares.mu.Lock()
	n := len(s.spares.ids)
	if n == 0 {
		s.spares.mu.Unlock()
		return nil
	}
	old := s.spares.ids[n-1]
	s.spares.ids = s.spares.ids[:n-1]
	s.spares.mu.Unlock()
	if unix.Renameat2(s.dirfd, spareName(old), s.dirfd, id.String(), unix.RENAME_NOREPLACE) != nil {
		return nil
	}
	f, err := s.open(id, true)
	if err == nil {
		if err = unix.UtimesNanoAt(s.dirfd, id.String(), utimeNow, 0); err == nil {
			return f
		}
		f.Close()
	}
	_ = s.remove(id) // its maker fails where the name is still taken
	return nil
}

// utimeNow are both times of a file that is new.
var utimeNow = []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}

// dropSpares removes the spares of this process.
func (s *spool) dropSpares() {
	s.spares.mu.Lock()
	defer s.spares.mu.Unlock()
	for _, id := range s.spares.ids {
		_ = unix.Unlinkat(s.dirfd, spareName(id), 0) // else the next Open does
	}
	s.spares.ids = nil
}

// dropSpare removes a file that was found in the directory, if it is a spare of an earlier process.
func (s *spool) dropSpare(name string) {
	var st unix.Stat_t
	if !strings.HasPrefix(name, sparePrefix) || unix.Fstatat(s.dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Size != 0 {
		return
	}
	_ = unix.Unlinkat(s.dirfd, name, 0) // else the next Open does
}
