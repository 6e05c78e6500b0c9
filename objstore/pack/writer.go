package pack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"coral/internal/vfs"
	"coral/objstore"
)

// MaxFrames is how many frames a pack should hold at most: it bounds the directory in memory (6.5 MB).
const MaxFrames = 1 << 16

// ErrSealed is returned by the methods of a Writer that add to a pack after Seal.
var ErrSealed = errors.New("pack is sealed")

// Writer appends frames to one pack. A failed Append leaves the pack as it was before.
type Writer struct {
	f       vfs.File
	name    string
	number  uint64
	salt    uint64
	size    int64 // end of the last whole frame
	resumed int64 // frames before this offset are not in dir
	before  int64 // and there are so many of them
	dir     []byte
	count   int64
	torn    bool // bytes after size are left of a failed write
	sealed  bool
	head    [HeaderSize]byte
}

// Create makes pack number n in dir, which must not exist. salt is random. Neither the file nor its name is durable yet.
func Create(fs vfs.FS, dir string, n, salt uint64) (*Writer, error) {
	if n == 0 || n > MaxNumber {
		return nil, fmt.Errorf("create pack %d: number out of range", n)
	}
	path := filepath.Join(dir, Name(n))
	f, err := fs.OpenFile(path, vfs.ReadWrite|vfs.Create|vfs.Exclusive, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create pack: %w", err)
	}
	w := &Writer{f: f, name: Name(n), number: n, salt: salt, size: FileHeaderSize, resumed: FileHeaderSize}
	if _, err := f.WritevAt([][]byte{fileHeader{number: n, salt: salt}.encode()}, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("create pack: %w", err), f.Close(), fs.Remove(path))
	}
	return w, nil
}

// Resume opens pack n, which is not sealed and whose frames, so many, end at size, to append to it. What is behind size is cut.
func Resume(fs vfs.FS, dir string, n uint64, size, frames int64) (*Writer, error) {
	path := filepath.Join(dir, Name(n))
	f, err := fs.OpenFile(path, vfs.ReadWrite, 0)
	if err != nil {
		return nil, fmt.Errorf("resume pack: %w", err)
	}
	w := &Writer{f: f, name: Name(n), number: n, size: size, resumed: size, before: frames}
	if err := w.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("resume pack %s: %w", path, err), f.Close())
	}
	return w, nil
}

func (w *Writer) resume() error {
	var b [FileHeaderSize]byte
	if _, err := w.f.ReadAt(b[:], 0); err != nil {
		return err
	}
	h, err := decodeFileHeader(b[:])
	if err != nil {
		return err
	}
	size, err := w.f.Size()
	if err != nil {
		return err
	}
	if h.number != w.number || w.size < FileHeaderSize || size < w.size {
		return fmt.Errorf("header of pack %d, %d bytes where %d are wanted", h.number, size, w.size)
	}
	w.salt = h.salt
	if size > w.size {
		return w.f.Truncate(w.size)
	}
	return nil
}

// Number returns the pack's number.
func (w *Writer) Number() uint64 { return w.number }

// Salt returns the pack's salt.
func (w *Writer) Salt() uint64 { return w.salt }

// Size returns the length of the pack: where the next frame will begin.
func (w *Writer) Size() int64 { return w.size }

// Frames returns how many frames the pack has.
func (w *Writer) Frames() int64 { return w.before + w.count }

// Append writes one frame with one system call and returns where it begins. After an error the pack is
// cut back to where it was; if even that fails, the next Append tries again first.
func (w *Writer) Append(f Frame, payload []byte) (int64, error) {
	if w.sealed {
		return 0, ErrSealed
	}
	if int(f.Length) != len(payload) || len(payload) > objstore.MaxPayload {
		return 0, fmt.Errorf("append to pack %s: payload of %d bytes, header says %d", w.name, len(payload), f.Length)
	}
	if err := w.cut(); err != nil {
		return 0, err
	}
	f.encode(w.head[:], w.salt, w.size)
	if err := w.write([][]byte{w.head[:], payload}); err != nil {
		return 0, err
	}
	off := w.size
	w.size += f.Size()
	w.dir = appendEntry(w.dir, Entry{Frame: f, Offset: off})
	w.count++
	return off, nil
}

