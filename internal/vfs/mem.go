package vfs

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// Mem is a file system in memory that knows what is durable: the content of a file as of its last
// Sync, and the names of a directory as of its last SyncDir. Crash clones it as a power cut would leave it.
type Mem struct {
	mu      sync.Mutex
	names   map[string]*node // as programs see them
	durable map[string]*node // as the disk has them
}

type node struct {
	dir    bool
	data   []byte
	synced []byte
}

// NewMem returns an empty file system whose root is "/" (and ".").
func NewMem() *Mem {
	m := &Mem{names: map[string]*node{}, durable: map[string]*node{}}
	for _, root := range []string{"/", "."} {
		n := &node{dir: true}
		m.names[root], m.durable[root] = n, n
	}
	return m
}

func pathErr(op, name string, no syscall.Errno) error {
	return Class(&fs.PathError{Op: op, Path: name, Err: no})
}

// OpenFile implements FS.
func (m *Mem) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	switch {
	case n != nil && n.dir:
		return nil, pathErr("open", name, syscall.EISDIR)
	case n != nil && flag&Exclusive != 0:
		return nil, pathErr("open", name, syscall.EEXIST)
	case n == nil && flag&Create == 0:
		return nil, pathErr("open", name, syscall.ENOENT)
	case n == nil:
		if d := m.names[filepath.Dir(name)]; d == nil || !d.dir {
			return nil, pathErr("open", name, syscall.ENOENT)
		}
		n = &node{}
		m.names[name] = n
	}
	return &memFile{m: m, n: n, name: name, write: flag&ReadWrite != 0}, nil
}

// Size implements FS.
func (m *Mem) Size(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(name)]
	if n == nil {
		return 0, pathErr("stat", name, syscall.ENOENT)
	}
	return int64(len(n.data)), nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]string, error) {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[name]; n == nil || !n.dir {
		return nil, pathErr("readdir", name, syscall.ENOENT)
	}
	var out []string
	for p := range m.names {
		if p != name && filepath.Dir(p) == name {
			out = append(out, filepath.Base(p))
		}
	}
	slices.Sort(out)
	return out, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := filepath.Clean(name); ; p = filepath.Dir(p) {
		n := m.names[p]
		if n != nil && !n.dir {
			return pathErr("mkdir", name, syscall.ENOTDIR)
		}
		if n != nil {
			return nil
		}
		m.names[p] = &node{dir: true}
	}
}

// Rename implements FS. Directories cannot be moved.
func (m *Mem) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[from]
	if n == nil {
		return pathErr("rename", from, syscall.ENOENT)
	}
	if old := m.names[to]; n.dir || old != nil && old.dir {
		return pathErr("rename", from, syscall.EISDIR)
	}
	delete(m.names, from)
	m.names[to] = n
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	if n == nil {
		return pathErr("remove", name, syscall.ENOENT)
	}
	if n.dir {
		return pathErr("remove", name, syscall.EISDIR)
	}
	delete(m.names, name)
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	name = filepath.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[name]; n == nil || !n.dir {
		return pathErr("sync", name, syscall.ENOENT)
	}
	maps.DeleteFunc(m.durable, func(p string, _ *node) bool {
		return p != name && filepath.Dir(p) == name && m.names[p] == nil
	})
	for p, n := range m.names {
		if filepath.Dir(p) == name {
			m.durable[p] = n
		}
	}
	return nil
}

type memFile struct {
	m      *Mem
	n      *node
	name   string
	write  bool
	closed bool
}

func (f *memFile) check(op string, write bool) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	if write && !f.write {
		return pathErr(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("read", f.name, syscall.EINVAL)
	}
	n := 0
	if off < int64(len(f.n.data)) {
		n = copy(p, f.n.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	done := 0
	for _, b := range bufs {
		end := off + int64(done+len(b))
		if grow := end - int64(len(f.n.data)); grow > 0 {
			f.n.data = append(f.n.data, make([]byte, grow)...)
		}
		done += copy(f.n.data[off+int64(done):end], b)
	}
	return done, nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if grow := size - int64(len(f.n.data)); grow > 0 {
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	f.n.data = slices.Clone(f.n.data[:size])
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.n.synced = slices.Clone(f.n.data)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), f.check("stat", false)
}

func (f *memFile) Linked() (bool, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for _, n := range f.m.names {
		if n == f.n {
			return true, nil
		}
	}
	return false, f.check("stat", false)
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.check("close", false)
	f.closed = true
	return err
}
