package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/oid"
)

// wantErr wants an error of a class, or an errno.
func wantErr(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: %v, want %v", what, err, class)
	}
}

func TestNames(t *testing.T) {
	e := newEnv(t)
	root := e.tree.Root()
	for name, class := range map[string]error{"": errs.Invalid, ".": errs.Invalid, "..": errs.Invalid, "a/b": errs.Invalid, "a\x00": errs.Invalid, strings.Repeat("n", 256): errs.NameTooLong} {
		_, err := e.tree.Mkdir(bg, root, name, 0o755, 0, 0)
		wantErr(t, fmt.Sprintf("mkdir %q", name), err, class)
		_, err = e.tree.Lookup(bg, root, name)
		wantErr(t, fmt.Sprintf("lookup %q", name), err, class)
		wantErr(t, "rename", e.tree.Rename(bg, root, "x", root, name, 0), errs.NotFound)
	}
	long := strings.Repeat("n", 255)
	e.write(long, "x")
	_, err := e.tree.Mkdir(bg, root, long, 0o755, 0, 0)
	wantErr(t, "mkdir of what is there", err, errs.Exist)
	_, err = e.tree.Mkdir(bg, e.ino(long), "d", 0o755, 0, 0)
	wantErr(t, "mkdir in a file", err, errs.NotDir)
	_, err = e.tree.Symlink(bg, root, "l", strings.Repeat("t", 4096), 0, 0)
	wantErr(t, "long target", err, errs.NameTooLong)
	_, err = e.tree.Getattr(bg, 999999)
	wantErr(t, "getattr", err, errs.NotFound)
	_, err = e.tree.Open(bg, root, os.O_RDONLY)
	wantErr(t, "open of a directory", err, errs.IsDir)
	_, err = e.tree.Link(bg, root, root, "h")
	wantErr(t, "link of a directory", err, syscall.EPERM)
	wantErr(t, "unlink of a directory", func() error { e.mkdir("d"); return e.tree.Unlink(bg, root, "d") }(), errs.IsDir)
	wantErr(t, "rmdir of a file", e.tree.Rmdir(bg, root, long), errs.NotDir)
}

func TestUnlinkedFileLivesUntilClose(t *testing.T) {
	e := newEnv(t)
	for _, step := range []string{"unlink", "rename over"} {
		h := e.create("f")
		_, err := h.WriteAt(bg, []byte("hello"), 0)
		e.ok(err)
		id := h.n.spoolID()
		if step == "unlink" {
			e.ok(e.tree.Unlink(bg, e.tree.Root(), "f"))
		} else {
			e.write("g", "new")
			e.ok(e.tree.Rename(bg, e.tree.Root(), "g", e.tree.Root(), "f", 0))
		}
		e.ok(e.tree.SyncTree(bg))
		if got, err := readHandle(h); err != nil || got != "hello" {
			t.Errorf("%s: %q, %v", step, got, err)
		}
		if a, err := e.tree.Getattr(bg, h.Ino()); err != nil || a.Nlink != 0 || a.Size != 5 {
			t.Errorf("%s: %+v, %v", step, a, err)
		}
		_, err = e.tree.Link(bg, h.Ino(), e.tree.Root(), "again")
		wantErr(t, "link of an unlinked file", err, errs.NotFound)
		ino := h.Ino()
		e.ok(h.Close())
		e.ok(e.tree.SyncTree(bg))
		if _, err := os.Stat(e.set.spool.path(id)); !os.IsNotExist(err) {
			t.Errorf("%s: spool file stays: %v", step, err)
		}
		_, err = e.tree.Getattr(bg, ino)
		wantErr(t, step, err, errs.NotFound)
		if step == "unlink" {
			continue
		}
		if got := e.read("f"); got != "new" {
			t.Errorf("%q", got)
		}
	}
}

// TestSpoolRemovalWaitsForSync keeps the spool file of an unlinked file until the journal is synced: a power cut may bring the name back.
func TestSpoolRemovalWaitsForSync(t *testing.T) {
	e := newEnv(t)
	e.opts.SyncInterval, e.opts.IngestDelay = time.Hour, time.Hour
	e.reopen()
	e.write("f", "x")
	id := e.tree.inodes[e.ino("f")].spoolID()
	e.ok(e.tree.Unlink(bg, e.tree.Root(), "f"))
	if _, err := os.Stat(e.set.spool.path(id)); err != nil {
		t.Errorf("removed before the sync: %v", err)
	}
	e.ok(e.tree.SyncTree(bg))
	if _, err := os.Stat(e.set.spool.path(id)); !os.IsNotExist(err) {
		t.Errorf("stays after the sync: %v", err)
	}
}

