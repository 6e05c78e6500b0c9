package worktree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// bootName is a file in the spool directory: the id of the boot in which the spool was last open for writing.
const bootName = "boot"

const maxBootID = 128

// asidePrefix begins the names of spool files that no journal refers to any more: <prefix><id>-<ns>.
const asidePrefix = "aside-"

// bootID identifies this boot of the kernel; "" if it is unknown.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > maxBootID {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// rebooted says whether the machine was booted since the spool was last open for writing, and so whether a power cut may lie between. A spool without
// a marker is new, or from before there were markers: its files are taken as they always were.
func (s *spool) rebooted() (bool, error) {
	was, err := os.ReadFile(filepath.Join(s.dir, bootName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read boot marker: %w", err)
	}
	now := bootID()
	return now != "" && strings.TrimSpace(string(was)) != now, nil
}

// markBoot writes the marker of this boot, durably: from now on spool files are made that a power cut may tear.
func (s *spool) markBoot() error {
	now := bootID()
	if was, err := os.ReadFile(filepath.Join(s.dir, bootName)); now == "" || err == nil && strings.TrimSpace(string(was)) == now {
		return nil
	}
	tmp := filepath.Join(s.dir, bootName+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(now + "\n")
		if err == nil {
			err = f.Sync()
		}
		err = errJoin(err, f.Close())
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.dir, bootName))
	}
	if err == nil {
		err = s.fd.Sync()
	}
	if err != nil {
		return fmt.Errorf("write boot marker: %w", err)
	}
	return nil
}

// putAside gives a spool file a name that no journal knows.
func (s *spool) putAside(id spoolID) error {
	err := unix.Renameat(s.dirfd, id.String(), s.dirfd, fmt.Sprintf("%s%s-%d", asidePrefix, id, clock()))
	if err != nil {
		return fmt.Errorf("put spool file %s aside: %w", id, err)
	}
	return nil
}

// aside returns the paths of the files that were put aside.
func (s *spool) aside() ([]string, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	var out []string
	for _, e := range names {
		if strings.HasPrefix(e.Name(), asidePrefix) {
			out = append(out, filepath.Join(s.dir, e.Name()))
		}
	}
	return out, nil
}
