package worktree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bootName is a file in the spool directory: the id of the boot in which the spool was last open for writing.
const bootName = "boot"

const maxBootID = 128

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
