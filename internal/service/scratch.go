package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// scratchName is the directory in .coral for files that live no longer than the command that makes them.
const scratchName = "tmp"

// Scratch is a directory of its own in a repository. While it is open a lock is held on it, so that what a killed process left is known and removed: when
// the repository is opened, or another is made.
type Scratch struct {
	Dir  string
	lock *os.File
}

// NewScratch makes one in a .coral directory. The caller closes it.
func NewScratch(repo string) (*Scratch, error) {
	s, err := newScratch(repo)
	if err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	return s, nil
}

func newScratch(repo string) (*Scratch, error) {
	all := filepath.Join(repo, scratchName)
	if err := os.Mkdir(all, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	guard, err := lockDir(all, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	sweep(all)
	dir, err := os.MkdirTemp(all, "*")
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return &Scratch{Dir: dir, lock: lock}, nil
}

// Close removes the directory with all that is in it.
func (s *Scratch) Close() error {
	err := RemoveTree(s.Dir)
	if cerr := s.lock.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	return nil
}

// sweepScratch removes what processes that were killed left in a repository. What cannot be removed now is tried again another time.
func sweepScratch(repo string) {
	all := filepath.Join(repo, scratchName)
	if guard, err := lockDir(all, unix.LOCK_EX); err == nil {
		sweep(all)
		guard.Close()
	}
}

// sweep removes directories that nobody holds the lock of; the lock of all is held.
func sweep(all string) {
	list, err := os.ReadDir(all)
	if err != nil {
		return
	}
	for _, e := range list {
		path := filepath.Join(all, e.Name())
		if !e.IsDir() {
			_ = os.Remove(path)
			continue
		}
		if lock, err := lockDir(path, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			_ = RemoveTree(path)
			lock.Close()
		}
	}
}

// lockDir takes the lock of a directory; closing the file releases it, and so does the end of the process.
func lockDir(dir string, how int) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	for {
		err = unix.Flock(fd, how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return f, nil
}

// inScratch refuses a path that is not in a scratch directory of the repository.
func inScratch(repo, path string) error {
	all := filepath.Join(repo, scratchName)
	if path != filepath.Clean(path) || filepath.Dir(filepath.Dir(path)) != all {
		return fmt.Errorf("%s: not a temporary directory of the repository: %w", path, errs.Invalid)
	}
	return nil
}

// RemoveTree removes a directory, also where directories in it may not be written to.
func RemoveTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
