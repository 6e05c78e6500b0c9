package worktree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"coral/internal/errs"
	"coral/internal/oid"
)

// model runs the same operations on a live tree and on a directory of the disk, which is the reference.
type model struct {
	e       *env
	dir     string // the reference
	handles []pair
	last    oid.ID // of the last snapshot
}

// pair is a file that is open in both.
type pair struct {
	f     *os.File
	h     *Handle
	write bool
}

// TestModel compares random operations with a real directory, with restarts, compaction, snapshots and ingest in between.
func TestModel(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: chown is left out")
	}
	base := t.TempDir()
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		count++
		root := filepath.Join(base, fmt.Sprint(count))
		m := &model{dir: filepath.Join(root, "ref")}
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			rt.Fatal(err)
		}
		m.e = newEnvAt(rt, filepath.Join(root, "live"))
		defer func() {
			m.closeAll(rt)
			m.e.close()
			os.RemoveAll(root)
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"":           m.compare,
			"mkdir":      m.mkdir,
			"write":      m.writeNew,
			"write2":     m.writeNew,
			"patch":      m.patch,
			"truncate":   m.truncate,
			"unlink":     m.unlink,
			"rmdir":      m.rmdir,
			"rename":     m.rename,
			"rename2":    m.rename,
			"link":       m.link,
			"symlink":    m.symlink,
			"mkfifo":     m.mkfifo,
			"chmod":      m.chmod,
			"chown":      m.chown,
			"utimes":     m.utimes,
			"xattr":      m.xattr,
			"open":       m.openHandle,
			"useHandle":  m.useHandle,
			"close":      m.closeHandle,
			"background": m.background,
		})
	})
}

// path draws a path of one to three short names; one of them is not UTF-8.
func (m *model) path(t *rapid.T, label string) string {
	names := rapid.SampledFrom([]string{"a", "b", "c", "\xff\xfe"})
	n := rapid.SampledFrom([]int{1, 1, 1, 2, 2, 3}).Draw(t, label+" depth")
	var parts []string
	for range n {
		parts = append(parts, names.Draw(t, label))
		if st, err := os.Lstat(m.real(strings.Join(parts, "/"))); err == nil && st.Mode()&os.ModeSymlink != 0 {
			break // the kernel would follow it
		}
	}
	return strings.Join(parts, "/")
}

func (m *model) real(path string) string { return m.dir + "/" + path }

// parent finds the directory of a path in the live tree.
func (m *model) parent(path string) (Ino, string, error) {
	dir, name := splitPath(path)
	ino, err := findIno(m.e.tree, dir)
	if err == nil {
		var a Attr
		if a, err = m.e.tree.Getattr(bg, ino); err == nil && a.Mode&typeMask != typeDir {
			err = errs.NotDir
		}
	}
	return ino, name, err
}

// errnoOf is the error as a mount would show it.
func errnoOf(err error) syscall.Errno {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	for class, no := range map[error]syscall.Errno{errs.NotFound: syscall.ENOENT, errs.Exist: syscall.EEXIST, errs.NotDir: syscall.ENOTDIR, errs.IsDir: syscall.EISDIR,
		errs.NotEmpty: syscall.ENOTEMPTY, errs.Invalid: syscall.EINVAL, errs.NoAttr: syscall.ENODATA} {
		if errors.Is(err, class) {
			return no
		}
	}
	if err == nil {
		return 0
	}
	return syscall.EIO
}

// agree wants the same outcome on both sides.
func (m *model) agree(t *rapid.T, op string, live, real error) bool {
	t.Helper()
	if errnoOf(live) != errnoOf(real) {
		t.Fatalf("%s: live tree says %v, disk says %v", op, live, real)
	}
	return real == nil
}

func (m *model) mkdir(t *rapid.T) {
	p := m.path(t, "path")
	real := os.Mkdir(m.real(p), 0o755)
	d, name, err := m.parent(p)
	if err == nil {
		_, err = m.e.tree.Mkdir(bg, d, name, 0o755, 0, 0)
	}
	m.agree(t, "mkdir "+p, err, real)
}

