package fs

import (
	"context"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirHandle is an open directory: a list, taken when it is first read and again when it is rewound, as POSIX wants.
type dirHandle struct {
	list func() ([]fuse.DirEntry, syscall.Errno)

	mu      sync.Mutex
	entries []fuse.DirEntry
	loaded  bool
	pos     int
}

// plainDir is a dirHandle whose entries are not looked up by readdir: a lookup costs more there than a name (it loads a
// live tree, reads a commit, walks a history), and there may be many.
type plainDir struct{ *dirHandle }

// Lookup answers READDIRPLUS for an entry: nothing is known of it. The kernel sends LOOKUP when it needs more.
func (plainDir) Lookup(context.Context, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.ENOENT
}

// openDir returns a handle that lists what list returns, after "." and "..".
func openDir(self, parent uint64, list func() ([]fuse.DirEntry, syscall.Errno)) *dirHandle {
	return &dirHandle{list: func() ([]fuse.DirEntry, syscall.Errno) {
		entries, errno := list()
		if errno != 0 {
			return nil, errno
		}
		dots := []fuse.DirEntry{
			{Name: ".", Mode: syscall.S_IFDIR, Ino: self},
			{Name: "..", Mode: syscall.S_IFDIR, Ino: parent},
		}
		return append(dots, entries...), 0
	}}
}

// opendir is openDir for a node.
func (b *base) opendir(list func() ([]fuse.DirEntry, syscall.Errno)) *dirHandle {
	self, up := b.StableAttr().Ino, uint64(rootIno)
	if _, p := b.Parent(); p != nil {
		up = p.StableAttr().Ino
	}
	return openDir(self, up, list)
}

// load takes the list. The caller holds mu.
func (d *dirHandle) load() syscall.Errno {
	entries, errno := d.list()
	if errno != 0 {
		return errno
	}
	d.entries, d.loaded, d.pos = entries, true, 0
	return 0
}

// Readdirent serves getdents(2): one more entry, nil after the last.
func (d *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.loaded {
		if errno := d.load(); errno != 0 {
			return nil, errno
		}
	}
	if d.pos >= len(d.entries) {
		return nil, 0
	}
	e := d.entries[d.pos]
	d.pos++
	e.Off = uint64(d.pos)
	return &e, 0
}

// Seekdir serves seekdir(3) and rewinddir(3).
func (d *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off == 0 || !d.loaded {
		if errno := d.load(); errno != 0 {
			return errno
		}
	}
	if off > uint64(len(d.entries)) {
		return syscall.EINVAL
	}
	d.pos = int(off)
	return 0
}

// Releasedir serves closedir(3).
func (d *dirHandle) Releasedir(context.Context, uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries, d.loaded = nil, false
}
