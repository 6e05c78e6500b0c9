package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"coral/internal/errs"
)

const (
	repoDir  = ".coral"
	repoFile = "repo.json" // what makes a directory a repository's .coral
	linkFile = "repo"      // what a mount has in its .coral instead: the repository's path, as text
)

// ErrNoRepo is FindRepo's answer where there is none. It is errs.NotFound.
var ErrNoRepo = fmt.Errorf("no repository: %w", errs.NotFound)

// noRepo says where there is none.
type noRepo struct{ where string }

func (e *noRepo) Error() string { return "no repository in " + e.where }
func (e *noRepo) Unwrap() error { return ErrNoRepo }

// FindRepo returns the .coral directory of the repository that path means: path is the directory that holds it, or
// .coral itself, or a mountpoint; if upward, or any directory below one of these. errs.NotFound says where it looked.
func FindRepo(path string, upward bool) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	if isFile(filepath.Join(abs, repoFile)) && filepath.Base(abs) == repoDir {
		return clean(abs)
	}
	for dir := abs; ; dir = filepath.Dir(dir) {
		found, err := repoAt(dir)
		if found != "" || err != nil {
			return found, err
		}
		if !upward || dir == filepath.Dir(dir) {
			break
		}
	}
	if upward {
		return "", &noRepo{abs + " or above"}
	}
	return "", &noRepo{abs}
}

// repoAt returns the .coral directory that dir, exactly, stands for, or "".
func repoAt(dir string) (string, error) {
	d := filepath.Join(dir, repoDir)
	if isFile(filepath.Join(d, repoFile)) {
		return clean(d)
	}
	to, err := readLink(filepath.Join(d, linkFile))
	if err != nil || to == "" {
		return "", err
	}
	for _, c := range []string{to, filepath.Join(to, repoDir)} {
		if isFile(filepath.Join(c, repoFile)) {
			return clean(c)
		}
	}
	return "", fmt.Errorf("repository %s, which is mounted at %s: moved or deleted: %w", to, dir, errs.NotFound)
}

// readLink reads the path in a mount's .coral/repo: "" if there is no such file.
func readLink(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			return "", nil
		}
		return "", fmt.Errorf("find the repository: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	to := strings.TrimRight(string(b), "\n")
	if !filepath.IsAbs(to) {
		return "", nil // somebody's file of that name
	}
	return filepath.Clean(to), nil
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// clean resolves symbolic links, so that one repository has one name in lock files and mount tables.
func clean(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return real, nil
}
