package vfs

import "golang.org/x/sys/unix"

var _ Prefetcher = (*osFile)(nil)

// Prefetch implements Prefetcher: the kernel reads into the page cache.
func (f *osFile) Prefetch(off, n int64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_WILLNEED) }) // a hint
}
