// Package vfs is the few file operations that the store uses, as an interface, so that tests can count
// them, fail them, order them and cut the power between them. OS is the real thing; Mem keeps files in
// memory and can be cloned as after a power cut (Crash); Fault makes chosen calls fail; Trace writes
// down what was called. Names are ordinary paths. Everything here may be used by several goroutines.
//
// A File's ReadAt and WritevAt are all or nothing to the caller: less than asked always comes with an error.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"coral/internal/errs"
)

// Flags of OpenFile, as in package os.
const (
	ReadOnly  = os.O_RDONLY
	ReadWrite = os.O_RDWR
	Create    = os.O_CREATE
	Exclusive = os.O_EXCL
)

// FS opens and names files.
type FS interface {
	// OpenFile opens name; with Create it is made with perm if it is missing, with Exclusive it must be missing.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Size returns the length of the file name.
	Size(name string) (int64, error)
	// ReadDir returns the base names in directory name, sorted.
	ReadDir(name string) ([]string, error)
	// MkdirAll makes directory name and its parents.
	MkdirAll(name string, perm fs.FileMode) error
	// Rename moves from to to, over a file that is there. Durable after SyncDir of both directories.
	Rename(from, to string) error
	// Remove unlinks the file name; open descriptors stay usable.
	Remove(name string) error
	// SyncDir makes the entries of directory name durable.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.ReaderAt
	// WritevAt writes bufs one after another from off. n is what was written when err is not nil.
	WritevAt(bufs [][]byte, off int64) (n int, err error)
	Truncate(size int64) error
	// Sync makes the content (not the name) durable.
	Sync() error
	Size() (int64, error)
	// Linked reports whether the file still has a name: what is written to one without is lost at Close.
	Linked() (bool, error)
	Close() error
}

// classed is an error with a class of errs put beside it; its text is the error's own.
type classed struct{ class, err error }

func (e *classed) Error() string   { return e.err.Error() }
func (e *classed) Unwrap() []error { return []error{e.class, e.err} }

// Class returns err with the class of errs that its errno belongs to, if it has one and does not say so already.
func Class(err error) error {
	for _, c := range [...]struct {
		class error
		nos   []syscall.Errno
	}{
		{errs.NoSpace, []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}},
		{errs.ReadOnly, []syscall.Errno{syscall.EROFS}},
		{errs.NotFound, []syscall.Errno{syscall.ENOENT}},
		{errs.Exist, []syscall.Errno{syscall.EEXIST}},
		{errs.Permission, []syscall.Errno{syscall.EACCES, syscall.EPERM}},
		{errs.NotDir, []syscall.Errno{syscall.ENOTDIR}},
	} {
		for _, no := range c.nos {
			if errors.Is(err, no) && !errors.Is(err, c.class) {
				return &classed{c.class, err}
			}
		}
	}
	return err
}

// total returns the sum of the lengths of bufs.
func total(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}
