package fs

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/tensor"
	"coral/vcs/view"
)

// viewFile is a file that a view has made: safetensors of a file of another kind, or the index of such. Its content never changes.
// It is served by READ requests, block by block, and the kernel keeps its pages. The node has a header only while it is open.
type viewFile struct {
	readOnly
	plan     func() (*view.Plan, error)
	manifest oid.ID // of the original; zero of an index
	key      key
	size     int64
	mode     uint32 // permission bits, none to write
	mtime    time.Time

	mu     sync.Mutex
	opened int        // handles
	shared *view.Plan // theirs; nil if there are none
}

// acquire returns the plan for one more handle: they share one.
func (n *viewFile) acquire() (*view.Plan, error) {
	n.mu.Lock()
	p := n.shared
	if p != nil {
		n.opened++
	}
	n.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := n.plan()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened++
	if n.shared == nil {
		n.shared = p
	}
	return n.shared, nil
}

// release is for a handle that goes.
func (n *viewFile) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.opened--; n.opened == 0 {
		n.shared = nil
	}
}

// planOf returns what makes the plan of the view of a stored file.
func planOf(m *Mount, manifest oid.ID) func() (*view.Plan, error) {
	return func() (*view.Plan, error) {
		mf, err := m.repo.Objects.Manifest(m.base, manifest)
		if err != nil {
			return nil, err
		}
		m.viewSizes.making <- struct{}{}
		defer func() { <-m.viewSizes.making }()
		d, err := m.details(manifest, mf)
		if err != nil {
			return nil, err
		}
		return view.New(mf, d)
	}
}

// details returns what a stored file holds beside its tensors. Its pickles are read for that, and no tensor.
func (m *Mount) details(manifest oid.ID, mf *object.Manifest) (d *view.Details, err error) {
	if !view.HasDetails(mf) {
		return nil, nil
	}
	src, file, err := m.original(manifest)
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer func() {
			if cerr := file.Close(); err == nil {
				err = cerr
			}
		}()
	}
	return view.ReadDetails(m.base, src, mf)
}

// planOfIndex returns what makes the plan of an index of shards.
func planOfIndex(m *Mount, shards []shard) func() (*view.Plan, error) {
	return func() (*view.Plan, error) {
		list := make([]view.Shard, len(shards))
		for i, s := range shards {
			mf, err := m.repo.Objects.Manifest(m.base, s.manifest)
			if err != nil {
				return nil, err
			}
			list[i] = view.Shard{Name: s.name, Manifest: mf}
		}
		return view.IndexOf(list), nil
	}
}

// maxViewSizes bounds how many sizes of views are remembered: 48 bytes each, and more for the map.
const maxViewSizes = 1 << 14

// viewSizes remembers the sizes of views by manifest: in a live tree the kernel asks for one at each use of a name.
type viewSizes struct {
	mu     sync.Mutex
	sizes  map[oid.ID]int64
	making chan struct{} // holds a token while a plan is made: one of a million tensors, the most that there can be, allocates 500 MB and takes a second or more
}

func (v *viewSizes) init() { v.making = make(chan struct{}, 1) }

// find sets the size of n, whose plan it makes only if it has to.
func (v *viewSizes) find(n *viewFile) error {
	v.mu.Lock()
	size, ok := v.sizes[n.manifest]
	v.mu.Unlock()
	if ok && !n.manifest.IsZero() {
		n.size = size
		return nil
	}
	p, err := n.plan()
	if err != nil {
		return err
	}
	n.size = p.Size()
	if n.manifest.IsZero() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sizes == nil || len(v.sizes) >= maxViewSizes {
		v.sizes = map[oid.ID]int64{}
	}
	v.sizes[n.manifest] = n.size
	return nil
}

func (n *viewFile) attr(out *fuse.Attr) { n.m.owned(out, syscall.S_IFREG|n.mode, n.size, n.mtime) }
func (n *viewFile) ttl() time.Duration  { return forever }

// Getattr serves stat(2).
func (n *viewFile) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open serves open(2): EROFS for writing.
func (n *viewFile) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if writes(flags) {
		return nil, 0, syscall.EROFS
	}
	p, err := n.acquire()
	if err != nil {
		return nil, 0, n.m.fail("open", viewsName+"/…/"+n.manifest.Short(), err)
	}
	h := &viewHandle{node: n}
	var src tensor.Source
	if !n.manifest.IsZero() {
		if src, h.file, err = n.m.original(n.manifest); err != nil {
			n.release()
			return nil, 0, n.m.fail("open", viewsName+"/…/"+n.manifest.Short(), err)
		}
	}
	h.view = p.Open(src)
	h.track = n.m.track(h)
	return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// original returns a stored file's content: from the cache if it is whole there, then with the file to close, else decoded as it is read.
func (m *Mount) original(manifest oid.ID) (tensor.Source, *os.File, error) {
	if m.cache != nil {
		if f, ok := m.cache.Open(manifest); ok {
			return tensor.Plain(f), f, nil
		}
	}
	c, err := m.repo.Content.Open(m.base, manifest)
	return c, nil, err
}

// Getxattr serves getxattr(2): user.coral.format and .tensors of the view. It has no id, and nothing of it is stored.
func (n *viewFile) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if n.manifest.IsZero() || name != xattrFormat && name != xattrTensors {
		return 0, noXattr(name)
	}
	if name == xattrFormat {
		return copyXattr(dest, []byte(view.Format))
	}
	mf, err := n.m.repo.Objects.Manifest(n.m.base, n.manifest)
	if err != nil {
		return 0, n.m.fail("getxattr", viewsName+"/…/"+n.manifest.Short(), err)
	}
	d, err := n.m.details(n.manifest, mf)
	if err != nil {
		return 0, n.m.fail("getxattr", viewsName+"/…/"+n.manifest.Short(), err)
	}
	return copyXattr(dest, tensorsXattr(view.Tensors(mf, d)))
}

// Listxattr serves listxattr(2): nothing.
func (n *viewFile) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// viewHandle is an open viewFile.
type viewHandle struct {
	node  *viewFile
	view  *view.File
	file  *os.File // the original, or nil
	track *openFile
}

// PassthroughFd: never, there is no such file.
func (h *viewHandle) PassthroughFd() (int, bool) { return 0, false }

// Read serves read(2) and page faults.
func (h *viewHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.node.m.decoded.Add(1)
	n, err := h.view.ReadAt(h.node.m.base, dest, off)
	if err != nil && err != io.EOF {
		return nil, h.node.m.fail("read", viewsName+"/…/"+h.node.manifest.Short(), err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Release serves the last close(2) and munmap(2).
func (h *viewHandle) Release(context.Context) syscall.Errno {
	h.node.m.closeAll([]io.Closer{h.track})
	return 0
}

// Close implements io.Closer for the Mount, which calls it once.
func (h *viewHandle) Close() error {
	h.node.release()
	if h.file != nil {
		return h.file.Close()
	}
	return nil
}
