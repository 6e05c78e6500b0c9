package fs

import (
	"bytes"
	"context"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// maxCommand bounds a command line.
const maxCommand = 64 << 10

// controlSize is the size that stat(2) shows for the control file. It is not 0 because the kernel lets several processes
// write at a time only inside the file, and a command may take long.
const controlSize = maxCommand

// controlFile is .coral/control: each write(2) is a command line, and reads of the same open file give its reply.
type controlFile struct{ readOnly }

func (f *controlFile) attr(out *fuse.Attr) {
	f.m.owned(out, syscall.S_IFREG|0o600, controlSize, time.Now())
}
func (f *controlFile) ttl() time.Duration { return 0 }

// Getattr serves stat(2).
func (f *controlFile) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(f, out)
}

// Setattr serves the truncation that comes with "echo … > control", and refuses the rest.
func (f *controlFile) Setattr(_ context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	const allowed = fuse.FATTR_SIZE | fuse.FATTR_FH | fuse.FATTR_LOCKOWNER | fuse.FATTR_KILL_SUIDGID |
		fuse.FATTR_ATIME | fuse.FATTR_MTIME | fuse.FATTR_CTIME | fuse.FATTR_ATIME_NOW | fuse.FATTR_MTIME_NOW
	if in.Valid&^allowed != 0 {
		return syscall.EPERM
	}
	return getattr(f, out)
}

// Open serves open(2).
func (f *controlFile) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return &controlHandle{m: f.m}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES | fuse.FOPEN_NOFLUSH, 0
}

// controlHandle is an open control file.
type controlHandle struct {
	m *Mount

	mu    sync.Mutex
	reply replyReader
}

// PassthroughFd: never.
func (h *controlHandle) PassthroughFd() (int, bool) { return 0, false }

// Write serves write(2): it runs one command and returns when it is done. If the command fails, so does the write, with the
// errno of the error's class; the reply says why either way.
func (h *controlHandle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	line, errno := commandLine(data)
	if errno != 0 {
		return 0, errno
	}
	h.m.Settle(h.m.base)
	reply, err := h.m.ctl.Run(h.m.base, line)
	reply = append(bytes.TrimRight(reply, "\n"), '\n')
	h.m.last.set(reply)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.reply = replyReader{text: reply, start: off} // a failed write does not move the file's offset
		return 0, errnoOf(err)
	}
	h.reply = replyReader{text: reply, start: off + int64(len(data))}
	return uint32(len(data)), 0
}

// commandLine returns the command that was written: everything but the newline at its end.
func commandLine(data []byte) (string, syscall.Errno) {
	if len(data) > maxCommand {
		return "", syscall.EFBIG
	}
	line := string(bytes.TrimRight(data, "\r\n"))
	if bytes.IndexByte(data, 0) >= 0 {
		return "", syscall.EINVAL
	}
	return line, 0
}

// Read serves read(2): the reply to the last command written through this open file.
func (h *controlHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fuse.ReadResultData(h.reply.read(dest, off)), 0
}

// replyReader finds out what part of a reply a read wants. The write moved the file's offset to start: who reads on from
// there means the reply's beginning. Who first sought back to 0 means it too, and from then on offsets are the reply's own.
type replyReader struct {
	text   []byte
	start  int64
	begun  bool
	direct bool // offsets are the reply's own
}

func (r *replyReader) read(dest []byte, off int64) []byte {
	if !r.begun || off < r.start {
		r.begun = true
		r.direct = off != r.start
	}
	if !r.direct {
		off -= r.start
	}
	return slice(r.text, dest, off)
}
