package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"coral/internal/errs"
)

// file is one file of the corpus.
type file struct {
	from string // where the user has it
	name string // in the work directory's corpus: NNNN/its name, so that names sort in the order of storing
	size int64
}

// found is a file with the key it is ordered by.
type found struct {
	file
	key string
}

// collect returns the files below paths, in the order in which they are to be stored: base first, then by path with numbers compared as numbers; with keepOrder,
// the paths in the order given and only the files of each directory by name. include are globs for the files' names; none means all.
func collect(o *Options) ([]file, error) {
	var list []found
	if o.Base != "" {
		base, err := walk(o.Base, o.Include)
		if err != nil {
			return nil, err
		}
		list = base
	}
	first := len(list)
	for _, p := range o.Paths {
		more, err := walk(p, o.Include)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if !o.KeepOrder {
		slices.SortStableFunc(list[first:], func(a, b found) int { return byDirectory(a.key, b.key) })
	}
	var files []file
	seen := map[string]bool{}
	for _, f := range list {
		if seen[f.key] {
			continue // base is often inside a directory that is named too
		}
		seen[f.key] = true
		f.name = path.Join(fmt.Sprintf("%04d", len(files)), filepath.Base(f.from))
		files = append(files, f.file)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no files there to store: %w", errs.NotFound)
	}
	return files, nil
}

// walk returns the regular files at or below p, by name. Links to files count as files, since the Hugging Face cache is made of them;
// links to directories, and the insides of .git and .coral, are passed over.
func walk(p string, include []string) ([]found, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(abs) // an argument that is a link is followed
	if err != nil {
		return nil, err
	}
	var list []found
	err = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); at != root && (n == ".git" || n == ".coral") {
				return fs.SkipDir
			}
			return nil
		}
		if !matches(include, d.Name()) {
			return nil
		}
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a dangling link
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		real, err := filepath.EvalSymlinks(at)
		if err != nil {
			return err
		}
		list = append(list, found{file{from: real, size: info.Size()}, filepath.ToSlash(abs + strings.TrimPrefix(at, root))})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b found) int { return byDirectory(a.key, b.key) })
	return list, nil
}

func matches(globs []string, name string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, name)
		return err == nil && ok
	})
}

// stage copies the files into dir. Reflinks are used where the file system has them. It sets the sizes to what was copied.
func stage(ctx context.Context, dir string, files []file, progress func(done int64)) error {
	done := int64(0)
	for i := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := copyFile(filepath.Join(dir, files[i].name), files[i].from)
		if err != nil {
			return err
		}
		files[i].size = n
		done += n
		progress(done)
	}
	return nil
}

func copyFile(to, from string) (n int64, err error) {
	src, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil {
		return 0, err
	}
	dst, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(dst, src)
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	return n, err
}

func totalSize(files []file) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

// treeSize returns the bytes of all files at or below p.
func treeSize(p string) (n int64, err error) {
	err = filepath.WalkDir(p, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
