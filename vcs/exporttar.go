package vcs

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// ArchiveName reports whether ExportArchive knows what to write by the name of a file: .tar, .tar.gz, .tgz, .tar.zst or .tzst.
func ArchiveName(name string) bool {
	_, ok := compression(name)
	return ok
}

// compression of an archive of this name: "", "gz" or "zst".
func compression(name string) (string, bool) {
	for _, e := range []struct{ ext, how string }{{".tar", ""}, {".tar.gz", "gz"}, {".tgz", "gz"}, {".tar.zst", "zst"}, {".tzst", "zst"}} {
		if strings.HasSuffix(name, e.ext) && filepath.Base(name) != e.ext {
			return e.how, true
		}
	}
	return "", false
}

// ExportArchive writes the tree of a commit (or the part under path) as the archive dst, which must not be there yet, and appears whole or not at all. Its
// bytes depend only on the commit, path and kind of archive: entries in order of the trees, owner 0, times of files to the nanosecond, those of directories the
// commit's. Every file is verified. A path that is no directory is the only entry.
func (r *Repo) ExportArchive(ctx context.Context, commit oid.ID, path, dst string, progress func(files int, bytes int64)) error {
	if err := r.exportArchive(ctx, commit, path, dst, progress); err != nil {
		return fmt.Errorf("export to %s: %w", dst, err)
	}
	return nil
}

func (r *Repo) exportArchive(ctx context.Context, commit oid.ID, from, dst string, progress func(int, int64)) (err error) {
	if _, err := os.Lstat(dst); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = errs.Exist
		}
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(dst), exportTemp+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	how, _ := compression(dst)
	err = r.writeArchive(ctx, commit, from, how, f, progress)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Link(f.Name(), dst); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("made meanwhile: %w", errs.Exist)
	} else if err != nil { // a file system without hard links
		return os.Rename(f.Name(), dst)
	}
	return os.Remove(f.Name())
}

// writeArchive writes the archive to w.
func (r *Repo) writeArchive(ctx context.Context, commit oid.ID, from, how string, w io.Writer, progress func(int, int64)) error {
	c, err := r.Objects.Commit(ctx, commit)
	if err != nil {
		return err
	}
	top, err := r.Lookup(ctx, c.Tree, from)
	if err != nil {
		return err
	}
	out := io.WriteCloser(nopCloser{w})
	switch how {
	case "gz":
		out = gzip.NewWriter(w) // without name and time
	case "zst":
		// One encoder, so that how it divides the work cannot show in the bytes.
		if out, err = zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); err != nil {
			return err
		}
	}
	a := &archiver{r: r, w: tar.NewWriter(out), time: c.Time, buf: make([]byte, 1<<20), report: progress}
	if top.Kind == object.Dir {
		err = eachEntry(ctx, a.r.tree, top.ID, "", 0, a.entry)
	} else {
		err = a.entry(ctx, top, "", 0)
	}
	if err == nil {
		err = a.w.Close()
	}
	if cerr := out.Close(); err == nil { // also ends what an encoder has running
		err = cerr
	}
	return err
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// archiver is one archive being written.
type archiver struct {
	r      *Repo
	w      *tar.Writer
	time   time.Time // of directories
	buf    []byte
	n      int
	bytes  int64
	report func(files int, bytes int64)
}

func (a *archiver) entry(ctx context.Context, e object.Entry, at string, depth int) error {
	p := join(at, e.Name)
	h := &tar.Header{Format: tar.FormatPAX, Name: p, Mode: int64(e.Mode & 0o7777), ModTime: e.MTime}
	switch e.Kind {
	case object.Dir:
		h.Typeflag, h.Name, h.ModTime = tar.TypeDir, p+"/", a.time
	case object.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	}
	if h.ModTime.IsZero() {
		h.ModTime = a.time
	}
	if err := a.w.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	if e.Kind == object.Dir {
		return eachEntry(ctx, a.r.tree, e.ID, p, depth+1, a.entry)
	}
	if e.Kind == object.File {
		if err := a.file(ctx, e); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	a.n++
	a.tell(0)
	return nil
}

// file writes the bytes of a file, and compares them with the hash that was recorded when it was stored.
func (a *archiver) file(ctx context.Context, e object.Entry) error {
	src, err := a.r.Content.Open(ctx, e.ID)
	if err != nil {
		return err
	}
	if src.Size() != e.Size {
		return &errs.CorruptError{Where: "manifest " + e.ID.Short(), Offset: -1, Detail: fmt.Sprintf("%d bytes, the directory says %d", src.Size(), e.Size)}
	}
	h := oid.NewHasher()
	for off := int64(0); off < e.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := src.ReadAt(ctx, a.buf[:min(int64(len(a.buf)), e.Size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		_, _ = h.Write(a.buf[:n])
		if _, err := a.w.Write(a.buf[:n]); err != nil {
			return err
		}
		off += int64(n)
		a.tell(int64(n))
	}
	if got := h.Sum(); got != src.Manifest().Hash {
		return &errs.CorruptError{Where: "manifest " + e.ID.Short(), Offset: -1, Detail: fmt.Sprintf("its content has hash %s, not %s", got.Short(), src.Manifest().Hash.Short())}
	}
	return nil
}

func (a *archiver) tell(n int64) {
	a.bytes += n
	if a.report != nil {
		a.report(a.n, a.bytes)
	}
}
