package vfs

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// Trace passes calls on to FS and reports each that changes or syncs something, with names relative to Dir.
// The order of the lines is the durability contract that golden tests keep.
type Trace struct {
	FS
	Dir string
	Log func(line string)
}

func (t *Trace) logf(op, name string, args ...any) {
	if rel, err := filepath.Rel(t.Dir, name); err == nil {
		name = rel
	}
	t.Log(op + " " + name + fmt.Sprint(args...))
}

// OpenFile implements FS.
func (t *Trace) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := t.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if flag&Create != 0 {
		t.logf("create", name)
	}
	return &traceFile{File: f, t: t, name: name}, nil
}

// MkdirAll implements FS.
func (t *Trace) MkdirAll(name string, perm fs.FileMode) error {
	t.logf("mkdir", name)
	return t.FS.MkdirAll(name, perm)
}

// Rename implements FS.
func (t *Trace) Rename(from, to string) error {
	t.logf("rename", from, " to ", filepath.Base(to))
	return t.FS.Rename(from, to)
}

// Remove implements FS.
func (t *Trace) Remove(name string) error {
	t.logf("remove", name)
	return t.FS.Remove(name)
}

// SyncDir implements FS.
func (t *Trace) SyncDir(name string) error {
	t.logf("syncdir", name)
	return t.FS.SyncDir(name)
}

type traceFile struct {
	File
	t    *Trace
	name string
}

func (f *traceFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.t.logf("write", f.name, " at ", off, " length ", total(bufs))
	return f.File.WritevAt(bufs, off)
}

func (f *traceFile) Truncate(size int64) error {
	f.t.logf("truncate", f.name, " to ", size)
	return f.File.Truncate(size)
}

func (f *traceFile) Sync() error {
	f.t.logf("sync", f.name)
	return f.File.Sync()
}
