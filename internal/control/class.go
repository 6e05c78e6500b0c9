package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"coral/internal/errs"
)

// Classes that belong to the command line and not to the repository.
var (
	// ErrUsage is a command that was put wrongly: unknown verb or flag, a missing argument. It is errs.Invalid too.
	ErrUsage = fmt.Errorf("usage: %w", errs.Invalid)
	// ErrEnding is the answer of a daemon that is shutting down; the request was not begun and may be put again.
	ErrEnding = errors.New("the daemon is shutting down")
	// ErrGone means that the daemon went away before it answered: whether the work was done is not known.
	ErrGone = errors.New("the daemon ended before it answered")
)

// classes gives every class its name on the wire and in --json. A promise: append only. The first match counts, so
// narrower ones come first.
var classes = []struct {
	name string
	err  error
}{
	{"usage", ErrUsage},
	{"ending", ErrEnding},
	{"gone", ErrGone},
	{"not-found", errs.NotFound},
	{"exists", errs.Exist},
	{"corrupt", errs.Corrupt},
	{"conflict", errs.Conflict},
	{"read-only", errs.ReadOnly},
	{"busy", errs.Busy},
	{"no-space", errs.NoSpace},
	{"try-again", errs.Transient},
	{"unsupported", errs.Unsupported},
	{"invalid", errs.Invalid},
	{"not-dir", errs.NotDir},
	{"is-dir", errs.IsDir},
	{"not-empty", errs.NotEmpty},
	{"permission", errs.Permission},
	{"name-too-long", errs.NameTooLong},
	{"cross-device", errs.CrossDevice},
	{"no-attr", errs.NoAttr},
	{"too-large", errs.TooLarge},
	{"canceled", context.Canceled},
	{"deadline", context.DeadlineExceeded},
}

// errnos gives operating-system errors a class.
var errnos = map[syscall.Errno]error{
	syscall.ENOENT: errs.NotFound, syscall.EEXIST: errs.Exist, syscall.EIO: errs.Corrupt, syscall.EROFS: errs.ReadOnly,
	syscall.EBUSY: errs.Busy, syscall.ETXTBSY: errs.Busy, syscall.ENOSPC: errs.NoSpace, syscall.EDQUOT: errs.NoSpace,
	syscall.EAGAIN: errs.Transient, syscall.EINTR: errs.Transient, syscall.ENOTSUP: errs.Unsupported, syscall.EINVAL: errs.Invalid,
	syscall.ENOTDIR: errs.NotDir, syscall.EISDIR: errs.IsDir, syscall.ENOTEMPTY: errs.NotEmpty, syscall.EACCES: errs.Permission,
	syscall.EPERM: errs.Permission, syscall.ENAMETOOLONG: errs.NameTooLong, syscall.EXDEV: errs.CrossDevice,
	syscall.ENODATA: errs.NoAttr, syscall.EFBIG: errs.TooLarge,
}

// Class returns the name of err's class: "failed" if it has none.
func Class(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		if c, ok := errnos[no]; ok {
			return Class(c)
		}
	}
	return "failed"
}

// Error is an error that crossed the line, or will. It unwraps to its class.
type Error struct {
	Class   string `json:"class"`
	Message string `json:"message"`
}

// NewError makes err fit for the line: its class, and its message as one line.
func NewError(err error) *Error {
	return &Error{Class: Class(err), Message: OneLine(err.Error())}
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the class, or nil for one that this build does not know.
func (e *Error) Unwrap() error {
	for _, c := range classes {
		if c.name == e.Class {
			return c.err
		}
	}
	return nil
}

// usageError says what is wrong with a command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) Unwrap() error { return ErrUsage }

// Usagef returns an error of class ErrUsage whose message is only what is said here.
func Usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// OneLine replaces line breaks and other control characters, so that one error stays one line of a terminal or log.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}
