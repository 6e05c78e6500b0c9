package worktree

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
)

// maxName is NAME_MAX: names of files and of extended attributes.
const maxName = 255

// checkName says whether name may be a directory entry.
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes: %w", len(name), errs.NameTooLong)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q: %w", name, errs.Invalid)
	}
	return nil
}

// join puts a directory's path ("" is the root) and a name together.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// splitPath cuts a path into its parent directory and last name.
func splitPath(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// escapeBranch returns the directory name of a branch under live/. Slashes and percent signs are escaped, and a leading dot, since
// names that begin with a dot are ours. One too long for a file name is cut and given its hash; the journal's header has the whole name.
func escapeBranch(branch string) string {
	s := strings.NewReplacer("%", "%25", "/", "%2F").Replace(branch)
	if strings.HasPrefix(s, ".") {
		s = "%2E" + s[1:]
	}
	if len(s) > 200 {
		s = fmt.Sprintf("%s%%~%016x", s[:150], xxhash.Sum64String(branch))
	}
	return s
}

// checkBranch bounds a branch's name; its grammar is vcs/ref's business.
func checkBranch(branch string) error {
	if branch == "" || len(branch) > maxBranch || strings.ContainsRune(branch, 0) {
		return fmt.Errorf("branch name %.40q: %w", branch, errs.Invalid)
	}
	return nil
}

// splitAll cuts a path into its names.
func splitAll(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}
