package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/internal/service"
)

// ResolveMountpoint makes path absolute with symbolic links resolved, also where the mountpoint does not exist yet or
// is a mount whose daemon is gone.
func ResolveMountpoint(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", path, err)
	}
	if at, err := mountedAt(abs); err == nil && at != nil {
		return abs, nil // the mount table has real paths only; and a dead mount cannot be looked at
	}
	real, err := filepath.EvalSymlinks(abs)
	if err == nil {
		return real, nil
	}
	if abs == "/" || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTCONN) {
		return "", fmt.Errorf("mountpoint %s: %w", path, err)
	}
	dir, err := ResolveMountpoint(filepath.Dir(abs))
	return filepath.Join(dir, filepath.Base(abs)), err
}

// prepareMountpoint checks that point, a real path, can be mounted on, makes it if it is missing, and takes it over from a
// daemon that was killed. own are the mounts of this process: what is in them is refused by name, before anything is touched. made says that the
// directory was not there before.
func prepareMountpoint(point, dir string, own []service.MountInfo, logger *slog.Logger) (made bool, err error) {
	if within(point, dir) {
		return false, fmt.Errorf("mountpoint %s: inside the repository's own files: %w", point, errs.Invalid)
	}
	for _, m := range own {
		if m.Mountpoint == point {
			return false, fmt.Errorf("mountpoint %s: process %d has this repository mounted there already: %w", point, os.Getpid(), errs.Busy)
		}
		if within(point, m.Mountpoint) {
			return false, fmt.Errorf("mountpoint %s: inside the mount at %s: %w", point, m.Mountpoint, errs.Invalid)
		}
	}
	if err := takeOver(point, logger); err != nil {
		return false, err
	}
	_, err = os.Lstat(point)
	made = errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(point, 0o755); err != nil {
		return false, fmt.Errorf("mountpoint: %w", err)
	}
	f, err := os.Open(point)
	if err != nil {
		return false, fmt.Errorf("mountpoint: %w", err)
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); err == nil {
		return false, fmt.Errorf("mountpoint %s: %w", point, errs.NotEmpty)
	} else if !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("mountpoint: %w", err)
	}
	return made, nil
}

// takeOver lazily unmounts dead mounts of ours at point. Anything else that is mounted there is refused.
func takeOver(point string, logger *slog.Logger) error {
	for range 16 { // mounts may be stacked
		at, err := mountedAt(point)
		if err != nil || at == nil {
			return err
		}
		if at.Type != fsType || !dead(point) {
			return fmt.Errorf("mountpoint %s: %s is mounted there already (%s): %w", point, at.Source, at.Type, errs.Busy)
		}
		logger.Info("taking over the mount of a daemon that is gone", "path", point, "repo", at.Source)
		if err := detach(point, true); err != nil {
			return err
		}
	}
	return fmt.Errorf("mountpoint %s: something keeps being mounted there: %w", point, errs.Busy)
}

// dropStale lazily unmounts every dead mount of this repository, wherever it is. The caller holds the lock and has no mounts.
func dropStale(dir string, logger *slog.Logger) {
	list, err := readMounts()
	if err != nil {
		logger.Warn("look for stale mounts", "err", err)
		return
	}
	for _, m := range list {
		if m.Type != fsType || m.Source != filepath.Dir(dir) || !dead(m.Point) {
			continue
		}
		if err := detach(m.Point, true); err != nil {
			logger.Warn("stale mount", "path", m.Point, "err", err)
			continue
		}
		logger.Info("unmounted what a killed daemon left", "path", m.Point)
	}
}

// within reports whether path is dir or below it. Both are absolute and clean.
func within(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}
