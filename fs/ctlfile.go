package fs

import (
	"context"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// controlDir is .coral/: found by name, not listed by the root.
type controlDir struct{ readOnly }

// The files in .coral/.
var controlFiles = []string{"control", "last", "log", "repo", "status"}

func (d *controlDir) attr(out *fuse.Attr) {
	d.m.owned(out, syscall.S_IFDIR|0o555, 0, d.m.changedAt())
}
func (d *controlDir) ttl() time.Duration { return brief }

// Getattr serves stat(2).
func (d *controlDir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(d, out)
}

// Lookup serves path lookup.
func (d *controlDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	c := d.node(name)
	if c == nil {
		return nil, syscall.ENOENT
	}
	return d.enter(ctx, c, newKey(controlName, name), syscall.S_IFREG, forever, out), 0
}

func (d *controlDir) node(name string) child {
	switch name {
	case "control":
		return &controlFile{readOnly: d.m.readOnly()}
	case "last":
		return &textFile{d.m.readOnly(), 0o400, d.m.last.get}
	case "status":
		return &textFile{d.m.readOnly(), 0o444, func() []byte { return d.m.ctl.Status(d.m.base) }}
	case "log":
		return &textFile{d.m.readOnly(), 0o400, func() []byte { return d.m.ctl.Log(d.m.base) }}
	case "repo":
		return &textFile{d.m.readOnly(), 0o444, func() []byte { return []byte(filepath.Dir(d.m.repo.Dir) + "\n") }}
	}
	return nil
}

// OpendirHandle serves opendir(3).
func (d *controlDir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return d.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		var list []fuse.DirEntry
		for _, name := range controlFiles {
			ino := newKey(controlName, name).stable(syscall.S_IFREG).Ino
			list = append(list, fuse.DirEntry{Name: name, Mode: syscall.S_IFREG, Ino: ino})
		}
		return list, 0
	}), 0, 0
}

// lastReply is the reply to the latest command written to any control file.
type lastReply struct {
	mu    sync.Mutex
	reply []byte
}

func (l *lastReply) get() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reply
}

func (l *lastReply) set(reply []byte) {
	l.mu.Lock()
	l.reply = reply
	l.mu.Unlock()
}

// textFile is a file whose text is made at each open. Its size is 0, as in /proc.
type textFile struct {
	readOnly
	perm uint32
	text func() []byte
}

func (f *textFile) attr(out *fuse.Attr) { f.m.owned(out, syscall.S_IFREG|f.perm, 0, time.Now()) }
func (f *textFile) ttl() time.Duration  { return 0 }

// Getattr serves stat(2).
func (f *textFile) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(f, out)
}

// Open serves open(2).
func (f *textFile) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		return nil, 0, syscall.EROFS
	}
	return &textHandle{f.text()}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
}

type textHandle struct{ text []byte }

// PassthroughFd: never.
func (h *textHandle) PassthroughFd() (int, bool) { return 0, false }

// Read serves read(2).
func (h *textHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(slice(h.text, dest, off)), 0
}

// slice copies to dest what text has at off.
func slice(text, dest []byte, off int64) []byte {
	if off < 0 || off >= int64(len(text)) {
		return nil
	}
	return dest[:copy(dest, text[off:])]
}
