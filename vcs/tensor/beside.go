package tensor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"coral/delta/format/detect"
)

// Beside opens another file of the directory that a file lies in, by its name. close ends it. What is not there is fs.ErrNotExist or errs.NotFound.
type Beside func(name string) (src Source, size int64, close func() error, err error)

// ParseBeside is Parse for a file of the given name (its last component), whose tensors another file beside it may tell: the index of a TensorFlow bundle, the model of
// ONNX external data. One that is missing, or does not fit, leaves what the file says of itself.
func ParseBeside(ctx context.Context, src Source, size int64, name string, beside Beside) (*File, error) {
	companion := detect.Companion(name)
	if companion == "" || beside == nil || size == 0 {
		return Parse(ctx, src, size)
	}
	c, n, done, err := beside(companion)
	if err != nil {
		return Parse(ctx, src, size)
	}
	l, err := detect.ParseData(name, size, readerAt{ctx, c}, n)
	if cerr := done(); err == nil {
		err = cerr
	}
	if err != nil {
		f, perr := Parse(ctx, src, size)
		if perr != nil {
			perr = errors.Join(err, perr) // why its companion does not help
		}
		return f, perr
	}
	return fromLayout(l, src, size), nil
}

// OnDisk returns the Beside of a file of the disk.
func OnDisk(path string) Beside {
	return func(name string) (Source, int64, func() error, error) {
		f, err := os.Open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, 0, nil, err
		}
		fi, err := f.Stat()
		if err == nil && !fi.Mode().IsRegular() {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, 0, nil, errors.Join(err, f.Close())
		}
		return Plain(f), fi.Size(), f.Close, nil
	}
}

// MayHaveData reports whether DataOf may find something for a file of this name.
func MayHaveData(name string) bool {
	ext := path.Ext(name)
	return ext == ".onnx" || ext == ".index"
}

// DataOf returns those of the files of a directory, sorted, that hold tensors of the file of the given name: ONNX external data, the shards of a TensorFlow bundle.
func DataOf(name string, names []string) (out []string) {
	if !MayHaveData(name) {
		return nil
	}
	for _, other := range names {
		if detect.Companion(other) == name {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}
