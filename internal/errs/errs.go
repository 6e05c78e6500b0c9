// Package errs holds the error classes that all rooms share. A class is a
// sentinel: wrap it with %w, test it with errors.Is. fs/errno.go maps classes to
// errno values and cmd/coral/exit.go maps them to exit codes; both lists only grow.
package errs

import (
	"errors"
	"fmt"
)

// The classes. An operating-system error (syscall.Errno) may be wrapped as it is;
// Of finds the class of those that have one.
var (
	NotFound    = errors.New("not found")                 // ENOENT
	Exist       = errors.New("already exists")            // EEXIST
	Corrupt     = errors.New("corrupt")                   // EIO; never retried against the same copy
	Conflict    = errors.New("conflict")                  // a ref moved, or changes would be overwritten
	ReadOnly    = errors.New("read-only")                 // EROFS
	Busy        = errors.New("busy")                      // EBUSY
	NoSpace     = errors.New("no space left")             // ENOSPC
	Transient   = errors.New("try again")                 // EAGAIN
	Unsupported = errors.New("not supported")             // ENOTSUP; also unknown format versions
	Invalid     = errors.New("invalid")                   // EINVAL
	NotDir      = errors.New("not a directory")           // ENOTDIR
	IsDir       = errors.New("is a directory")            // EISDIR
	NotEmpty    = errors.New("directory not empty")       // ENOTEMPTY
	Permission  = errors.New("permission denied")         // EACCES
	NameTooLong = errors.New("name too long")             // ENAMETOOLONG
	CrossDevice = errors.New("crosses a branch")          // EXDEV
	NoAttr      = errors.New("no such attribute")         // ENODATA
	TooLarge    = errors.New("larger than this can hold") // EFBIG
)

// CorruptError says where stored bytes are not what they should be.
// It unwraps to Corrupt.
type CorruptError struct {
	Where  string // what was read: "pack 3f…", "block 7 of blob 9a…"
	Offset int64  // byte offset inside Where; -1 if it has none
	Detail string // what was expected and found
}

// Error implements error.
func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: corrupt: %s", e.Where, e.Detail)
	}
	return fmt.Sprintf("%s at offset %d: corrupt: %s", e.Where, e.Offset, e.Detail)
}

// Unwrap returns Corrupt.
func (e *CorruptError) Unwrap() error { return Corrupt }
