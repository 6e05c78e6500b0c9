package cache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"coral/internal/oid"
)

// bootName is the marker: the id of the boot in which the files beside it were written.
const bootName = "boot"

const maxBootID = 128

// checkBoot says whether the files in dir were written since the machine was booted, so that no power cut can have torn
// them. If not, or if that cannot be told, it puts the marker of this boot in place only after the caller's files
// are gone: it removes them itself.
func checkBoot(dir string) (trusted bool, err error) {
	now := bootID()
	was, err := os.ReadFile(filepath.Join(dir, bootName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read boot marker: %w", err)
	}
	if now != "" && len(was) <= maxBootID && strings.TrimSpace(string(was)) == now {
		return true, nil
	}
	if err := removeAll(dir); err != nil {
		return false, err
	}
	if now == "" {
		return false, nil
	}
	if err := os.WriteFile(filepath.Join(dir, bootName), []byte(now+"\n"), 0o600); err != nil {
		return false, fmt.Errorf("write boot marker: %w", err)
	}
	return false, nil
}

// bootID identifies this boot of the kernel; "" if it is unknown.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > maxBootID {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// removeAll removes the cache's own files from dir, and nothing else.
func removeAll(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list cache: %w", err)
	}
	for _, d := range names {
		_, perr := oid.Parse(d.Name())
		if perr != nil && !isTemporary(d.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, d.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear cache: %w", err)
		}
	}
	return nil
}

// load fills the table from the directory, oldest use first, and removes what a killed process left half-written.
func (c *Files) load(trusted bool) error {
	if !trusted {
		return nil
	}
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("list cache: %w", err)
	}
	type found struct {
		entry
		used time.Time
	}
	var all []found
	for _, d := range names {
		if isTemporary(d.Name()) {
			os.Remove(filepath.Join(c.dir, d.Name()))
			continue
		}
		id, err := oid.Parse(d.Name())
		if err != nil || d.Name() != id.String() {
			continue
		}
		st, err := d.Info()
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		all = append(all, found{entry{id, st.Size()}, st.ModTime()})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.id.String(), b.id.String()))
	})
	for i := range all {
		c.entries[all[i].id] = c.lru.PushFront(&all[i].entry)
		c.used += all[i].size
	}
	return nil
}
