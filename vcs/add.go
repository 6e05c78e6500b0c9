package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

const (
	addBuffer = 1 << 20
	// addTemp begins the names of files that are not whole yet.
	addTemp = ".coral-add-"
)

// Add copies a file or directory of the ordinary file system into the live tree of branch at path, with kinds, modes and times; symlinks stay
// symlinks. Directories are merged, files replaced, each at once when it is whole. path "" is the tree's root for a directory, src's own
// name for another kind. The repository itself is refused, and passed over where it lies inside src; pipes, sockets and devices are refused.
func (r *Repo) Add(ctx context.Context, branch, src, path string, progress func(files int, bytes int64)) (files int, bytes int64, err error) {
	a := &adder{r: r, ctx: ctx, report: progress}
	if err := a.add(branch, src, path); err != nil {
		return a.files, a.bytes, fmt.Errorf("add %s: %w", src, err)
	}
	return a.files, a.bytes, nil
}

// adder is one Add.
type adder struct {
	r      *Repo
	ctx    context.Context // of the one call that the adder lives for
	live   *worktree.Tree
	self   os.FileInfo // of the repository's directory
	buf    []byte
	report func(files int, bytes int64)
	files  int
	bytes  int64
	told   time.Time // when liveChanged was called last
}

func (a *adder) add(branch, src, dst string) (err error) {
	if err := a.r.writable("add"); err != nil {
		return err
	}
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	if err := a.refuseSelf(src); err != nil {
		return err
	}
	if a.live, err = a.r.LiveTree(a.ctx, branch); err != nil {
		return err
	}
	a.told = time.Now()
	defer a.r.liveChanged(branch)
	a.buf = make([]byte, addBuffer)
	dst = strings.Trim(dst, "/")
	if dst == "" && !info.IsDir() {
		dst = filepath.Base(src)
	}
	if dst == "" {
		return a.children(src, "", a.live.Root())
	}
	dir, name := path.Split(dst)
	parent, err := a.mkdirAll(strings.Trim(dir, "/"))
	if err != nil {
		return err
	}
	if err := object.CheckName(name); err != nil {
		return err
	}
	return a.entry(src, info, dst, parent, name)
}

