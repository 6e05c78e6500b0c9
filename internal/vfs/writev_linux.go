package vfs

import (
	"io"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// WritevAt writes header and payload of a frame with one pwritev, so that a killed process
// leaves at most one torn frame and a small frame costs one system call without a copy.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	done, want := 0, total(bufs)
	for done < want {
		rest := skip(bufs, done)
		var n int
		var werr error
		if err := raw.Control(func(fd uintptr) { n, werr = unix.Pwritev(int(fd), rest, off+int64(done)) }); err != nil {
			return done, err
		}
		done += max(n, 0)
		if werr == syscall.EINTR {
			continue
		}
		if werr == nil && n <= 0 {
			werr = io.ErrShortWrite
		}
		if werr != nil {
			return done, Class(&fs.PathError{Op: "write", Path: f.Name(), Err: werr})
		}
	}
	return done, nil
}

// skip returns bufs without their first n bytes.
func skip(bufs [][]byte, n int) [][]byte {
	for i, b := range bufs {
		if n < len(b) {
			return append([][]byte{b[n:]}, bufs[i+1:]...)
		}
		n -= len(b)
	}
	return nil
}