func TestUnnamed(t *testing.T) {
	e := newEnv(t)
	a, h, err := e.tree.CreateUnnamed(bg, 0o600, 1, 2, os.O_RDWR)
	e.ok(err)
	if a.Nlink != 0 || a.Mode != typeReg|0o600 {
		t.Errorf("%+v", a)
	}
	_, err = h.WriteAt(bg, []byte("tmp"), 0)
	e.ok(err)
	e.ok(e.tree.Setxattr(bg, a.Ino, "user.k", []byte("v"), 0))
	e.compact(oid.ID{})
	_, err = e.tree.Link(bg, a.Ino, e.tree.Root(), "f")
	e.ok(err)
	e.ok(h.Close())
	_, gone, err := e.tree.CreateUnnamed(bg, 0o600, 0, 0, os.O_RDWR|syscall.O_EXCL)
	e.ok(err)
	_, err = gone.WriteAt(bg, []byte("scrap"), 0)
	e.ok(err)
	_, err = e.tree.Link(bg, gone.Ino(), e.tree.Root(), "g")
	wantErr(t, "link of an O_EXCL file", err, errs.NotFound)
	e.ok(gone.Close())
	e.reopen()
	if got := e.read("f"); got != "tmp" {
		t.Errorf("%q", got)
	}
	if v, err := e.tree.Getxattr(bg, e.ino("f"), "user.k"); err != nil || string(v) != "v" {
		t.Errorf("xattr set before the link: %q, %v", v, err)
	}
	if st := e.set.Spool(); len(st.LostFound) > 0 || st.Files > 1 {
		t.Errorf("spool: %+v", st)
	}
}

func TestSuid(t *testing.T) {
	e := newEnv(t)
	mode := func() uint32 { return e.attr("f").Mode & permMask }
	set := func(m uint32) {
		t.Helper()
		_, err := e.tree.Setattr(bg, e.ino("f"), SetAttr{Mode: &m})
		e.ok(err)
	}
	e.write("f", "0123456789")
	e.drain()
	uid, size := uint32(3), int64(4)
	steps := map[string]func(){
		"write": func() {
			h, err := e.tree.Open(bg, e.ino("f"), os.O_WRONLY)
			e.ok(err)
			if mode() != 0o6755 {
				t.Error("open alone cleared suid")
			}
			_, err = h.WriteAt(bg, []byte("x"), 0)
			e.ok(err)
			e.ok(h.Close())
		},
		"truncate": func() { _, err := e.tree.Setattr(bg, e.ino("f"), SetAttr{Size: &size}); e.ok(err) },
		"chown":    func() { _, err := e.tree.Setattr(bg, e.ino("f"), SetAttr{UID: &uid}); e.ok(err) },
		"o_trunc":  func() { e.write("f", "") },
	}
	for name, step := range steps {
		set(0o6755)
		e.ok(e.tree.Setxattr(bg, e.ino("f"), capabilityXattr, []byte("cap"), 0))
		step()
		if mode() != 0o755 {
			t.Errorf("%s left mode %o", name, mode())
		}
		_, err := e.tree.Getxattr(bg, e.ino("f"), capabilityXattr)
		if name != "chown" {
			wantErr(t, name, err, errs.NoAttr)
		}
	}
	set(0o2644) // set-group-id without group execution is mandatory locking: it stays
	e.write("f", "x")
	if mode() != 0o2644 {
		t.Errorf("mode %o", mode())
	}
	e.mkdir("d")
	sgid := uint32(0o2775)
	gid := uint32(77)
	_, err := e.tree.Setattr(bg, e.ino("d"), SetAttr{Mode: &sgid, GID: &gid})
	e.ok(err)
	e.mkdir("d/sub")
	e.write("d/f", "")
	if a := e.attr("d/sub"); a.GID != 77 || a.Mode&syscall.S_ISGID == 0 {
		t.Errorf("directory in a set-group-id directory: %+v", a)
	}
	if a := e.attr("d/f"); a.GID != 77 || a.Mode&syscall.S_ISGID != 0 {
		t.Errorf("file in a set-group-id directory: %+v", a)
	}
}

