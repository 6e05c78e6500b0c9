package suites

import (
	"bufio"
	"encoding/gob"
	"fmt"
	"os"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// recEnv, if set, makes the test binary a recorder: "directory, mountpoint, log", one a line.
const recEnv = "CORAL_SUITES_RECORDER"

// What a recorder writes down, in the order in which it happened.
const (
	opCreate   = "create" // Obj in directory Dir as Name; also opMkdir and opSymlink
	opMkdir    = "mkdir"
	opSymlink  = "symlink"
	opOther    = "other" // a socket: it has a name, and nothing after a power cut needs it
	opLink     = "link"
	opRemove   = "remove"
	opRename   = "rename" // Name in Dir became Name2 in Dir2
	opWrite    = "write"
	opTruncate = "truncate" // to Off
	opAllocate = "allocate" // Mode, Off, Len
	opSync     = "sync"     // of a file
	opSyncDir  = "syncdir"
)

// recOp is one change, or one fsync, of the recorded file system. Objects are numbered in the order of their creation; the root is 1.
type recOp struct {
	Kind        string
	Obj         int
	Dir, Dir2   int
	Name, Name2 string
	Off, Len    uint64
	Mode        uint32
	Data        []byte
}

// recorder is a loopback file system that writes down what changes, and passes one change after the other. The kernel does not cache writes.
type recorder struct {
	fuse.RawFileSystem
	mu    sync.Mutex
	log   *gob.Encoder
	last  int
	nodes map[uint64]int // kernel's node → object
	inos  map[uint64]int // inode number → object
}

// record serves a recorder until it is unmounted.
func record(dir, mnt, logPath string) error {
	f, err := os.Create(logPath)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	root, err := fusefs.NewLoopbackRoot(dir)
	if err != nil {
		return err
	}
	syscall.Umask(0)
	opts := &fusefs.Options{NullPermissions: true, MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "recorder", Name: "recorder",
		DisableReadDirPlus: true, MaxWrite: 1 << 20, DisabledCapabilities: fuse.CAP_PASSTHROUGH}}
	r := &recorder{RawFileSystem: fusefs.NewNodeFS(root, opts), log: gob.NewEncoder(w), last: 1, nodes: map[uint64]int{1: 1}, inos: map[uint64]int{}}
	server, err := fuse.NewServer(r, mnt, &opts.MountOptions)
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	fmt.Println("ready")
	server.Wait()
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// note writes an operation down. r.mu is held.
func (r *recorder) note(op recOp) {
	if err := r.log.Encode(op); err != nil {
		panic(err) // a log with a hole proves nothing
	}
}

// known remembers which object a node is.
func (r *recorder) known(out *fuse.EntryOut) {
	if obj := r.inos[out.Attr.Ino]; obj != 0 {
		r.nodes[out.NodeId] = obj
	}
}

// made enters a new object.
func (r *recorder) made(kind string, dir uint64, name, target string, out *fuse.EntryOut) {
	r.last++
	r.inos[out.Attr.Ino], r.nodes[out.NodeId] = r.last, r.last
	r.note(recOp{Kind: kind, Obj: r.last, Dir: r.nodes[dir], Name: name, Name2: target})
}

func (r *recorder) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Lookup(c, h, name, out)
	if st.Ok() {
		r.known(out)
	}
	return st
}

func (r *recorder) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Create(c, in, name, out)
	if st.Ok() {
		r.made(opCreate, in.NodeId, name, "", &out.EntryOut)
	}
	return st
}

func (r *recorder) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Mkdir(c, in, name, out)
	if st.Ok() {
		r.made(opMkdir, in.NodeId, name, "", out)
	}
	return st
}

func (r *recorder) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Mknod(c, in, name, out)
	if st.Ok() {
		kind := opOther
		if in.Mode&syscall.S_IFMT == syscall.S_IFREG {
			kind = opCreate
		}
		r.made(kind, in.NodeId, name, "", out)
	}
	return st
}

func (r *recorder) Symlink(c <-chan struct{}, h *fuse.InHeader, to, name string, out *fuse.EntryOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Symlink(c, h, to, name, out)
	if st.Ok() {
		r.made(opSymlink, h.NodeId, name, to, out)
	}
	return st
}

func (r *recorder) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Link(c, in, name, out)
	if st.Ok() {
		r.known(out)
		r.note(recOp{Kind: opLink, Obj: r.nodes[in.Oldnodeid], Dir: r.nodes[in.NodeId], Name: name})
	}
	return st
}

func (r *recorder) removed(dir uint64, name string, st fuse.Status) fuse.Status {
	if st.Ok() {
		r.note(recOp{Kind: opRemove, Dir: r.nodes[dir], Name: name})
	}
	return st
}

func (r *recorder) Unlink(c <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removed(h.NodeId, name, r.RawFileSystem.Unlink(c, h, name))
}

func (r *recorder) Rmdir(c <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removed(h.NodeId, name, r.RawFileSystem.Rmdir(c, h, name))
}

func (r *recorder) Rename(c <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL // nobody here needs it
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Rename(c, in, from, to)
	if st.Ok() {
		r.note(recOp{Kind: opRename, Dir: r.nodes[in.NodeId], Name: from, Dir2: r.nodes[in.Newdir], Name2: to})
	}
	return st
}

func (r *recorder) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.SetAttr(c, in, out)
	if size, ok := in.GetSize(); ok && st.Ok() {
		r.note(recOp{Kind: opTruncate, Obj: r.nodes[in.NodeId], Off: size})
	}
	return st
}

func (r *recorder) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, st := r.RawFileSystem.Write(c, in, data)
	if st.Ok() {
		r.note(recOp{Kind: opWrite, Obj: r.nodes[in.NodeId], Off: in.Offset, Data: data[:n]})
	}
	return n, st
}

// Writev is Write for the library's vectors.
func (r *recorder) Writev(c <-chan struct{}, in *fuse.WriteIn, vec [][]byte) (uint32, fuse.Status) {
	var data []byte
	for _, v := range vec {
		data = append(data, v...)
	}
	return r.Write(c, in, data)
}

func (r *recorder) Fallocate(c <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.RawFileSystem.Fallocate(c, in)
	if st.Ok() {
		r.note(recOp{Kind: opAllocate, Obj: r.nodes[in.NodeId], Mode: in.Mode, Off: in.Offset, Len: in.Length})
	}
	return st
}

// Fsync and FsyncDir sync nothing: the directory below is scratch, and what counts is that it was asked for.
func (r *recorder) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(recOp{Kind: opSync, Obj: r.nodes[in.NodeId]})
	return fuse.OK
}

func (r *recorder) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(recOp{Kind: opSyncDir, Obj: r.nodes[in.NodeId]})
	return fuse.OK
}

func (r *recorder) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}

func (r *recorder) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS // the kernel copies by itself: writes that are seen
}
