package diff

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// Disk is a directory, or one file, outside the repository.
type Disk struct {
	path string
	root Node
}

// OpenDisk returns the side at path. A symbolic link is followed here, and only here.
func OpenDisk(path string) (*Disk, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	d := &Disk{path: path, root: Node{Entry: diskEntry(fi)}}
	switch d.root.Kind {
	case object.Dir:
	case object.File:
		d.root.Path = fi.Name()
	default:
		return nil, fmt.Errorf("%s is neither a file nor a directory: %w", path, errs.Invalid)
	}
	return d, nil
}

// Root implements Tree.
func (d *Disk) Root(context.Context) (Node, error) { return d.root, nil }

// diskEntry describes a file; Kind is 0 for what a commit cannot hold.
func diskEntry(fi fs.FileInfo) object.Entry {
	e := object.Entry{Name: fi.Name(), Mode: uint32(fi.Mode().Perm())}
	for bit, mode := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if fi.Mode()&bit != 0 {
			e.Mode |= mode
		}
	}
	switch fi.Mode().Type() {
	case 0:
		e.Kind, e.Size, e.MTime = object.File, fi.Size(), fi.ModTime()
	case fs.ModeDir:
		e.Kind = object.Dir
	case fs.ModeSymlink:
		e.Kind, e.Size, e.MTime = object.Symlink, fi.Size(), fi.ModTime()
	}
	return e
}

// at is where a node lies.
func (d *Disk) at(n Node) string {
	if d.root.Kind == object.File {
		return d.path
	}
	return filepath.Join(d.path, filepath.FromSlash(n.Path))
}

// List implements Tree. A repository's own directory is left out.
func (d *Disk) List(ctx context.Context, dir Node) ([]Node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(d.at(dir)) // sorted by name
	if err != nil {
		return nil, err
	}
	out := make([]Node, 0, len(list))
	for _, de := range list {
		fi, err := de.Info()
		if os.IsNotExist(err) || de.Name() == ".coral" {
			continue
		}
		if err != nil {
			return nil, err
		}
		n := Node{Entry: diskEntry(fi), Path: join(dir.Path, de.Name())}
		if n.Kind == object.Symlink {
			if n.Target, err = os.Readlink(d.at(n)); err != nil {
				return nil, err
			}
		}
		if n.Kind != 0 {
			out = append(out, n)
		}
	}
	return out, nil
}

// Open implements Tree.
func (d *Disk) Open(_ context.Context, file Node) (*Content, error) {
	f := &diskFile{path: d.at(file)}
	var err error
	if f.was, err = os.Stat(f.path); err != nil {
		return nil, err
	}
	if !f.was.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: %w", f.path, errs.Invalid)
	}
	return &Content{Source: f, Size: f.was.Size(), Beside: tensor.OnDisk(f.path), Close: noClose}, nil
}

// diskFile opens its file for each read: a comparison may have more files than a process may have open, and a read is large.
type diskFile struct {
	path string
	was  fs.FileInfo
}

// ReadAt implements tensor.Source. A file that is not what it was when it was opened is an error, not a mixture of two.
func (d *diskFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, err := os.Open(d.path)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		_ = f.Close() // only read from
		return n, err
	}
	now, serr := f.Stat()
	if cerr := f.Close(); serr == nil {
		serr = cerr
	}
	if serr != nil {
		return n, serr
	}
	if !os.SameFile(now, d.was) || now.Size() != d.was.Size() || !now.ModTime().Equal(d.was.ModTime()) {
		return 0, fmt.Errorf("%s changed while it was read: %w", d.path, errs.Busy)
	}
	return n, err
}
