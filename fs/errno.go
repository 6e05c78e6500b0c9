package fs

import (
	"context"
	"errors"
	"syscall"
	"time"

	"coral/internal/errs"
)

// classes maps error classes to errno values: the only such map. Append only.
var classes = []struct {
	class error
	errno syscall.Errno
}{
	{errs.NotFound, syscall.ENOENT},
	{errs.Exist, syscall.EEXIST},
	{errs.Corrupt, syscall.EIO},
	{errs.Conflict, syscall.EBUSY},
	{errs.ReadOnly, syscall.EROFS},
	{errs.Busy, syscall.EBUSY},
	{errs.NoSpace, syscall.ENOSPC},
	{errs.Transient, syscall.EAGAIN},
	{errs.Unsupported, syscall.ENOTSUP},
	{errs.Invalid, syscall.EINVAL},
	{errs.NotDir, syscall.ENOTDIR},
	{errs.IsDir, syscall.EISDIR},
	{errs.NotEmpty, syscall.ENOTEMPTY},
	{errs.Permission, syscall.EACCES},
	{errs.NameTooLong, syscall.ENAMETOOLONG},
	{errs.CrossDevice, syscall.EXDEV},
	{errs.NoAttr, syscall.ENODATA},
	{errs.TooLarge, syscall.EFBIG},
}

// errnoOf returns the errno for err: that of its class, else the one it wraps, else EIO.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, c := range classes {
		if errors.Is(err, c.class) {
			return c.errno
		}
	}
	var no syscall.Errno
	switch {
	case errors.As(err, &no) && no == syscall.ENOSYS:
		return syscall.ENOTSUP // the kernel takes ENOSYS to mean that the whole mount never does it
	case errors.As(err, &no) && no != 0:
		return no
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

// fail returns the errno for err, and logs what the errno cannot say where a person will look for it: damage, full and
// failing disks. The same error is logged once a second at most.
func (m *Mount) fail(op, path string, err error) syscall.Errno {
	no := errnoOf(err)
	switch no {
	case syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		if m.loud.allow(op + path + err.Error()) {
			m.log.Error("request failed", "op", op, "path", path, "errno", no.Error(), "err", err)
		}
	}
	return no
}

// allow says whether text was not let through during the last second. It remembers the last text only.
func (l *lastText) allow(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if text == l.text && now.Sub(l.at) < time.Second {
		return false
	}
	l.text, l.at = text, now
	return true
}
