package suites

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// listing describes a tree, a line for each name: kind, mode, owner, links, size, target, xattrs, content. Names of one inode show the name that comes first.
// With commit, only what a commit keeps is told.
func listing(t *rapid.T, root string, commit bool) string {
	var out []string
	first := map[uint64]string{}
	walk(t, root, func(rel, path string, st *unix.Stat_t) {
		kind := map[uint32]string{unix.S_IFDIR: "dir", unix.S_IFREG: "file", unix.S_IFLNK: "link"}[st.Mode&unix.S_IFMT]
		if kind == "" {
			if commit {
				return
			}
			kind = "special"
		}
		line := fmt.Sprintf("%s %q", kind, rel)
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			to, err := os.Readlink(path)
			line += fmt.Sprintf(" → %q %v", to, err)
		}
		if commit {
			if kind == "file" {
				line += fmt.Sprintf(" %o %d.%09d", st.Mode&0o555, st.Mtim.Sec, st.Mtim.Nsec)
			}
		} else {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			line += fmt.Sprintf(" %o %d:%d links %d of %q rdev %d", st.Mode, st.Uid, st.Gid, st.Nlink, first[st.Ino], st.Rdev)
			line += xattrs(path)
		}
		if kind == "file" {
			b, err := os.ReadFile(path)
			line += fmt.Sprintf(" %d bytes %x %v", st.Size, sha256.Sum256(b), err)
			if err == nil && int64(len(b)) != st.Size {
				line += fmt.Sprintf(" but read gave %d", len(b))
			}
		}
		out = append(out, line)
	})
	return strings.Join(out, "\n")
}

// xattrs describes the user's extended attributes of a path.
func xattrs(path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return fmt.Sprintf(" xattrs: %v", err)
	}
	var out string
	names := strings.Split(string(buf[:n]), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, "user.") {
			v := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, name, v)
			out += fmt.Sprintf(" %s=%q %v", name, v[:max(n, 0)], err)
		}
	}
	return out
}

// times are what must survive, in nanoseconds.
type times struct{ mtime, ctime int64 }

// stats returns the modification and change times of a tree.
func stats(t *rapid.T, root string) map[string]times {
	out := map[string]times{}
	walk(t, root, func(rel, _ string, st *unix.Stat_t) { out[rel] = times{st.Mtim.Nano(), st.Ctim.Nano()} })
	return out
}

func walk(t *rapid.T, root string, fn func(rel, path string, st *unix.Stat_t)) {
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if rel, _ := filepath.Rel(root, path); rel != "." {
			fn(rel, path, &st)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walk %s: %v", root, err)
	}
}