func (w *Writer) write(bufs [][]byte) error {
	if _, err := w.f.WritevAt(bufs, w.size); err != nil {
		w.torn = true
		if cerr := w.cut(); cerr != nil {
			return fmt.Errorf("append to pack %s: %w (and cutting it back: %v)", w.name, err, cerr)
		}
		return fmt.Errorf("append to pack %s: %w", w.name, err)
	}
	return nil
}

// cut removes what a failed write left.
func (w *Writer) cut() error {
	if !w.torn {
		return nil
	}
	if err := w.f.Truncate(w.size); err != nil {
		return fmt.Errorf("cut pack %s to %d bytes: %w", w.name, w.size, err)
	}
	w.torn = false
	return nil
}

// Seal writes the directory and the trailer. Nothing can be appended afterwards; Sync still has to be called.
// After an error the pack is as it was and still open.
func (w *Writer) Seal(ctx context.Context) error {
	if w.sealed {
		return ErrSealed
	}
	if err := w.cut(); err != nil {
		return err
	}
	dir, count, err := w.earlier(ctx)
	if err != nil {
		return fmt.Errorf("seal pack %s: %w", w.name, err)
	}
	dir, count = append(dir, w.dir...), count+w.count
	t := trailer{offset: w.size, count: count, sum: xxhash.Sum64(dir), salt: w.salt}
	if err := w.write([][]byte{dir, t.encode()}); err != nil {
		return err
	}
	w.size += int64(len(dir)) + trailerSize
	w.dir, w.sealed = nil, true
	return nil
}

// earlier returns the directory of the frames that were there when the Writer resumed the pack.
func (w *Writer) earlier(ctx context.Context) (dir []byte, count int64, err error) {
	if w.resumed == FileHeaderSize {
		return nil, 0, nil
	}
	r := &Reader{f: w.f, name: w.name, number: w.number, salt: w.salt}
	err = r.Scan(ctx, FileHeaderSize, w.resumed, false, func(e Entry, _ bool) error {
		dir = appendEntry(dir, e)
		count++
		return nil
	}, nil)
	return dir, count, err
}

// Sync makes the content of the pack durable. Unlike the other methods it may overlap Append, whose frame it then may or may not cover.
func (w *Writer) Sync() error {
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync pack %s: %w", w.name, err)
	}
	return nil
}

// Linked reports whether the pack file still has a name.
func (w *Writer) Linked() (bool, error) { return w.f.Linked() }

// Close closes the file. It does not sync.
func (w *Writer) Close() error { return w.f.Close() }

// Fill turns the torn bytes [off, off+length) of pack n, whose salt is given, into filler frames, so that a scan finds nothing damaged
// there, and syncs the file. The bytes must be known to hold no record that was ever acknowledged. length is at least HeaderSize.
func Fill(fs vfs.FS, dir string, n, salt uint64, off, length int64) error {
	path := filepath.Join(dir, Name(n))
	f, err := fs.OpenFile(path, vfs.ReadWrite, 0)
	if err != nil {
		return fmt.Errorf("fill pack: %w", err)
	}
	err = fill(f, salt, off, length)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("fill pack %s at %d: %w", path, off, err)
	}
	return nil
}

// RestoreHeader writes the file header of pack n again, whose salt is known from the trailer, and syncs the file.
func RestoreHeader(fs vfs.FS, dir string, n, salt uint64) error {
	f, err := fs.OpenFile(filepath.Join(dir, Name(n)), vfs.ReadWrite, 0)
	if err != nil {
		return fmt.Errorf("restore pack header: %w", err)
	}
	_, err = f.WritevAt([][]byte{fileHeader{number: n, salt: salt}.encode()}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func fill(f vfs.File, salt uint64, off, length int64) error {
	for length > 0 {
		n := length - HeaderSize
		if n < 0 {
			return fmt.Errorf("%d bytes are too few for a filler frame", length)
		}
		if n > objstore.MaxPayload {
			n = min(n-HeaderSize, objstore.MaxPayload) // never leave less than a header for the next one
		}
		payload := make([]byte, n)
		if _, err := f.ReadAt(payload, off+HeaderSize); err != nil {
			return err
		}
		var head [HeaderSize]byte
		fr := Frame{Kind: kindFiller, Length: uint32(n), Sum: xxhash.Sum64(payload)}
		fr.encode(head[:], salt, off)
		if _, err := f.WritevAt([][]byte{head[:]}, off); err != nil {
			return err
		}
		off, length = off+fr.Size(), length-fr.Size()
	}
	return nil
}