func (m *model) content(t *rapid.T) []byte {
	size := rapid.SampledFrom([]int{0, 1, 100, 4096, 5000, 70000}).Draw(t, "size")
	return []byte(big(size, rapid.Uint64Range(0, 5).Draw(t, "seed")))
}

// writeNew creates a file exclusively, or opens one that is there with O_TRUNC, writes and closes it.
func (m *model) writeNew(t *rapid.T) {
	p, content := m.path(t, "path"), m.content(t)
	real := func() error {
		if st, err := os.Lstat(m.real(p)); err == nil && st.Mode()&(os.ModeNamedPipe|os.ModeSymlink) != 0 {
			return syscall.EINVAL // opening would block, or follow the link
		}
		err := os.WriteFile(m.real(p), content, 0o644)
		m.killPriv(p, err)
		return err
	}()
	d, name, err := m.parent(p)
	if err == nil {
		var h *Handle
		var a Attr
		if a, err = m.e.tree.Lookup(bg, d, name); err == nil {
			h, err = m.e.tree.Open(bg, a.Ino, os.O_WRONLY|os.O_TRUNC)
		} else if errors.Is(err, errs.NotFound) {
			_, h, err = m.e.tree.Create(bg, d, name, 0o644, 0, 0, os.O_WRONLY)
		}
		if err == nil {
			_, err = h.WriteAt(bg, content, 0)
			err = errors.Join(err, h.Close())
		}
	}
	m.agree(t, "write "+p, err, real)
}

// file draws a path that is a regular file on both sides.
func (m *model) file(t *rapid.T) (string, Ino, bool) {
	p := m.path(t, "path")
	st, err := os.Lstat(m.real(p))
	if err != nil || !st.Mode().IsRegular() {
		return "", 0, false
	}
	ino, err := findIno(m.e.tree, p)
	if err != nil {
		t.Fatal(err)
	}
	return p, ino, true
}

