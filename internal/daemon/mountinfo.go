package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// fsType is the type that the kernel shows for our mounts: "fuse." and the name fs gives.
const fsType = "fuse.coral"

// mountEntry is one line of mountinfo.
type mountEntry struct {
	ID     int
	Dev    string // major:minor
	Point  string
	Type   string
	Source string // of ours: the directory that holds .coral
}

// readMounts reads the mounts that this process sees, the upper ones last. It touches none of them.
func readMounts() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	return parseMounts(f)
}

// parseMounts reads lines of the form (proc(5)):
//
//	36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/root rw
func parseMounts(r io.Reader) ([]mountEntry, error) {
	var out []mountEntry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		head, tail, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(head), strings.Fields(tail)
		if !ok || len(left) < 6 || len(right) < 2 {
			continue // not a line of this kernel's: nothing of ours
		}
		id, err := strconv.Atoi(left[0])
		if err != nil {
			continue
		}
		out = append(out, mountEntry{ID: id, Dev: left[2], Point: unescape(left[4]), Type: right[0], Source: unescape(right[1])})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return out, nil
}

// unescape undoes the octal escapes of blanks and backslashes in the mount table.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountedAt returns what is mounted at exactly point, on top; nil if nothing is.
func mountedAt(point string) (*mountEntry, error) {
	list, err := readMounts()
	if err != nil {
		return nil, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Point == point {
			return &list[i], nil
		}
	}
	return nil, nil
}

// dead reports whether a mount's daemon is gone. It touches the mount: never call it for one of this process.
func dead(point string) bool {
	var st unix.Statfs_t // never answered from the kernel's caches, unlike stat, which stays good for a timeout after the daemon's death
	err := unix.Statfs(point, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// fusermount finds the setuid helper that mounts and unmounts for ordinary users.
func fusermount() (string, error) {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		bin, err = exec.LookPath("fusermount")
	}
	return bin, err
}

// detach unmounts without help of the mount's daemon: by umount2 as root, else by fusermount.
func detach(point string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		if err := unix.Unmount(point, flags); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
		return nil
	}
	bin, err := fusermount()
	if err != nil {
		return fmt.Errorf("unmount %s: neither root nor fusermount3 in $PATH: %w", point, errs.Permission)
	}
	args := []string{"-u", "--", point}
	if lazy {
		args = []string{"-u", "-z", "--", point}
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(out))
		if strings.Contains(text, "busy") {
			return fmt.Errorf("unmount %s: %w", point, errs.Busy)
		}
		return fmt.Errorf("unmount %s: %s: %w", point, text, err)
	}
	return nil
}
