package suites

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// calls returns what the model does at random. Each draws its arguments, then does one call on both sides.
func (m *model) calls() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"mkdir": m.mkdir, "write": m.write, "write2": m.write, "patch": m.patch, "truncate": m.truncate, "unlink": m.unlink, "rmdir": m.rmdir,
		"rename": m.rename, "rename2": m.rename, "link": m.link, "symlink": m.symlink, "mknod": m.mknod, "chmod": m.chmod, "chown": m.chown,
		"utimes": m.utimes, "setxattr": m.setxattr, "removexattr": m.removexattr, "tmpfile": m.tmpfile,
		"open": m.openFile, "use": m.use, "use2": m.use, "use3": m.use, "close": m.closeFile,
	}
}

// path draws a path of one to three names, of few, so that they meet.
func path(t *rapid.T, label string) string {
	names := rapid.SampledFrom([]string{"a", "b", "c", "\xff\xfe"})
	parts := make([]string, rapid.SampledFrom([]int{1, 1, 1, 2, 2, 3}).Draw(t, label+" depth"))
	for i := range parts {
		parts[i] = names.Draw(t, label)
	}
	return strings.Join(parts, "/")
}

func content(t *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 100, 4096, 5000, 70_000, 300_000}).Draw(t, "size")
	seed := rapid.Uint64Range(0, 4).Draw(t, "content")
	if seed == 0 {
		return make([]byte, n)
	}
	return noise(seed, n)
}

func offset(t *rapid.T, label string) int64 {
	return rapid.SampledFrom([]int64{0, 1, 511, 4096, 65_536, 100_000, 1 << 20}).Draw(t, label)
}

// at does something to the file at a path, opened with flags, if it is a regular one.
func at(root, path string, flags int, fn func(fd int) error) (string, error) {
	fd, err := unix.Open(root+"/"+path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "not a file", err
	}
	return "", fn(fd)
}

func writeAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func (m *model) mkdir(t *rapid.T) {
	p := path(t, "path")
	m.both(t, "mkdir "+p, func(root string) (string, error) { return "", unix.Mkdir(root+"/"+p, 0o755) })
}

func (m *model) write(t *rapid.T) {
	p, b := path(t, "path"), content(t)
	flags := unix.O_WRONLY | unix.O_CREAT | rapid.SampledFrom([]int{unix.O_TRUNC, unix.O_TRUNC, unix.O_EXCL, 0}).Draw(t, "flags")
	m.both(t, "write "+p, func(root string) (string, error) {
		return at(root, p, flags, func(fd int) error { return writeAll(fd, b, 0) })
	})
}

func (m *model) patch(t *rapid.T) {
	p, b, off := path(t, "path"), content(t), offset(t, "offset")
	flags := rapid.SampledFrom([]int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_APPEND}).Draw(t, "flags")
	m.both(t, "patch "+p, func(root string) (string, error) {
		return at(root, p, flags, func(fd int) error { return writeAll(fd, b, off) })
	})
}

func (m *model) truncate(t *rapid.T) {
	p, n := path(t, "path"), offset(t, "length")
	m.both(t, "truncate "+p, func(root string) (string, error) { return "", unix.Truncate(root+"/"+p, n) })
}

func (m *model) unlink(t *rapid.T) {
	p := path(t, "path")
	m.both(t, "unlink "+p, func(root string) (string, error) { return "", unix.Unlink(root + "/" + p) })
}

func (m *model) rmdir(t *rapid.T) {
	p := path(t, "path")
	m.both(t, "rmdir "+p, func(root string) (string, error) { return "", unix.Rmdir(root + "/" + p) })
}

func (m *model) rename(t *rapid.T) {
	p, q := path(t, "from"), path(t, "to")
	flags := rapid.SampledFrom([]uint{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}).Draw(t, "flags")
	m.both(t, fmt.Sprintf("rename %s to %s, flags %d", p, q, flags), func(root string) (string, error) {
		return "", unix.Renameat2(unix.AT_FDCWD, root+"/"+p, unix.AT_FDCWD, root+"/"+q, flags)
	})
}

func (m *model) link(t *rapid.T) {
	p, q := path(t, "from"), path(t, "to")
	m.both(t, fmt.Sprintf("link %s to %s", p, q), func(root string) (string, error) { return "", unix.Link(root+"/"+p, root+"/"+q) })
}

func (m *model) symlink(t *rapid.T) {
	p, to := path(t, "path"), path(t, "target")
	m.both(t, "symlink "+p, func(root string) (string, error) { return "", unix.Symlink(to, root+"/"+p) })
}

func (m *model) mknod(t *rapid.T) {
	p, kind := path(t, "path"), rapid.SampledFrom([]uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG}).Draw(t, "kind")
	m.both(t, "mknod "+p, func(root string) (string, error) { return "", unix.Mknod(root+"/"+p, kind|0o640, 0) })
}

func (m *model) chmod(t *rapid.T) {
	p, mode := path(t, "path"), rapid.SampledFrom([]uint32{0o644, 0o600, 0o755, 0o1777, 0o700}).Draw(t, "mode")
	m.both(t, "chmod "+p, func(root string) (string, error) { return "", unix.Chmod(root+"/"+p, mode) })
}

