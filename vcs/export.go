package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// exportWorkers is how many files are written at once; each decodes in parallel besides.
const exportWorkers = 4

// exportTemp begins the names of files that are not whole yet.
const exportTemp = ".coral-export-"

// Export writes the tree of a commit (or the part under path) to a new or empty directory, kinds, modes and times kept (those of directories are the
// commit's); it verifies every file. A path that is no directory becomes the only entry. Each file appears whole or not at all; after an
// error dst is left incomplete.
func (r *Repo) Export(ctx context.Context, commit oid.ID, path, dst string, progress func(files int, bytes int64)) error {
	if err := r.export(ctx, commit, path, dst, progress); err != nil {
		return fmt.Errorf("export to %s: %w", dst, err)
	}
	return nil
}

func (r *Repo) export(ctx context.Context, commit oid.ID, from, dst string, progress func(int, int64)) error {
	c, err := r.Objects.Commit(ctx, commit)
	if err != nil {
		return err
	}
	top, err := r.Lookup(ctx, c.Tree, from)
	if err != nil {
		return err
	}
	root, err := emptyDir(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	e := &exporter{r: r, root: root, time: c.Time, tree: r.tree, report: progress}
	e.write = e.stored
	return e.all(ctx, top)
}

// all writes everything under top.
func (e *exporter) all(ctx context.Context, top object.Entry) (err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(exportWorkers)
	e.files = g
	if top.Kind == object.Dir {
		e.dirs = append(e.dirs, exportDir{".", top.Mode})
		err = eachEntry(gctx, e.tree, top.ID, "", 0, e.entry)
	} else {
		err = e.entry(gctx, top, "", 0)
	}
	if werr := g.Wait(); werr != nil {
		return werr // the cause: the walk ends with the cancelled context
	}
	if err != nil {
		return err
	}
	return e.finishDirs()
}

// emptyDir makes dst, or takes it if it is empty.
func emptyDir(dst string) (*os.Root, error) {
	if err := os.MkdirAll(dst, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return nil, err
	}
	if err := isEmpty(root); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func isEmpty(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	if len(names) > 0 {
		return fmt.Errorf("there is %q in it, choose a new or empty directory: %w", names[0], errs.NotEmpty)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// exporter is one export. Paths are relative to root, and nothing outside of it can be reached.
type exporter struct {
	r     *Repo
	root  *os.Root
	time  time.Time
	files *errgroup.Group
	dirs  []exportDir // in the order they were made
	tree  treeFunc
	write func(ctx context.Context, f *os.File, e object.Entry) error // the content of a file

	mu     sync.Mutex
	report func(files int, bytes int64)
	n      int
	bytes  int64
}

type exportDir struct {
	path string
	mode uint32
}

// treeFunc returns a tree; that of the zero id is empty.
type treeFunc func(ctx context.Context, id oid.ID) (*object.Tree, error)

// eachEntry calls fn for the entries of a tree that is to be written out at a path, depth levels down.
func eachEntry(ctx context.Context, tree treeFunc, id oid.ID, at string, depth int, fn func(ctx context.Context, e object.Entry, at string, depth int) error) error {
	if depth > maxDepth {
		return fmt.Errorf("%q: more than %d levels: %w", at, maxDepth, errs.TooLarge)
	}
	t, err := tree(ctx, id)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	for _, e := range t.Entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(ctx, e, at, depth); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) entry(ctx context.Context, entry object.Entry, at string, depth int) error {
	p := path.Join(at, entry.Name)
	switch entry.Kind {
	case object.Dir:
		if err := e.root.Mkdir(p, 0o700); err != nil {
			return err
		}
		e.dirs = append(e.dirs, exportDir{p, entry.Mode})
		return eachEntry(ctx, e.tree, entry.ID, p, depth+1, e.entry)
	case object.Symlink:
		if err := e.root.Symlink(entry.Target, p); err != nil {
			return err
		}
		e.linkTime(at, entry)
		e.done(0)
		return nil
	}
	e.files.Go(func() error {
		if err := e.file(ctx, entry, at); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
		return nil
	})
	return nil
}

// linkTime sets the time of a symlink; a file system that cannot is no reason to fail.
func (e *exporter) linkTime(at string, entry object.Entry) {
	d, err := e.root.Open(path.Join(at, "."))
	if err != nil || entry.MTime.IsZero() {
		return
	}
	defer d.Close()
	ts, err := unix.TimeToTimespec(entry.MTime)
	if err == nil {
		_ = unix.UtimesNanoAt(int(d.Fd()), entry.Name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// file writes one file under another name and renames it when it is whole and verified.
func (e *exporter) file(ctx context.Context, entry object.Entry, at string) (err error) {
	tmp := path.Join(at, exportTemp+oid.Sum([]byte(entry.Name)).Short())
	f, err := e.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = e.root.Remove(tmp)
		}
	}()
	err = e.write(ctx, f, entry)
	if err == nil {
		err = f.Chmod(goMode(entry.Mode))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && !entry.MTime.IsZero() {
		err = e.root.Chtimes(tmp, entry.MTime, entry.MTime)
	}
	if err == nil {
		err = e.root.Rename(tmp, path.Join(at, entry.Name))
	}
	if err != nil {
		return err
	}
	e.done(entry.Size)
	return nil
}

// stored writes what the store has.
func (e *exporter) stored(ctx context.Context, f *os.File, entry object.Entry) error {
	src, err := e.r.Content.Open(ctx, entry.ID)
	if err != nil {
		return err
	}
	if src.Size() != entry.Size {
		return &errs.CorruptError{Where: "manifest " + entry.ID.Short(), Offset: -1, Detail: fmt.Sprintf("%d bytes, the directory says %d", src.Size(), entry.Size)}
	}
	return src.Materialize(ctx, f, true)
}

func (e *exporter) done(size int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	e.bytes += size
	if e.report != nil {
		e.report(e.n, e.bytes)
	}
}

// finishDirs sets modes and times of directories, the deepest first: a mode may forbid writing, and each write changes a time.
func (e *exporter) finishDirs() error {
	for i := len(e.dirs) - 1; i >= 0; i-- {
		d := e.dirs[i]
		if err := e.root.Chtimes(d.path, e.time, e.time); err != nil {
			return err
		}
		if d.path == "." {
			continue // the caller's directory keeps its mode
		}
		if err := e.root.Chmod(d.path, goMode(d.mode)); err != nil {
			return err
		}
	}
	return nil
}

// goMode returns the permission bits of st_mode as package os has them, and unixMode the other way round.
func goMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	for bit, flag := range modeFlags {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

func unixMode(m os.FileMode) uint32 {
	mode := uint32(m.Perm())
	for bit, flag := range modeFlags {
		if m&flag != 0 {
			mode |= bit
		}
	}
	return mode
}

var modeFlags = map[uint32]os.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky}
