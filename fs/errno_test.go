package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"coral/internal/errs"
)

func TestErrno(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want syscall.Errno
	}{
		{"nil", nil, 0},
		{"NotFound", errs.NotFound, syscall.ENOENT},
		{"Exist", errs.Exist, syscall.EEXIST},
		{"Corrupt", errs.Corrupt, syscall.EIO},
		{"CorruptError", &errs.CorruptError{Where: "pack 1", Offset: 3, Detail: "x"}, syscall.EIO},
		{"Conflict", errs.Conflict, syscall.EBUSY},
		{"ReadOnly", errs.ReadOnly, syscall.EROFS},
		{"Busy", errs.Busy, syscall.EBUSY},
		{"NoSpace", errs.NoSpace, syscall.ENOSPC},
		{"Transient", errs.Transient, syscall.EAGAIN},
		{"Unsupported", errs.Unsupported, syscall.ENOTSUP},
		{"Invalid", errs.Invalid, syscall.EINVAL},
		{"NotDir", errs.NotDir, syscall.ENOTDIR},
		{"IsDir", errs.IsDir, syscall.EISDIR},
		{"NotEmpty", errs.NotEmpty, syscall.ENOTEMPTY},
		{"Permission", errs.Permission, syscall.EACCES},
		{"NameTooLong", errs.NameTooLong, syscall.ENAMETOOLONG},
		{"CrossDevice", errs.CrossDevice, syscall.EXDEV},
		{"NoAttr", errs.NoAttr, syscall.ENODATA},
		{"TooLarge", errs.TooLarge, syscall.EFBIG},
		{"wrapped-class", fmt.Errorf("open a: %w", errs.NotFound), syscall.ENOENT},
		{"path-error", &os.PathError{Op: "open", Path: "a", Err: syscall.EDQUOT}, syscall.EDQUOT},
		{"class-before-errno", fmt.Errorf("%w: %w", errs.NoSpace, syscall.EIO), syscall.ENOSPC},
		{"no-ENOSYS", fmt.Errorf("ioctl: %w", syscall.ENOSYS), syscall.ENOTSUP},
		{"canceled", context.Canceled, syscall.EINTR},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), syscall.ETIMEDOUT},
		{"unknown", errors.New("?"), syscall.EIO},
		{"eof", io.ErrUnexpectedEOF, syscall.EIO},
	} {
		if got := errnoOf(tc.err); got != tc.want {
			t.Errorf("%s: errnoOf(%v) = %v, want %v", tc.name, tc.err, got, tc.want)
		}
	}
}

func TestLoudOncePerSecond(t *testing.T) {
	var l lastText
	if !l.allow("a") || l.allow("a") || !l.allow("b") || !l.allow("a") {
		t.Fatal("the same text twice in a row is to be held back, another text not")
	}
}