// TestTimes: what changes which times, and what does not.
func TestTimes(t *testing.T) {
	e := newEnv(t)
	e.mkdir("d")
	e.write("d/f", big(5000, 1))
	e.drain()
	e.compact(e.snapshot())
	old := time.Unix(1e9, 42)
	age := func(path string) {
		t.Helper()
		_, err := e.tree.Setattr(bg, e.ino(path), SetAttr{Mtime: &old, Atime: &old})
		e.ok(err)
		n := e.tree.inodes[e.ino(path)]
		n.ctime = 1 // nobody else looks at this tree
	}
	type times struct{ m, c bool }
	check := func(what, path string, want times, op func()) {
		t.Helper()
		age("d/f")
		age("d")
		op()
		a := e.attr(path)
		if got := (times{!a.Mtime.Equal(old), a.Ctime.Year() > 2000}); got != want {
			t.Errorf("%s: %s changed %+v, want %+v (%v, %v)", what, path, got, want, a.Mtime, a.Ctime)
		}
	}
	chmod := func() { m := uint32(0o600); _, err := e.tree.Setattr(bg, e.ino("d/f"), SetAttr{Mode: &m}); e.ok(err) }
	check("chmod", "d/f", times{false, true}, chmod)
	check("chmod", "d", times{false, false}, chmod)
	link := func() {
		_, err := e.tree.Link(bg, e.ino("d/f"), e.ino("d"), "g")
		e.ok(err)
	}
	check("link", "d/f", times{false, true}, link)
	unlink := func() { e.ok(e.tree.Unlink(bg, e.ino("d"), "g")) }
	check("unlink", "d/f", times{false, true}, unlink)
	link()
	check("unlink", "d", times{true, true}, unlink)
	check("open for write", "d/f", times{false, false}, func() { e.ok(openClose(e.tree, e.ino("d/f"), os.O_RDWR)) })
	e.drain()
	e.set.DropSpool(bg)
	e.wantState("d/f", "A")
	check("copy up", "d/f", times{false, false}, func() { e.ok(openClose(e.tree, e.ino("d/f"), os.O_RDWR)) })
	check("write", "d/f", times{true, true}, func() { e.write("d/f", "x") })
	check("write", "d", times{false, false}, func() { e.write("d/f", "x") })
	check("create", "d", times{true, true}, func() { e.write("d/new", "x") })
	check("rename", "d/f2", times{false, true}, func() {
		e.ok(e.tree.Rename(bg, e.ino("d"), "f", e.ino("d"), "f2", 0))
		e.ok(e.tree.Rename(bg, e.ino("d"), "f2", e.ino("d"), "f", 0))
		link2(e)
	})
	check("xattr", "d/f", times{false, true}, func() { e.ok(e.tree.Setxattr(bg, e.ino("d/f"), "user.x", nil, 0)) })

	age("d/f")
	for _, restart := range []bool{false, true} {
		if restart {
			e.reopen()
		}
		if a := e.attr("d/f"); !a.Mtime.Equal(old) {
			t.Errorf("restart %v: mtime %v", restart, a.Mtime)
		}
	}
	e.drain()
	age("d/f") // of a clean file with a spool copy or none
	e.reopen()
	if a := e.attr("d/f"); !a.Mtime.Equal(old) {
		t.Errorf("mtime of a clean file after a restart: %v", a.Mtime)
	}
}

func link2(e *env) {
	_, err := e.tree.Link(bg, e.ino("d/f"), e.ino("d"), "f2")
	e.ok(err)
}