func (m *model) chown(t *rapid.T) {
	if os.Getuid() != 0 {
		return
	}
	p, uid := path(t, "path"), rapid.IntRange(0, 3).Draw(t, "uid")
	m.both(t, "chown "+p, func(root string) (string, error) { return "", unix.Lchown(root+"/"+p, uid, -1) })
}

func (m *model) utimes(t *rapid.T) {
	p, sec := path(t, "path"), rapid.Int64Range(0, 1<<31).Draw(t, "time")
	at := unix.NsecToTimespec(time.Unix(sec, 123_456_789).UnixNano())
	m.both(t, "utimes "+p, func(root string) (string, error) {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, root+"/"+p, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return "", err
		}
		var st unix.Stat_t
		err := unix.Lstat(root+"/"+p, &st)
		return fmt.Sprint(st.Mtim), err
	})
}

func (m *model) setxattr(t *rapid.T) {
	p, name := path(t, "path"), rapid.SampledFrom([]string{"user.x", "user.y"}).Draw(t, "name")
	value := rapid.SampledFrom([]string{"", "v", "a longer value"}).Draw(t, "value")
	flags := rapid.SampledFrom([]int{0, unix.XATTR_CREATE, unix.XATTR_REPLACE}).Draw(t, "flags")
	m.both(t, "setxattr "+p, func(root string) (string, error) { return "", unix.Setxattr(root+"/"+p, name, []byte(value), flags) })
}

func (m *model) removexattr(t *rapid.T) {
	p, name := path(t, "path"), rapid.SampledFrom([]string{"user.x", "user.y"}).Draw(t, "name")
	m.both(t, "removexattr "+p, func(root string) (string, error) { return "", unix.Removexattr(root+"/"+p, name) })
}

// tmpfile makes a file without a name, and gives it one.
func (m *model) tmpfile(t *rapid.T) {
	d, q, b := path(t, "dir"), path(t, "name"), content(t)
	m.both(t, "tmpfile in "+d+" as "+q, func(root string) (string, error) {
		return at(root, d, unix.O_TMPFILE|unix.O_RDWR, func(fd int) error {
			if err := writeAll(fd, b, 0); err != nil {
				return err
			}
			return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, root+"/"+q, unix.AT_SYMLINK_FOLLOW)
		})
	})
}

// openFile opens a file on both sides and keeps it open.
func (m *model) openFile(t *rapid.T) {
	if len(m.open) >= 4 {
		return
	}
	p := path(t, "path")
	flags := rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC}).Draw(t, "flags")
	fds := map[string]int{}
	ok := m.both(t, fmt.Sprintf("open %s, flags %#x", p, flags), func(root string) (string, error) {
		fd, err := unix.Open(root+"/"+p, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
		if err == nil {
			fds[root] = fd
		}
		return "", err
	})
	if !ok {
		return
	}
	pr := pair{live: fds[m.live], ref: fds[m.ref], path: p}
	var st unix.Stat_t
	if err := unix.Fstat(pr.ref, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(pr.live)
		unix.Close(pr.ref)
		return
	}
	m.open = append(m.open, pr)
}

func (m *model) closeFile(t *rapid.T) {
	if len(m.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(t, "handle")
	unix.Close(m.open[i].live)
	unix.Close(m.open[i].ref)
	m.open = append(m.open[:i], m.open[i+1:]...)
}

// use does something with an open file.
func (m *model) use(t *rapid.T) {
	if len(m.open) == 0 {
		return
	}
	p := m.open[rapid.IntRange(0, len(m.open)-1).Draw(t, "handle")]
	what := rapid.SampledFrom([]string{"pwrite", "pread", "ftruncate", "mmap", "fsync", "allocate", "keep", "punch", "zero", "copy"}).Draw(t, "use")
	off, n, b := offset(t, "offset"), offset(t, "length"), content(t)
	m.both(t, fmt.Sprintf("%s on %s", what, p.path), func(root string) (string, error) {
		fd := p.live
		if root == m.ref {
			fd = p.ref
		}
		return useFile(fd, what, off, n, b)
	})
}

func useFile(fd int, what string, off, n int64, b []byte) (string, error) {
	switch what {
	case "pwrite":
		return "", writeAll(fd, b, off)
	case "pread":
		buf := make([]byte, n)
		got, err := unix.Pread(fd, buf, off)
		return string(buf[:max(got, 0)]), err
	case "ftruncate":
		return "", unix.Ftruncate(fd, n)
	case "mmap":
		return mapped(fd, b)
	case "fsync":
		return "", unix.Fsync(fd)
	case "copy":
		got, err := unix.CopyFileRange(fd, &off, fd, &n, len(b), 0)
		return fmt.Sprint(got), err
	}
	mode := map[string]uint32{"allocate": 0, "keep": unix.FALLOC_FL_KEEP_SIZE, "punch": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		"zero": unix.FALLOC_FL_ZERO_RANGE}[what]
	return "", unix.Fallocate(fd, mode, off, n)
}

// mapped writes to the first bytes of a file through a shared mapping, and reads all of it through that.
func mapped(fd int, b []byte) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return "", err
	}
	p, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	copy(p, b)
	out := string(p)
	if err := unix.Msync(p, unix.MS_SYNC); err != nil {
		return "", err
	}
	return out, unix.Munmap(p)
}
