package vfs

import (
	"io/fs"
	"os"
	"sort"
	"syscall"
)

// OS is the operating system's files.
type OS struct{}

// OpenFile implements FS.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, Class(err)
	}
	return &osFile{f}, nil
}

// Size implements FS.
func (OS) Size(name string) (int64, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return 0, Class(err)
	}
	return fi.Size(), nil
}

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, Class(err)
	}
	names, err := d.Readdirnames(-1)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	sort.Strings(names)
	return names, Class(err)
}

// MkdirAll implements FS.
func (OS) MkdirAll(name string, perm fs.FileMode) error { return Class(os.MkdirAll(name, perm)) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return Class(os.Rename(from, to)) }

// Remove implements FS.
func (OS) Remove(name string) error { return Class(os.Remove(name)) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return Class(err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return Class(err)
}

type osFile struct{ *os.File }

func (f *osFile) Truncate(size int64) error { return Class(f.File.Truncate(size)) }
func (f *osFile) Sync() error               { return Class(f.File.Sync()) }

func (f *osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, Class(err)
	}
	return fi.Size(), nil
}

func (f *osFile) Linked() (bool, error) {
	fi, err := f.Stat()
	if err != nil {
		return false, Class(err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 0, nil
}