// A file that nobody has written to keeps the times it was born with: its inode and its spool file, which is asked from the first writer on, agree.
func TestBirthTimes(t *testing.T) {
	e := newEnv(t)
	for i := range 200 { // over several ticks of the clock
		_, h, err := e.tree.Create(bg, e.tree.Root(), fmt.Sprint(i), 0o644, 0, 0, os.O_RDONLY)
		e.ok(err)
		e.ok(h.Close())
		born := e.attr(fmt.Sprint(i))
		h, err = e.tree.Open(bg, born.Ino, os.O_RDWR)
		e.ok(err)
		opened := e.attr(fmt.Sprint(i))
		e.ok(h.Close())
		if !opened.Mtime.Equal(born.Mtime) || !opened.Ctime.Equal(born.Ctime) {
			t.Fatalf("file %d: mtime and ctime are %v, %v after it was opened for writing; %v, %v before", i, opened.Mtime, opened.Ctime, born.Mtime, born.Ctime)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func TestAppendAllocateSeek(t *testing.T) {
	e := newEnv(t)
	h := e.create("f")
	a, err := e.tree.Open(bg, h.Ino(), os.O_WRONLY|os.O_APPEND)
	e.ok(err)
	for i := range 3 {
		if n, err := a.WriteAt(bg, fmt.Appendf(nil, "%d", i), 0); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, _ := readHandle(h); got != "012" {
		t.Errorf("%q", got)
	}
	e.ok(a.Close())
	e.ok(h.Allocate(bg, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	if at := e.attr("f"); at.Size != 3 || at.Blocks < 2048 {
		t.Errorf("size %d, %d blocks", at.Size, at.Blocks)
	}
	e.ok(h.Allocate(bg, 0, 0, 1<<20))
	_, err = h.WriteAt(bg, []byte(big(1<<20, 1)), 0)
	e.ok(err)
	e.ok(h.Allocate(bg, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 1<<19))
	if off, err := h.Seek(bg, 0, unix.SEEK_HOLE); off != 4096 || err != nil {
		t.Errorf("hole at %d, %v", off, err)
	}
	if off, err := h.Seek(bg, 4096, unix.SEEK_DATA); off != 4096+1<<19 || err != nil {
		t.Errorf("data at %d, %v", off, err)
	}
	e.ok(h.Allocate(bg, unix.FALLOC_FL_ZERO_RANGE, 1<<20-10, 20))
	if at := e.attr("f"); at.Size != 1<<20+10 {
		t.Errorf("size %d", at.Size)
	}
	wantErr(t, "allocate", h.Allocate(bg, 0, -1, 1), syscall.EINVAL)
	want, _ := readHandle(h)
	e.ok(h.Close())
	e.compact(e.snapshot())
	e.set.DropSpool(bg)
	e.wantState("f", "A")
	r, err := e.tree.Open(bg, e.ino("f"), os.O_RDONLY)
	e.ok(err)
	defer r.Close()
	if r.Spool() != nil {
		t.Error("a spool file in state A")
	}
	if off, err := r.Seek(bg, 100, unix.SEEK_HOLE); off != 1<<20+10 || err != nil {
		t.Errorf("hole of stored content at %d, %v", off, err)
	}
	if off, err := r.Seek(bg, 100, unix.SEEK_DATA); off != 100 || err != nil {
		t.Errorf("data of stored content at %d, %v", off, err)
	}
	_, err = r.Seek(bg, 1<<21, unix.SEEK_DATA)
	wantErr(t, "seek past the end", err, syscall.ENXIO)
	if got, _ := readHandle(r); got != want {
		t.Error("content differs")
	}
	if _, err := r.ReadAt(bg, make([]byte, 1), 1<<21); err != io.EOF {
		t.Errorf("read past the end: %v", err)
	}
	_, err = r.WriteAt(bg, []byte("x"), 0)
	wantErr(t, "write through a reading handle", err, syscall.EBADF)
	size := int64(1 << 22)
	_, err = e.tree.Setattr(bg, e.ino("f"), SetAttr{Size: &size})
	e.ok(err)
	if got, _ := readHandle(r); len(got) != 1<<22 || got[:len(want)] != want {
		t.Error("an open handle does not see the file grow")
	}
}

func TestXattr(t *testing.T) {
	e := newEnv(t)
	e.write("f", "x")
	ino := e.ino("f")
	set := func(name string, size, flags int) error {
		return e.tree.Setxattr(bg, ino, name, make([]byte, size), flags)
	}
	wantErr(t, "replace", set("user.a", 1, unix.XATTR_REPLACE), errs.NoAttr)
	e.ok(set("user.a", 1, unix.XATTR_CREATE))
	wantErr(t, "create", set("user.a", 1, unix.XATTR_CREATE), errs.Exist)
	wantErr(t, "reserved", set("user.coral.id", 1, 0), errs.Permission)
	wantErr(t, "system", set("system.posix_acl_access", 1, 0), errs.Unsupported)
	wantErr(t, "bare", set("user.", 1, 0), errs.Unsupported)
	wantErr(t, "label", set("security.selinux", 1, 0), errs.Unsupported)
	for name, class := range map[string]error{"user.none": errs.NoAttr, "security.capability": errs.NoAttr, "security.selinux": errs.Unsupported, "system.posix_acl_access": errs.Unsupported} {
		_, err := e.tree.Getxattr(bg, ino, name)
		wantErr(t, "get "+name, err, class)
	}
	wantErr(t, "long name", set("user."+strings.Repeat("n", 255), 1, 0), errs.NameTooLong)
	wantErr(t, "large", set("user.b", maxXattr+1, 0), errs.TooLarge)
	for i := range 3 {
		e.ok(set(fmt.Sprint("user.large", i), maxXattr, 0))
	}
	wantErr(t, "too many", set("user.large3", maxXattr, 0), errs.NoSpace)
	e.ok(set("trusted.t", 0, 0))
	e.drain()
	e.compact(e.snapshot())
	e.reopen()
	names, err := e.tree.Listxattr(bg, e.ino("f"))
	if want := []string{"trusted.t", "user.a", "user.large0", "user.large1", "user.large2"}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("%v, %v", names, err)
	}
	if v, err := e.tree.Getxattr(bg, e.ino("f"), "trusted.t"); err != nil || v == nil || len(v) != 0 {
		t.Errorf("empty value: %v, %v", v, err)
	}
}

func TestRemovedDirectory(t *testing.T) {
	e := newEnv(t)
	d := e.mkdir("d")
	e.ok(e.tree.Rmdir(bg, e.tree.Root(), "d"))
	if a, err := e.tree.Getattr(bg, d); err != nil || a.Nlink != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err := e.tree.Readdir(bg, d); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	_, err := e.tree.Mkdir(bg, d, "x", 0o755, 0, 0)
	wantErr(t, "mkdir in a removed directory", err, errs.NotFound)
	e.mkdir("e")
	wantErr(t, "rename into it", e.tree.Rename(bg, e.tree.Root(), "e", d, "x", 0), errs.NotFound)
	e.tree.Forget(d)
	_, err = e.tree.Getattr(bg, d)
	wantErr(t, "forgotten", err, errs.NotFound)
}

// TestForgetKeepsNumbers unloads directories and wants the same inode numbers to work afterwards.
func TestForgetKeepsNumbers(t *testing.T) {
	e := newEnv(t)
	for i := range 5 {
		e.mkdir(fmt.Sprint("d", i))
		e.mkdir(fmt.Sprintf("d%d/sub", i))
		for k := range 20 {
			e.write(fmt.Sprintf("d%d/sub/f%02d", i, k), fmt.Sprint(i, k))
		}
	}
	root := e.snapshot()
	tree, err := e.set.Tree(bg, "other", root)
	e.ok(err)
	e.tree = tree
	inos := map[string]Ino{}
	for i := range 5 {
		for k := range 20 {
			p := fmt.Sprintf("d%d/sub/f%02d", i, k)
			inos[p] = e.ino(p)
		}
	}
	loaded := len(tree.inodes)
	m := uint32(0o600)
	_, err = tree.Setattr(bg, inos["d3/sub/f07"], SetAttr{Mode: &m}) // nothing brings this back: d3/sub stays
	e.ok(err)
	for i := range 5 {
		tree.Forget(e.ino(fmt.Sprint("d", i)))
	}
	if n := len(tree.inodes); n > loaded-4*20 {
		t.Errorf("%d of %d inodes are in memory after forgetting", n, loaded)
	}
	for p, ino := range inos {
		if got, err := readFile(tree, ino); err != nil || got == "" {
			t.Errorf("%s by its old number: %q, %v", p, got, err)
		}
		if now := e.ino(p); now != ino {
			t.Errorf("%s has number %d, had %d", p, now, ino)
		}
	}
	tree.Forget(e.ino("d1"))
	e.ok(tree.Unlink(bg, e.ino("d1/sub"), "f03"))
	_, err = tree.Getattr(bg, inos["d1/sub/f03"])
	wantErr(t, "number of an unlinked file", err, errs.NotFound)
}

func TestStatus(t *testing.T) {
	e := newEnv(t)
	for _, p := range []string{"keep", "mod", "gone", "chm", "typ"} {
		e.write(p, "content of "+p)
	}
	e.mkdir("dir")
	e.mkdir("dir/deep")
	e.write("dir/deep/a", "a")
	e.mkdir("dir2")
	e.write("dir2/b", "b")
	_, err := e.tree.Symlink(bg, e.tree.Root(), "link", "x", 0, 0)
	e.ok(err)
	head := e.snapshot()
	want := func(step string, want ...Change) {
		t.Helper()
		got, err := e.tree.Status(bg, head)
		if err != nil || !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s:\n got %v (%v)\nwant %v", step, got, err, want)
		}
	}
	want("clean")
	now := time.Now()
	_, err = e.tree.Setattr(bg, e.ino("keep"), SetAttr{Mtime: &now})
	e.ok(err)
	want("touched")
	root := e.tree.Root()
	e.ok(e.tree.Unlink(bg, root, "gone"))
	m := uint32(0o755)
	_, err = e.tree.Setattr(bg, e.ino("chm"), SetAttr{Mode: &m})
	e.ok(err)
	e.ok(e.tree.Unlink(bg, root, "typ"))
	e.mkdir("typ")
	e.write("typ/in", "")
	e.ok(e.tree.Unlink(bg, e.ino("dir2"), "b"))
	e.ok(e.tree.Rmdir(bg, root, "dir2"))
	e.ok(e.tree.Rename(bg, e.ino("dir"), "deep", root, "moved", 0))
	e.ok(e.tree.Unlink(bg, root, "link"))
	_, err = e.tree.Symlink(bg, root, "link", "y", 0, 0)
	e.ok(err)
	e.mkdir("empty")
	_, err = e.tree.Mknod(bg, root, "fifo", syscall.S_IFIFO|0o600, 0, 0, 0)
	e.ok(err)
	e.drain()
	h, err := e.tree.Open(bg, e.ino("mod"), os.O_WRONLY)
	e.ok(err)
	changes := []Change{{"chm", "mode", "stored"}, {"dir/deep", "deleted", "stored"}, {"dir2", "deleted", "stored"}, {"empty", "added", "stored"}, {"gone", "deleted", "stored"},
		{"link", "modified", "stored"}, {"mod", "modified", "open"}, {"moved/a", "added", "stored"}, {"typ", "type", "stored"}, {"typ/in", "added", "stored"}}
	want("all", changes...)
	e.ok(h.Close())
	e.drain() // the same content: not modified any more
	want("all but mod", append(changes[:6:6], changes[7:]...)...)
	res, err := e.tree.Snapshot(bg, false, nil)
	e.ok(err)
	if !reflect.DeepEqual(res.Skipped, []string{"fifo"}) {
		t.Errorf("skipped: %v", res.Skipped)
	}
	head = res.Root
	want("committed")
	e.compact(head)
	e.reopen()
	want("after a restart")
	reads := e.deps.treeReads.Load()
	want("nothing loaded")
	if n := e.deps.treeReads.Load() - reads; n > 1 {
		t.Errorf("status of a clean tree read %d trees", n)
	}
}

func TestReadOnlySet(t *testing.T) {
	e := newEnv(t)
	e.write("f", "dirty")
	e.opts.IngestDelay = time.Hour
	e.reopen()
	e.write("g", "dirty too")
	e.close()
	e.opts.ReadOnly = true
	journal := filepath.Join(e.dir, "live", "main", "journal")
	f, err := os.OpenFile(journal, os.O_WRONLY|os.O_APPEND, 0)
	e.ok(err)
	f.WriteString("torn")
	f.Close()
	before, _ := os.ReadFile(journal)
	e.open(oid.ID{})
	if got := e.read("g"); got != "dirty too" {
		t.Errorf("%q", got)
	}
	root := e.tree.Root()
	size, mode := int64(0), uint32(0)
	_, mkdir := e.tree.Mkdir(bg, root, "d", 0o755, 0, 0)
	_, _, create := e.tree.Create(bg, root, "d", 0o755, 0, 0, os.O_RDWR)
	_, _, unnamed := e.tree.CreateUnnamed(bg, 0o755, 0, 0, os.O_RDWR)
	_, open := e.tree.Open(bg, e.ino("g"), os.O_RDWR)
	_, trunc := e.tree.Setattr(bg, e.ino("g"), SetAttr{Size: &size})
	_, chmod := e.tree.Setattr(bg, e.ino("g"), SetAttr{Mode: &mode})
	_, snap := e.tree.Snapshot(bg, false, nil)
	_, drop := e.set.DropSpool(bg)
	for what, err := range map[string]error{"mkdir": mkdir, "create": create, "unnamed": unnamed, "open": open, "truncate": trunc, "chmod": chmod, "snapshot": snap, "drop": drop,
		"unlink": e.tree.Unlink(bg, root, "g"), "rename": e.tree.Rename(bg, root, "g", root, "h", 0), "remove": e.set.Remove(bg, "main"), "xattr": e.tree.Setxattr(bg, e.ino("g"), "user.x", nil, 0)} {
		wantErr(t, what, err, errs.ReadOnly)
	}
	e.ok(e.tree.SyncTree(bg))
	e.drain()
	other, err := e.set.Tree(bg, "new", oid.ID{})
	e.ok(err)
	if list, err := other.Readdir(bg, other.Root()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	e.close()
	if after, _ := os.ReadFile(journal); string(after) != string(before) {
		t.Error("the journal was changed")
	}
	if _, err := os.Stat(filepath.Join(e.dir, "live", "new")); err == nil {
		t.Error("a read-only set made a live tree on disk")
	}
}

func TestSetRemoveRename(t *testing.T) {
	e := newEnv(t)
	long := strings.Repeat("x/", 90) + "y"
	for _, b := range []string{"feature/a", long} {
		tree, err := e.set.Tree(bg, b, oid.ID{})
		e.ok(err)
		e.tree = tree
		e.write("f", big(8000, 1))
		h, err := tree.Open(bg, e.ino("f"), os.O_RDONLY)
		e.ok(err)
		wantErr(t, "remove", e.set.Remove(bg, b), errs.Busy)
		wantErr(t, "rename", e.set.Rename(bg, b, "other"), errs.Busy)
		e.ok(h.Close())
	}
	wantErr(t, "rename over", e.set.Rename(bg, long, "feature/a"), errs.Exist)
	e.ok(e.set.Rename(bg, long, "feature/b"))
	if e.tree.Branch() != "feature/b" {
		t.Error(e.tree.Branch())
	}
	e.write("after", "rename")
	e.ok(e.set.Remove(bg, "feature/a"))
	_, err := e.tree.Lookup(bg, e.tree.Root(), "f")
	e.ok(err)
	if got, want := e.set.Branches(), []string{"feature/b", "main"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	e.reopen()
	if got, want := e.set.Branches(), []string{"feature/b", "main"}; !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart: %q", got)
	}
	e.tree, err = e.set.Tree(bg, "feature/b", oid.ID{})
	e.ok(err)
	if e.read("f") != big(8000, 1) || e.read("after") != "rename" {
		t.Error("content differs")
	}
	if st := e.set.Spool(); st.Files > 2 || len(st.LostFound) > 0 {
		t.Errorf("spool after the removal of a branch: %+v", st)
	}
	// A rename that was interrupted between the journal's header and the directory.
	e.close()
	e.ok(os.Rename(filepath.Join(e.dir, "live", "feature%2Fb"), filepath.Join(e.dir, "live", "old")))
	e.open(oid.ID{})
	if got, want := e.set.Branches(), []string{"feature/b", "main"}; !reflect.DeepEqual(got, want) {
		t.Errorf("after an interrupted rename: %q", got)
	}
}

func TestRoots(t *testing.T) {
	e := newEnv(t)
	e.mkdir("d")
	e.write("d/a", big(5000, 1))
	e.write("d/b", "tiny")
	root := e.snapshot()
	e.compact(root)
	e.ok(e.tree.Rename(bg, e.tree.Root(), "d", e.tree.Root(), "e", 0))
	e.compact(root) // writes a graft
	e.write("e/c", "more")
	e.ok(e.tree.Unlink(bg, e.ino("e"), "b"))
	e.drain()
	resume, err := e.set.Pause(bg)
	e.ok(err)
	keep := map[oid.ID]bool{}
	mark := func(id oid.ID) error { keep[id] = true; return nil }
	var markTree func(id oid.ID) error
	markTree = func(id oid.ID) error {
		keep[id] = true
		for _, x := range e.deps.trees[id].Entries {
			keep[x.ID] = true
			if e.deps.trees[x.ID] != nil {
				markTree(x.ID)
			}
		}
		return nil
	}
	e.ok(e.set.Roots(bg, mark, markTree))
	for id := range e.deps.trees {
		if !keep[id] {
			delete(e.deps.trees, id)
		}
	}
	for id := range e.deps.manifests {
		if !keep[id] {
			delete(e.deps.manifests, id)
		}
	}
	resume()
	want := digest(t, e.tree)
	e.reopen()
	if got := digest(t, e.tree); got != want {
		t.Errorf("after gc and a restart:\n%s\nwant\n%s", got, want)
	}
	e.snapshot()
}

func TestQuota(t *testing.T) {
	e := newEnv(t)
	e.opts.SpoolQuota = 40 << 10
	e.reopen()
	for i := range 10 {
		e.write(fmt.Sprint("f", i), big(8192, uint64(i)))
		e.drain()
	}
	if st := e.set.Spool(); st.CleanBytes > 40<<10 || st.CleanBytes == 0 || st.Bytes < st.CleanBytes {
		t.Errorf("%+v", st)
	}
	e.wantState("f0", "A")
	e.wantState("f9", "B")
	for i := range 10 {
		if e.read(fmt.Sprint("f", i)) != big(8192, uint64(i)) {
			t.Errorf("f%d differs", i)
		}
	}
	r, err := e.tree.Open(bg, e.ino("f9"), os.O_RDONLY)
	e.ok(err)
	freed, err := e.set.DropSpool(bg)
	if err != nil || freed == 0 {
		t.Errorf("freed %d, %v", freed, err)
	}
	e.wantState("f9", "B") // a handle has it open
	e.ok(r.Close())
	e.set.DropSpool(bg)
	e.wantState("f9", "A")
	if st := e.set.Spool(); st.Files != 0 || st.CleanBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// TestTinyCopiesOfKilledProcess drops small clean copies that were still there at the start.
func TestTinyCopiesOfKilledProcess(t *testing.T) {
	e := newEnv(t)
	e.opts.TinyDelay = time.Hour // the timer leaves them alone
	e.reopen()
	h := e.create("f")
	_, err := h.WriteAt(bg, []byte("tiny"), 0)
	e.ok(err)
	r, err := e.tree.Open(bg, h.Ino(), os.O_RDONLY)
	e.ok(err)
	e.ok(h.Close())
	e.drain()
	e.wantState("f", "B") // a reader has it open
	e.ok(r.Close())
	e.set.tiny.Store(false) // closing drops nothing, as if the process had been killed
	e.reopen()
	e.wantState("f", "B")
	e.ok(e.tree.SyncTree(bg))
	e.set.dropTinyCopies()
	e.wantState("f", "A")
	if got := e.read("f"); got != "tiny" || e.set.Spool().Files != 0 {
		t.Errorf("%q, %+v", got, e.set.Spool())
	}
}

// TestReserve refuses writers when the disk has less free than the reserve, and gives up clean copies first.
func TestReserve(t *testing.T) {
	e := newEnv(t)
	e.write("clean", big(1<<20, 1))
	e.drain()
	e.wantState("clean", "B")
	h := e.create("open")
	defer h.Close()
	e.set.spool.reserve = 1 << 62
	_, _, err := e.tree.Create(bg, e.tree.Root(), "f", 0o644, 0, 0, os.O_RDWR)
	wantErr(t, "create", err, errs.NoSpace)
	_, err = h.WriteAt(bg, []byte("x"), 0)
	wantErr(t, "write", err, errs.NoSpace)
	wantErr(t, "allocate", h.Allocate(bg, 0, 0, 10), errs.NoSpace)
	e.ok(h.Allocate(bg, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 10))
	e.wantState("clean", "A")
	e.ok(e.tree.Unlink(bg, e.tree.Root(), "clean"))
	e.mkdir("names still work")
	e.set.spool.reserve = 1
	e.set.spool.checked.Store(0)
	_, err = h.WriteAt(bg, []byte("x"), 0)
	e.ok(err)
}

// TestLostSpoolFile serves an error, never wrong bytes, when the spool file of a dirty file has vanished.
func TestLostSpoolFile(t *testing.T) {
	e := newEnv(t)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	e.write("f", "precious")
	id := e.tree.inodes[e.ino("f")].spoolID()
	e.close()
	e.ok(os.Remove(filepath.Join(e.dir, "spool", id.String())))
	e.open(oid.ID{})
	_, err := e.tree.Open(bg, e.ino("f"), os.O_RDONLY)
	wantErr(t, "open", err, errs.Corrupt)
	_, err = e.tree.Snapshot(bg, false, nil)
	wantErr(t, "snapshot", err, errs.Corrupt)
	e.ok(e.set.Drain(bg, nil))
	e.compact(oid.ID{})
	e.reopen()
	_, err = e.tree.Open(bg, e.ino("f"), os.O_RDONLY)
	wantErr(t, "open after compaction", err, errs.Corrupt)
	e.write("f", "new")
	if got := e.read("f"); got != "new" {
		t.Errorf("%q", got)
	}
	e.snapshot()
}

// TestBrokenJournal keeps other branches usable.
func TestBrokenJournal(t *testing.T) {
	e := newEnv(t)
	e.write("f", big(5000, 1))
	other, err := e.set.Tree(bg, "bad", oid.ID{})
	e.ok(err)
	_ = other
	e.close()
	path := filepath.Join(e.dir, "live", "bad", "journal")
	b, _ := os.ReadFile(path)
	b[20] ^= 1
	e.ok(os.WriteFile(path, b, 0o600))
	e.open(oid.ID{})
	if e.read("f") != big(5000, 1) {
		t.Error("f differs")
	}
	_, err = e.set.Tree(bg, "bad", oid.ID{})
	wantErr(t, "tree", err, errs.Corrupt)
	wantErr(t, "roots", e.set.Roots(bg, nil, nil), errs.Corrupt)
	e.ok(e.set.Remove(bg, "bad"))
	_, err = e.set.Tree(bg, "bad", oid.ID{})
	e.ok(err)
}

func TestClosedSet(t *testing.T) {
	e := newEnv(t)
	tree, set := e.tree, e.set
	e.write("f", "x")
	ino := e.ino("f")
	e.close()
	e.ok(set.Close(bg))
	_, err := tree.Mkdir(bg, tree.Root(), "d", 0o755, 0, 0)
	wantErr(t, "mkdir", err, os.ErrClosed)
	_, err = tree.Open(bg, ino, os.O_RDONLY)
	wantErr(t, "open", err, os.ErrClosed)
	_, err = set.Tree(bg, "x", oid.ID{})
	wantErr(t, "tree", err, os.ErrClosed)
	_, err = tree.Snapshot(bg, false, nil)
	wantErr(t, "snapshot", err, os.ErrClosed)
}

func TestOptions(t *testing.T) {
	_, err := Open(bg, t.TempDir(), newMemDeps(), Options{IngestDelay: -1})
	wantErr(t, "negative delay", err, errs.Invalid)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	set, err := Open(bg, t.TempDir(), newMemDeps(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Pause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := set.Close(ctx); err != nil {
		t.Error(err)
	}
}