// refuseSelf refuses the repository's directory and what lies in it.
func (a *adder) refuseSelf(src string) (err error) {
	if a.self, err = os.Stat(a.r.Dir); err != nil {
		return err
	}
	abs, err := filepath.Abs(src)
	if err != nil {
		return err
	}
	if abs, err = filepath.EvalSymlinks(filepath.Dir(abs)); err != nil {
		return err
	}
	for p := filepath.Join(abs, filepath.Base(src)); ; p = filepath.Dir(p) {
		if info, err := os.Lstat(p); err == nil && os.SameFile(info, a.self) {
			return fmt.Errorf("it is in the repository's own directory: %w", errs.Invalid)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// mkdirAll makes the directories of a path that are missing.
func (a *adder) mkdirAll(dir string) (worktree.Ino, error) {
	at := a.live.Root()
	if dir == "" {
		return at, nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		if err := object.CheckName(name); err != nil {
			return 0, err
		}
		next, err := a.mkdir(at, name, 0o755)
		if err != nil {
			return 0, err
		}
		at = next
	}
	return at, nil
}

// mkdir returns the directory name, made if it is missing.
func (a *adder) mkdir(parent worktree.Ino, name string, mode uint32) (worktree.Ino, error) {
	attr, err := a.live.Mkdir(a.ctx, parent, name, mode, a.r.opts.UID, a.r.opts.GID)
	if errors.Is(err, errs.Exist) {
		attr, err = a.live.Lookup(a.ctx, parent, name)
	}
	if err == nil && attr.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		err = fmt.Errorf("%q in the live tree: %w", name, errs.NotDir)
	}
	return attr.Ino, err
}

func (a *adder) entry(src string, info os.FileInfo, dst string, parent worktree.Ino, name string) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	var err error
	switch info.Mode().Type() {
	case os.ModeDir:
		err = a.dir(src, info, dst, parent, name)
	case os.ModeSymlink:
		err = a.symlink(src, info, parent, name)
	case 0:
		err = a.file(src, info, parent, name)
	default:
		err = fmt.Errorf("%s: a commit keeps files, directories and symlinks only: %w", src, errs.Unsupported)
	}
	return err
}

func (a *adder) dir(src string, info os.FileInfo, dst string, parent worktree.Ino, name string) error {
	ino, err := a.mkdir(parent, name, 0o700)
	if err != nil {
		return fmt.Errorf("%q: %w", dst, err)
	}
	if err := a.children(src, dst, ino); err != nil {
		return err
	}
	mode, mtime := unixMode(info.Mode()), info.ModTime()
	if _, err := a.live.Setattr(a.ctx, ino, worktree.SetAttr{Mode: &mode, Mtime: &mtime}); err != nil {
		return fmt.Errorf("%q: %w", dst, err)
	}
	return nil
}

// addNames is how many names of a directory are read at once.
const addNames = 1024

func (a *adder) children(src, dst string, ino worktree.Ino) error {
	d, err := os.Open(src)
	if err != nil {
		return err
	}
	defer d.Close()
	here, err := d.Stat()
	if err != nil {
		return err
	}
	for {
		list, err := d.ReadDir(addNames)
		for _, de := range list {
			p := filepath.Join(src, de.Name())
			info, err := os.Lstat(p)
			if err != nil {
				return err
			}
			if os.SameFile(info, a.self) {
				continue
			}
			if err := refuseMount(p, info, here); err != nil {
				return err
			}
			if err := a.entry(p, info, join(dst, de.Name()), ino, de.Name()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// refuseMount refuses a mount of Coral below what is added: it shows the tree that grows.
func refuseMount(p string, info, parent os.FileInfo) error {
	a, ok := info.Sys().(*syscall.Stat_t)
	b, ok2 := parent.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || !info.IsDir() || a.Dev == b.Dev {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(p, DirName, "control")); err == nil {
		return fmt.Errorf("%s is a mount of coral: unmount it or add what is beside it: %w", p, errs.Invalid)
	}
	return nil
}

// tellEvery is how often a long Add says that the live tree has changed.
const tellEvery = time.Second / 2

// addSeq makes temporary names unique in this process; a name left by another is passed over.
var addSeq atomic.Uint64

// put makes a new entry under a temporary name with make, fills it, and renames it to name.
func (a *adder) put(parent worktree.Ino, name string, make func(tmp string) error) error {
	if have, err := a.live.Lookup(a.ctx, parent, name); err == nil && have.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return fmt.Errorf("%q in the live tree: %w", name, errs.IsDir)
	} else if err != nil && !errors.Is(err, errs.NotFound) {
		return err
	}
	for {
		tmp := fmt.Sprintf("%s%d-%d", addTemp, os.Getpid(), addSeq.Add(1))
		err := make(tmp)
		if errors.Is(err, errs.Exist) {
			continue
		}
		if err == nil {
			err = a.live.Rename(a.ctx, parent, tmp, parent, name, 0)
		}
		if now := time.Now(); now.Sub(a.told) >= tellEvery {
			a.told = now
			a.r.liveChanged(a.live.Branch())
		}
		if err != nil {
			// The context may be the cause: what is half done goes away all the same.
			_ = a.live.Unlink(context.WithoutCancel(a.ctx), parent, tmp)
		}
		return err
	}
}

func (a *adder) symlink(src string, info os.FileInfo, parent worktree.Ino, name string) error {
	target, err := os.Readlink(src)
	if err != nil {
		return err
	}
	err = a.put(parent, name, func(tmp string) error {
		attr, err := a.live.Symlink(a.ctx, parent, tmp, target, a.r.opts.UID, a.r.opts.GID)
		if err != nil {
			return err
		}
		mtime := info.ModTime()
		_, err = a.live.Setattr(a.ctx, attr.Ino, worktree.SetAttr{Mtime: &mtime})
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	a.done(0)
	return nil
}

func (a *adder) file(src string, info os.FileInfo, parent worktree.Ino, name string) error {
	// Nothing that took the file's place meanwhile is followed or waited for.
	f, err := os.OpenFile(src, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, info) || !now.Mode().IsRegular() {
		return fmt.Errorf("%s was replaced while it was added: %w", src, errs.Transient)
	}
	var size int64
	err = a.put(parent, name, func(tmp string) error {
		attr, h, err := a.live.Create(a.ctx, parent, tmp, 0o600, a.r.opts.UID, a.r.opts.GID, os.O_WRONLY)
		if err != nil {
			return err
		}
		size, err = a.copy(h, f)
		if err == nil {
			mode, mtime := unixMode(now.Mode()), now.ModTime()
			_, err = a.live.Setattr(a.ctx, attr.Ino, worktree.SetAttr{Mode: &mode, Mtime: &mtime})
		}
		if cerr := h.Close(); err == nil {
			err = cerr
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	a.done(size)
	return nil
}

func (a *adder) copy(h *worktree.Handle, f *os.File) (off int64, err error) {
	for {
		if err := a.ctx.Err(); err != nil {
			return off, err
		}
		n, err := f.Read(a.buf)
		if n > 0 {
			w, werr := h.WriteAt(a.ctx, a.buf[:n], off)
			off += int64(w)
			if werr != nil {
				return off, werr
			}
			if w < n {
				return off, io.ErrShortWrite
			}
		}
		if errors.Is(err, io.EOF) {
			return off, nil
		}
		if err != nil {
			return off, err
		}
	}
}

func (a *adder) done(size int64) {
	a.files++
	a.bytes += size
	if a.report != nil {
		a.report(a.files, a.bytes)
	}
}