func (m *model) patch(t *rapid.T) {
	p, ino, ok := m.file(t)
	if !ok {
		return
	}
	off, content := rapid.SampledFrom([]int64{0, 3, 4096, 9000}).Draw(t, "off"), m.content(t)
	flags := rapid.SampledFrom([]int{os.O_RDWR, os.O_WRONLY | os.O_APPEND}).Draw(t, "flags")
	f, err := os.OpenFile(m.real(p), flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := m.e.tree.Open(bg, ino, flags)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if flags&os.O_APPEND != 0 {
		_, err = f.Write(content)
	} else {
		_, err = f.WriteAt(content, off)
	}
	if len(content) > 0 {
		m.killPriv(p, err)
	}
	_, live := h.WriteAt(bg, content, off)
	m.agree(t, "patch "+p, live, err)
}

func (m *model) truncate(t *rapid.T) {
	p, ino, ok := m.file(t)
	if !ok {
		return
	}
	size := rapid.SampledFrom([]int64{0, 1, 4095, 20000}).Draw(t, "size")
	_, err := m.e.tree.Setattr(bg, ino, SetAttr{Size: &size})
	f, real := os.OpenFile(m.real(p), os.O_WRONLY, 0)
	if real == nil {
		real = errors.Join(f.Truncate(size), f.Close()) // which changes mtime in any case, truncate(2) only if it changes the size
	}
	m.killPriv(p, real)
	m.agree(t, "truncate "+p, err, real)
}

// killPriv does to the reference what the kernel does only for processes without CAP_FSETID.
func (m *model) killPriv(p string, err error) {
	var st syscall.Stat_t
	if err == nil && syscall.Lstat(m.real(p), &st) == nil && st.Mode&typeMask == typeReg {
		syscall.Chmod(m.real(p), dropSuid(st.Mode)&permMask)
	}
}

func (m *model) unlink(t *rapid.T) {
	p := m.path(t, "path")
	real := syscall.Unlink(m.real(p))
	d, name, err := m.parent(p)
	if err == nil {
		err = m.e.tree.Unlink(bg, d, name)
	}
	m.agree(t, "unlink "+p, err, errOrNil(real))
}

func errOrNil(err error) error {
	if err == syscall.Errno(0) {
		return nil
	}
	return err
}

func (m *model) rmdir(t *rapid.T) {
	p := m.path(t, "path")
	real := syscall.Rmdir(m.real(p))
	d, name, err := m.parent(p)
	if err == nil {
		err = m.e.tree.Rmdir(bg, d, name)
	}
	m.agree(t, "rmdir "+p, err, real)
}

func (m *model) rename(t *rapid.T) {
	p, q := m.path(t, "from"), m.path(t, "to")
	flags := rapid.SampledFrom([]uint32{0, 0, 0, RenameNoReplace, RenameExchange}).Draw(t, "flags")
	real := unix.Renameat2(unix.AT_FDCWD, m.real(p), unix.AT_FDCWD, m.real(q), uint(flags))
	d, name, err := m.parent(p)
	if err == nil {
		var to Ino
		var newName string
		if to, newName, err = m.parent(q); err == nil {
			err = m.e.tree.Rename(bg, d, name, to, newName, flags)
		}
	}
	m.agree(t, fmt.Sprintf("rename %q %q %d", p, q, flags), err, real)
}

func (m *model) link(t *rapid.T) {
	p, q := m.path(t, "from"), m.path(t, "to")
	if st, err := os.Lstat(m.real(p)); err != nil || st.IsDir() {
		return
	}
	real := unix.Linkat(unix.AT_FDCWD, m.real(p), unix.AT_FDCWD, m.real(q), 0)
	to, newName, err := m.parent(q)
	if err == nil {
		_, err = m.e.tree.Link(bg, m.e.ino(p), to, newName)
	}
	m.agree(t, fmt.Sprintf("link %q %q", p, q), err, real)
}

func (m *model) symlink(t *rapid.T) {
	p := m.path(t, "path")
	target := rapid.SampledFrom([]string{"x", "../\xfe", strings.Repeat("t", 300)}).Draw(t, "target")
	real := os.Symlink(target, m.real(p))
	d, name, err := m.parent(p)
	if err == nil {
		_, err = m.e.tree.Symlink(bg, d, name, target, 0, 0)
	}
	m.agree(t, "symlink "+p, err, real)
}

func (m *model) mkfifo(t *rapid.T) {
	p := m.path(t, "path")
	real := syscall.Mkfifo(m.real(p), 0o600)
	d, name, err := m.parent(p)
	if err == nil {
		_, err = m.e.tree.Mknod(bg, d, name, syscall.S_IFIFO|0o600, 0, 0, 0)
	}
	m.agree(t, "mkfifo "+p, err, real)
}

// any draws a path that exists and is no symbolic link.
func (m *model) any(t *rapid.T) (string, bool) {
	p := m.path(t, "path")
	st, err := os.Lstat(m.real(p))
	return p, err == nil && st.Mode()&os.ModeSymlink == 0
}

func (m *model) chmod(t *rapid.T) {
	p, ok := m.any(t)
	if !ok {
		return
	}
	mode := rapid.SampledFrom([]uint32{0o644, 0o755, 0o700, 0o4755, 0o2755, 0o1777, 0o2644}).Draw(t, "mode")
	_, err := m.e.tree.Setattr(bg, m.e.ino(p), SetAttr{Mode: &mode})
	m.agree(t, "chmod "+p, err, syscall.Chmod(m.real(p), mode))
}

func (m *model) chown(t *rapid.T) {
	p, ok := m.any(t)
	if !ok || os.Getuid() != 0 {
		return
	}
	uid, gid := rapid.Uint32Range(0, 3).Draw(t, "uid"), rapid.Uint32Range(0, 3).Draw(t, "gid")
	_, err := m.e.tree.Setattr(bg, m.e.ino(p), SetAttr{UID: &uid, GID: &gid})
	m.agree(t, "chown "+p, err, os.Chown(m.real(p), int(uid), int(gid)))
}

func (m *model) utimes(t *rapid.T) {
	p, ok := m.any(t)
	if !ok {
		return
	}
	at := time.Unix(rapid.Int64Range(0, 9e8).Draw(t, "time"), 123456789)
	_, err := m.e.tree.Setattr(bg, m.e.ino(p), SetAttr{Mtime: &at})
	m.agree(t, "utimes "+p, err, os.Chtimes(m.real(p), time.Time{}, at))
}

func (m *model) xattr(t *rapid.T) {
	p, ok := m.any(t)
	if st, err := os.Lstat(m.real(p)); !ok || err != nil || !st.Mode().IsRegular() && !st.IsDir() {
		return
	}
	name := rapid.SampledFrom([]string{"user.a", "user.b"}).Draw(t, "name")
	if rapid.Bool().Draw(t, "remove") {
		m.agree(t, "removexattr "+p, m.e.tree.Removexattr(bg, m.e.ino(p), name), unix.Removexattr(m.real(p), name))
		return
	}
	value := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")
	m.agree(t, "setxattr "+p, m.e.tree.Setxattr(bg, m.e.ino(p), name, value, 0), unix.Setxattr(m.real(p), name, value, 0))
}

func (m *model) openHandle(t *rapid.T) {
	p, ino, ok := m.file(t)
	if !ok || len(m.handles) > 5 {
		return
	}
	flags := rapid.SampledFrom([]int{os.O_RDONLY, os.O_RDWR}).Draw(t, "flags")
	f, err := os.OpenFile(m.real(p), flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.e.tree.Open(bg, ino, flags)
	if err != nil {
		t.Fatal(err)
	}
	m.handles = append(m.handles, pair{f, h, flags != os.O_RDONLY})
}

// useHandle writes through an open handle, or punches a hole, and compares what it reads: also when the file has no name any more.
func (m *model) useHandle(t *rapid.T) {
	if len(m.handles) == 0 {
		return
	}
	x := m.handles[rapid.IntRange(0, len(m.handles)-1).Draw(t, "handle")]
	if x.write {
		b := m.content(t)
		if len(b) > 0 {
			syscall.Fchmod(int(x.f.Fd()), dropSuid(sysStat(t, x.f).Mode)&permMask)
		}
		if len(b) == 100 {
			const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
			m.agree(t, "punch", x.h.Allocate(bg, mode, 10, 5000), unix.Fallocate(int(x.f.Fd()), mode, 10, 5000))
		} else {
			_, real := x.f.WriteAt(b, 17)
			_, live := x.h.WriteAt(bg, b, 17)
			m.agree(t, "write through handle", live, real)
		}
	}
	want := make([]byte, 200000)
	n, _ := x.f.ReadAt(want, 0)
	got, err := readHandle(x.h)
	if err != nil || got != string(want[:n]) {
		t.Fatalf("handle reads %d bytes (%v), the disk %d", len(got), err, n)
	}
	a, err := m.e.tree.Getattr(bg, x.h.Ino())
	st := sysStat(t, x.f)
	if err != nil || a.Nlink != uint32(st.Nlink) || a.Size != st.Size {
		t.Fatalf("handle: nlink %d size %d, the disk %d and %d: %v", a.Nlink, a.Size, st.Nlink, st.Size, err)
	}
}

func sysStat(t *rapid.T, f *os.File) *syscall.Stat_t {
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t)
}

func (m *model) closeHandle(t *rapid.T) {
	if len(m.handles) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.handles)-1).Draw(t, "handle")
	x := m.handles[i]
	m.handles = slices.Delete(m.handles, i, i+1)
	x.f.Close()
	if err := x.h.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) closeAll(t *rapid.T) {
	for len(m.handles) > 0 {
		x := m.handles[0]
		m.handles = m.handles[1:]
		x.f.Close()
		if err := x.h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// background does what must not be seen.
func (m *model) background(t *rapid.T) {
	var err error
	what := rapid.SampledFrom([]string{"drain", "snapshot", "snapshot", "rebase", "compact", "drop", "reopen", "reopen", "forget"}).Draw(t, "what")
	switch what {
	case "drain":
		err = m.e.set.Drain(bg, nil)
	case "snapshot":
		m.snapshot(t)
	case "rebase":
		m.e.compact(m.snapshot(t))
	case "compact":
		m.e.compact(m.e.tree.base)
	case "drop":
		_, err = m.e.set.DropSpool(bg)
	case "reopen":
		m.closeAll(t)
		m.e.reopen()
		if lost := m.e.set.Spool().LostFound; len(lost) > 0 {
			t.Fatalf("lost and found after a clean restart: %v", lost)
		}
	case "forget":
		if ino, e := findIno(m.e.tree, m.path(t, "path")); e == nil {
			m.e.tree.Forget(ino)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (m *model) snapshot(t *rapid.T) oid.ID {
	res, err := m.e.tree.Snapshot(bg, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := m.e.deps.files(t, res.Root)
	filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, m.dir)
		if err != nil || rel == "" || d.Type()&os.ModeNamedPipe != 0 {
			return err
		}
		rel = rel[1:]
		var want string
		switch {
		case d.IsDir():
			rel += "/"
		case d.Type()&os.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			want = "-> " + target
		default:
			b, _ := os.ReadFile(path)
			want = string(b)
		}
		if c, ok := got[rel]; !ok || c != want {
			t.Fatalf("snapshot: %q differs (there: %v)", rel, ok)
		}
		delete(got, rel)
		return nil
	})
	if len(got) > 0 {
		t.Fatalf("snapshot has more: %v", got)
	}
	if st, err := m.e.tree.Status(bg, res.Root); err != nil || len(st) > len(res.OpenFiles)*3 {
		t.Fatalf("status after snapshot: %+v, %v", st, err)
	}
	m.last = res.Root
	return res.Root
}

// compare walks both trees.
func (m *model) compare(t *rapid.T) { m.compareDir(t, m.e.tree.Root(), "") }

func (m *model) compareDir(t *rapid.T, dir Ino, path string) {
	list, err := m.e.tree.Readdir(bg, dir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(m.real(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(list) {
		t.Fatalf("%q: %v on disk, %v live", path, names, list)
	}
	slices.SortFunc(names, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for i, x := range list {
		if names[i].Name() != x.Name {
			t.Fatalf("%q: %q on disk, %q live", path, names[i].Name(), x.Name)
		}
		p := join(path, x.Name)
		m.compareNode(t, x, p)
		if x.Mode == typeDir {
			m.compareDir(t, x.Ino, p)
		}
	}
}

func (m *model) compareNode(t *rapid.T, x Dirent, p string) {
	var st syscall.Stat_t
	if err := syscall.Lstat(m.real(p), &st); err != nil {
		t.Fatal(err)
	}
	a, err := m.e.tree.Getattr(bg, x.Ino)
	if err != nil {
		t.Fatal(err)
	}
	if a.Mode != st.Mode || a.Mode&typeMask != x.Mode || a.Nlink != uint32(st.Nlink) || a.UID != st.Uid || a.GID != st.Gid || a.Mode&typeMask != typeDir && a.Size != st.Size {
		t.Fatalf("%q: %+v live, mode %o nlink %d uid %d gid %d size %d on disk", p, a, st.Mode, st.Nlink, st.Uid, st.Gid, st.Size)
	}
	real := time.Unix(st.Mtim.Unix())
	if old := real.Year() < 2001; old != (a.Mtime.Year() < 2001) || old && !real.Equal(a.Mtime) {
		t.Fatalf("%q: mtime %v live, %v on disk", p, a.Mtime, real)
	}
	switch a.Mode & typeMask {
	case typeLink:
		want, _ := os.Readlink(m.real(p))
		if got, err := m.e.tree.Readlink(bg, x.Ino); err != nil || got != want {
			t.Fatalf("%q: target %q, %v, want %q", p, got, err, want)
		}
		return
	case typeReg:
		want, _ := os.ReadFile(m.real(p))
		if got, err := readFile(m.e.tree, x.Ino); err != nil || got != string(want) {
			t.Fatalf("%q: content of %d bytes (%v), on disk %d", p, len(got), err, len(want))
		}
	case typeDir:
	default:
		return
	}
	for _, name := range []string{"user.a", "user.b"} {
		var buf [64]byte
		n, real := unix.Lgetxattr(m.real(p), name, buf[:])
		got, err := m.e.tree.Getxattr(bg, x.Ino, name)
		if errnoOf(err) != errnoOf(real) || err == nil && !bytes.Equal(got, buf[:n]) {
			t.Fatalf("%q: %s is %q (%v), on disk %q (%v)", p, name, got, err, buf[:max(n, 0)], real)
		}
	}
}
