package content

import (
	"context"
	"errors"
	"io"
	"path"

	"coral/delta/format"
	"coral/delta/format/detect"
	"coral/internal/errs"
	"coral/vcs/object"
)

// Beside is what a reader given to Ingest may also be: one that knows the other files of its directory. Some files do not tell what is
// in them, and another one does: the shards of a TensorFlow checkpoint, the external data of an ONNX model.
type Beside interface {
	// Beside opens the file of the given name in the same directory, as it is now. The caller calls release once it has read it. It may change
	// meanwhile: then the layout is wrong, which costs ratio and never bytes.
	Beside(ctx context.Context, name string) (r io.ReaderAt, size int64, release func() error, err error)
}

// companionLayout looks for tensors by the file's companion. It returns nil if there is none, or none that fits: then the file speaks for itself.
func (in *ingest) companionLayout(ctx context.Context) *format.Layout {
	name := path.Base(in.hint.Path)
	companion := detect.Companion(name)
	if companion == "" || in.beside == nil || in.size == 0 {
		return nil
	}
	r, size, release, err := in.beside.Beside(ctx, companion)
	if err != nil {
		if !errors.Is(err, errs.NotFound) {
			in.s.log.Debug("companion not read", "op", "ingest", "path", in.hint.Path, "companion", companion, "err", err)
		}
		return nil
	}
	l, err := detect.ParseData(name, in.size, r, size)
	if cerr := release(); err == nil {
		err = cerr
	}
	if err != nil {
		in.s.log.Debug("companion does not fit", "op", "ingest", "path", in.hint.Path, "companion", companion, "err", err)
		return nil
	}
	return l
}

// unchanged reports whether the path holds these very bytes already, of a file whose layout depends on another one. Then it keeps its manifest: else a
// companion that comes or goes would make a file that nobody touched a modified one.
func (in *ingest) unchanged(ctx context.Context, m *object.Manifest) bool {
	if in.hint.Prev.IsZero() || detect.Companion(path.Base(in.hint.Path)) == "" {
		return false
	}
	prev, err := in.s.objects.Manifest(ctx, in.hint.Prev)
	return err == nil && prev.Size == m.Size && prev.Hash == m.Hash
}
