package content

import (
	"context"
	"fmt"
	"io"
	"sort"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// File reads one stored file. Safe for concurrent use. It needs no closing.
type File struct {
	s       *Store
	id      oid.ID // of the manifest
	m       *object.Manifest
	ends    []int64 // of segments: where each ends in the file
	streams streams
}

// Open returns a reader of the file that manifest describes.
func (s *Store) Open(ctx context.Context, manifest oid.ID) (*File, error) {
	m, err := s.objects.Manifest(ctx, manifest)
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	f := &File{s: s, id: manifest, m: m, ends: make([]int64, len(m.Segments))}
	at := int64(0)
	for i := range m.Segments {
		seg := &m.Segments[i]
		if seg.Length <= 0 || seg.Length > m.Size-at || seg.Blob.IsZero() && int64(len(seg.Inline)) != seg.Length {
			return nil, fmt.Errorf("open content: manifest %s: segment %d of %d bytes at %d of %d: %w", manifest, i, seg.Length, at, m.Size, errs.Corrupt)
		}
		at += seg.Length
		f.ends[i] = at
	}
	if at != m.Size {
		return nil, fmt.Errorf("open content: manifest %s: segments end at %d of %d: %w", manifest, at, m.Size, errs.Corrupt)
	}
	return f, nil
}

// Size returns the file's length.
func (f *File) Size() int64 { return f.m.Size }

// Manifest returns the file's manifest; do not modify it.
func (f *File) Manifest() *object.Manifest { return f.m }

// segment returns the index of the segment that holds off, which is inside the file, and where that segment begins.
func (f *File) segment(off int64) (i int, start int64) {
	i = sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > off })
	return i, f.ends[i] - f.m.Segments[i].Length
}

// ReadAt fills p from off, as io.ReaderAt, decoding only the blocks touched (and, when reads look sequential, the ones after them ahead of time).
// Damage is errs.Corrupt and names the blob. If ctx ends, ReadAt returns its error with what was read so far.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, errs.Invalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= f.m.Size {
		return 0, io.EOF
	}
	short := int64(len(p)) > f.m.Size-off
	if short {
		p = p[:f.m.Size-off]
	}
	f.readAhead(off, int64(len(p)))
	i, start := f.segment(off)
	n := 0
	for n < len(p) {
		seg := &f.m.Segments[i]
		in := off + int64(n) - start
		part := p[n:][:min(int64(len(p)-n), seg.Length-in)]
		if err := f.readSegment(ctx, seg, part, in); err != nil {
			return n, fmt.Errorf("read content at %d: %w", off+int64(n), err)
		}
		n += len(part)
		start += seg.Length
		i++
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// readSegment fills p from a segment.
func (f *File) readSegment(ctx context.Context, seg *object.Segment, p []byte, off int64) error {
	if seg.Blob.IsZero() {
		copy(p, seg.Inline[off:])
		return nil
	}
	return f.s.readBlob(ctx, seg.Blob, p, off, seg.Length)
}
