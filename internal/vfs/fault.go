package vfs

import (
	"io/fs"
	"sync"
)

// Op is one call about to be made on a Fault.
type Op struct {
	N    int    // calls so far, from 1
	Name string // "open", "create", "size", "readdir", "mkdir", "rename", "remove", "syncdir", "read", "write", "truncate", "sync"
	Path string
	Len  int // bytes to read or write
}

// Fault passes calls on to FS unless Rule says that one fails. Rule may keep the first n bytes of a write.
type Fault struct {
	FS
	Rule func(Op) (keep int, err error)

	mu sync.Mutex
	n  int
}

// Calls returns how many calls were made.
func (f *Fault) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *Fault) try(name, path string, length int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	keep, err := f.Rule(Op{N: f.n, Name: name, Path: path, Len: length})
	if err != nil {
		err = Class(&fs.PathError{Op: name, Path: path, Err: err})
	}
	return min(keep, length), err
}

// OpenFile implements FS.
func (f *Fault) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	op := "open"
	if flag&Create != 0 {
		op = "create"
	}
	if _, err := f.try(op, name, 0); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, f: f, name: name}, nil
}

// Size implements FS.
func (f *Fault) Size(name string) (int64, error) {
	if _, err := f.try("size", name, 0); err != nil {
		return 0, err
	}
	return f.FS.Size(name)
}

// ReadDir implements FS.
func (f *Fault) ReadDir(name string) ([]string, error) {
	if _, err := f.try("readdir", name, 0); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

// MkdirAll implements FS.
func (f *Fault) MkdirAll(name string, perm fs.FileMode) error {
	if _, err := f.try("mkdir", name, 0); err != nil {
		return err
	}
	return f.FS.MkdirAll(name, perm)
}

// Rename implements FS.
func (f *Fault) Rename(from, to string) error {
	if _, err := f.try("rename", from, 0); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove implements FS.
func (f *Fault) Remove(name string) error {
	if _, err := f.try("remove", name, 0); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// SyncDir implements FS.
func (f *Fault) SyncDir(name string) error {
	if _, err := f.try("syncdir", name, 0); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

type faultFile struct {
	File
	f    *Fault
	name string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.f.try("read", f.name, len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	keep, err := f.f.try("write", f.name, total(bufs))
	if err == nil {
		return f.File.WritevAt(bufs, off)
	}
	n := 0
	for _, b := range bufs {
		k, werr := f.File.WritevAt([][]byte{b[:min(len(b), keep-n)]}, off+int64(n))
		n += k
		if werr != nil {
			return n, werr
		}
	}
	return n, err
}

func (f *faultFile) Truncate(size int64) error {
	if _, err := f.f.try("truncate", f.name, 0); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if _, err := f.f.try("sync", f.name, 0); err != nil {
		return err
	}
	return f.File.Sync()
}
