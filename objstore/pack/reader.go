package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/vfs"
	"coral/objstore"
)

// Reader reads one pack. Safe for concurrent use.
type Reader struct {
	f      vfs.File
	name   string
	number uint64
	salt   uint64
	header error // what is wrong with the file header, if the salt came from elsewhere
}

// Open opens pack n in dir. salt, if not nil, is the pack's salt as the index remembers it, for a pack whose header is damaged.
func Open(fs vfs.FS, dir string, n uint64, salt *uint64) (*Reader, error) {
	path := filepath.Join(dir, Name(n))
	f, err := fs.OpenFile(path, vfs.ReadOnly, 0)
	if err != nil {
		return nil, fmt.Errorf("open pack: %w", err)
	}
	r := &Reader{f: f, name: Name(n), number: n}
	if err := r.readHeader(salt); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Reader) readHeader(salt *uint64) error {
	var b [FileHeaderSize]byte
	if _, err := r.f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return fmt.Errorf("open pack %s: %w", r.name, err)
	}
	h, err := decodeFileHeader(b[:])
	if err == nil && h.number != r.number {
		err = fmt.Errorf("the header is that of pack %d: %w", h.number, errs.Corrupt)
	}
	if errors.Is(err, errs.Unsupported) {
		return fmt.Errorf("open pack %s: %w", r.name, err)
	}
	r.salt, r.header = h.salt, err
	if err == nil {
		return nil
	}
	if salt != nil {
		r.salt = *salt
		return nil
	}
	size, serr := r.f.Size()
	if serr != nil {
		return fmt.Errorf("open pack %s: %w", r.name, serr)
	}
	t, found, rerr := r.readTrailer(size)
	if rerr != nil {
		return rerr
	}
	if !found {
		return r.corrupt(0, "%v", err)
	}
	r.salt = t.salt
	return nil
}

// HeaderDamage says what is wrong with the file header, or is nil. The frames can be read all the same.
func (r *Reader) HeaderDamage() error { return r.header }

// Name returns the pack's file name.
func (r *Reader) Name() string { return r.name }

// Salt returns the pack's salt.
func (r *Reader) Salt() uint64 { return r.salt }

// Size returns the length of the file.
func (r *Reader) Size() (int64, error) { return r.f.Size() }

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

// corrupt returns an error that names the pack and the place.
func (r *Reader) corrupt(off int64, format string, args ...any) error {
	return &errs.CorruptError{Where: "pack " + r.name, Offset: off, Detail: fmt.Sprintf(format, args...)}
}

// readAt fills b from off; the end of the file inside b is corruption.
func (r *Reader) readAt(b []byte, off int64) error {
	n, err := r.f.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return r.corrupt(off, "the file ends %d bytes into %d", n, len(b))
	default:
		return fmt.Errorf("read pack %s at %d: %w", r.name, off, err)
	}
}

// ReadPayload fills p from offset off of the file. Nothing is verified.
func (r *Reader) ReadPayload(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.readAt(p, off)
}

// Prefetch says that n bytes from off are read soon.
func (r *Reader) Prefetch(off, n int64) {
	if f, ok := r.f.(vfs.Prefetcher); ok {
		f.Prefetch(off, n)
	}
}

// ReadFrame returns the payload of the frame that info describes, after comparing the frame's header with info and the
// payload with its checksum. The caller owns the payload.
func (r *Reader) ReadFrame(ctx context.Context, info objstore.Info) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	off := info.Offset - HeaderSize
	if off < FileHeaderSize || info.Stored < 0 || info.Stored > objstore.MaxPayload {
		return nil, r.corrupt(info.Offset, "the index gives %s %s a place that no frame can have", info.Kind, info.ID.Short())
	}
	buf := make([]byte, HeaderSize+info.Stored)
	if err := r.readAt(buf, off); err != nil {
		return nil, err
	}
	f, ok := decodeFrame(buf, r.salt, off)
	if !ok {
		return nil, r.corrupt(off, "no frame header for %s %s", info.Kind, info.ID.Short())
	}
	if f.Info(r.number, off) != info {
		return nil, r.corrupt(off, "frame of %s %s, the index has %s %s with other properties", f.Kind, f.ID.Short(), info.Kind, info.ID.Short())
	}
	payload := buf[HeaderSize:]
	if sum := xxhash.Sum64(payload); sum != f.Sum {
		return nil, r.corrupt(off, "payload of %s %s has checksum %016x, want %016x", f.Kind, f.ID.Short(), sum, f.Sum)
	}
	return payload, nil
}

// readTrailer returns the trailer of the pack, which is size bytes long; ok is false if it has none.
func (r *Reader) readTrailer(size int64) (t trailer, ok bool, err error) {
	if size < FileHeaderSize+trailerSize {
		return t, false, nil
	}
	var b [trailerSize]byte
	if err := r.readAt(b[:], size-trailerSize); err != nil {
		return t, false, err
	}
	t, ok = decodeTrailer(b[:], size)
	return t, ok && (r.header != nil || t.salt == r.salt), nil
}

// End returns where the frames of the pack, size bytes long, end: at its directory if it is sealed, else at size.
func (r *Reader) End(size int64) (end int64, sealed bool, err error) {
	t, ok, err := r.readTrailer(size)
	if err != nil || !ok {
		return size, false, err
	}
	return t.offset, true, nil
}

// Directory calls fn for each entry of the directory of the sealed pack, size bytes long. Damage, or a pack that is not sealed, is errs.Corrupt,
// found before fn is called at all unless single entries are malformed under a right checksum.
func (r *Reader) Directory(size int64, fn func(Entry) error) error {
	t, ok, err := r.readTrailer(size)
	if err != nil {
		return err
	}
	if !ok {
		return r.corrupt(max(0, size-trailerSize), "no trailer")
	}
	b := make([]byte, size-trailerSize-t.offset)
	if err := r.readAt(b, t.offset); err != nil {
		return err
	}
	if xxhash.Sum64(b) != t.sum {
		return r.corrupt(t.offset, "checksum of the directory is wrong")
	}
	if err := decodeDirectory(b, t.count, t.offset, fn); err != nil {
		return fmt.Errorf("pack %s: %w", r.name, err)
	}
	return nil
}
