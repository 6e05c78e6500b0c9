package fs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// lazyGrace is how long a lazy unmount waits for the last file to be closed before it closes our side of the rest.
const lazyGrace = time.Second

// Unmount detaches the mount and waits until everything of it has ended. While files are open it is errs.Busy, unless
// lazy: then the mountpoint is free at once, and files still open after a second fail with errors, except those that the
// kernel reads by itself. A mount that is gone already is no error.
func (m *Mount) Unmount(lazy bool) error {
	select {
	case <-m.gone:
		return nil
	default:
	}
	m.notify.disarm() // a notification sent to a mount that goes away can wedge (research/fuse.md §1.3)
	if err := m.detach(lazy); err != nil {
		m.notify.arm()
		return err
	}
	if !lazy {
		<-m.gone
		return nil
	}
	select {
	case <-m.gone:
	case <-time.After(lazyGrace):
		m.end()
	}
	return nil
}

func (m *Mount) detach(lazy bool) error {
	err := unmount(m.opts.Mountpoint, lazy)
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOENT):
		return nil // somebody unmounted it: serve is ending
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("unmount %s: files are open in it: %w", m.opts.Mountpoint, errs.Busy)
	case err != nil:
		return fmt.Errorf("unmount %s: %w", m.opts.Mountpoint, err)
	}
	return nil
}

// unmount detaches what is mounted on point: by umount2 as root, else by fusermount3.
func unmount(point string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(point, flags)
	}
	bin, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u", point}
	if lazy {
		args = []string{"-u", "-z", point}
	}
	out, err := exec.Command(bin, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil:
		return nil
	case strings.Contains(text, "busy"):
		return syscall.EBUSY
	case strings.Contains(text, "not found") || strings.Contains(text, "not mounted"):
		return syscall.EINVAL
	}
	return fmt.Errorf("%s: %w", text, err)
}

// fusermount finds the program that mounts and unmounts for who is not root.
func fusermount() (string, error) {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		bin, err = exec.LookPath("fusermount")
	}
	if err != nil {
		return "", fmt.Errorf("neither root nor fusermount3 (package fuse3): %w", errs.Unsupported)
	}
	return bin, nil
}

// readaheadKB is what /sys/class/bdi/…/read_ahead_kb is set to: one request.
const readaheadKB = maxRequest >> 10

// setReadahead raises the read-ahead of a device ("0:39").
func setReadahead(dev string) error {
	return os.WriteFile(filepath.Join("/sys/class/bdi", dev, "read_ahead_kb"), strconv.AppendInt(nil, readaheadKB, 10), 0)
}

// device returns the device ("0:39") of what is mounted on point, without touching the mount.
func device(point string) (dev string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// 36 35 98:0 /root /mount/point options … - type source options
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && unescapeMount(fields[4]) == point {
			dev = fields[2] // the last one is on top
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if dev == "" {
		return "", fmt.Errorf("%s is not in /proc/self/mountinfo: %w", point, errs.NotFound)
	}
	return dev, nil
}

// unescapeMount undoes the octal escapes (\040) of paths in mountinfo.
func unescapeMount(s string) string {
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

// writable says whether the disk of dir can be written to.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }
