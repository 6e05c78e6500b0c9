package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
	"coral/vcs/convert"
)

// outputs are files that appear together when all of them are written, in the order of create.
type outputs struct {
	force bool
	files []output
}

type output struct{ temp, path string }

func newOutputs(force bool) *outputs { return &outputs{force: force} }

// free refuses a path that is taken, unless it may be replaced.
func (o *outputs) free(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s: %w", path, errs.IsDir)
	case !o.force:
		return fmt.Errorf("%s: %w; give --force to replace it", path, errs.Exist)
	}
	return nil
}

// create writes a file under a temporary name in the directory of path and returns its size. It is durable then.
func (o *outputs) create(path string, write func(*os.File) error) (int64, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+tail(filepath.Base(path), 200)+".*.tmp")
	if err != nil {
		return 0, err
	}
	o.files = append(o.files, output{f.Name(), path})
	err = write(f)
	var n int64
	if err == nil {
		n, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = f.Chmod(0o666 &^ umask())
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return n, nil
}

// tail returns the last n bytes of s at most.
func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// umask returns that of the process, as /proc tells it: umask(2) could only set it.
func umask() os.FileMode {
	b, err := os.ReadFile("/proc/self/status")
	if err == nil {
		if _, rest, ok := bytes.Cut(b, []byte("\nUmask:")); ok {
			var m uint32
			if _, err := fmt.Sscanf(string(rest), "%o", &m); err == nil {
				return os.FileMode(m & 0o777)
			}
		}
	}
	return 0o022
}

// commit gives the files their names.
func (o *outputs) commit() error {
	for len(o.files) > 0 {
		f := o.files[0]
		if err := o.rename(f); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
		o.files = o.files[1:]
		if len(o.files) == 0 || filepath.Dir(o.files[0].path) != filepath.Dir(f.path) {
			if err := syncDir(filepath.Dir(f.path)); err != nil {
				return fmt.Errorf("write %s: %w", f.path, err)
			}
		}
	}
	return nil
}

func (o *outputs) rename(f output) error {
	if !o.force {
		err := unix.Renameat2(unix.AT_FDCWD, f.temp, unix.AT_FDCWD, f.path, unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, unix.EEXIST):
			return fmt.Errorf("somebody else made it meanwhile: %w", errs.Exist)
		case !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS):
			return err
		}
		if err := o.free(f.path); err != nil { // a file system that cannot do both at once
			return err
		}
	}
	return os.Rename(f.temp, f.path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) {
		err = nil // not every file system can
	}
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// discard removes what was not committed.
func (o *outputs) discard() error {
	var first error
	for _, f := range o.files {
		if err := os.Remove(f.temp); err != nil && first == nil {
			first = err
		}
	}
	o.files = nil
	return first
}

type bufferedWriter = *bufio.Writer

// writeBuffered calls fn with a buffer before f: torch files have small parts between the tensors.
func writeBuffered(f *os.File, fn func(bufferedWriter) error) error {
	w := bufio.NewWriterSize(f, 1<<20)
	if err := fn(w); err != nil {
		return err
	}
	return w.Flush()
}

// writeIndex writes model.safetensors.index.json as transformers does: json.dumps(…, indent=2, sort_keys=True) and a newline.
func writeIndex(f *os.File, plan *convert.Plan, dst string) error {
	w := bufio.NewWriter(f)
	total := int64(0)
	for _, o := range plan.Outputs {
		total += o.Bytes
	}
	fmt.Fprintf(w, "{\n  \"metadata\": {\n    \"total_size\": %d\n  },\n  \"weight_map\": {", total)
	sep := "\n"
	var err error
	plan.Names(func(name string, o *convert.Output) {
		key, kerr := asciiJSON(name)
		value, verr := asciiJSON(filepath.Base(shardPath(dst, o)))
		if err == nil {
			err = errors.Join(kerr, verr)
		}
		fmt.Fprintf(w, "%s    %s: %s", sep, key, value)
		sep = ",\n"
	})
	if err != nil {
		return err
	}
	fmt.Fprint(w, "\n  }\n}\n")
	return w.Flush() // which has the first error of the writes before
}

// asciiJSON returns s as JSON in ASCII, as Python writes it.
func asciiJSON(s string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, "\\u%04x", r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, "\\u%04x\\u%04x", 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out.String(), nil
}
