package hdf5

import (
	"bytes"
	"io"

	"coral/delta/format"
)

// open reads the superblock and returns the address of the root group. It returns format.ErrUnknown without a signature.
func open(r io.ReaderAt, size int64) (f *file, root uint64, err error) {
	head := make([]byte, min(size, maxUserBlock+128))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = format.Damaged(kind, int64(n), "file ends early")
		}
		return nil, 0, err
	}
	for at := 0; at < len(head); at = max(512, 2*at) {
		if bytes.HasPrefix(head[at:], []byte(sigSuper)) {
			return super(r, size, head, at)
		}
	}
	return nil, 0, format.ErrUnknown
}

// super reads the superblock at head[at:].
func super(r io.ReaderAt, size int64, head []byte, at int) (*file, uint64, error) {
	f := &file{r: r, size: size, left: maxMetadata}
	c := &cursor{b: head, at: at + len(sigSuper)}
	version := c.u(1)
	switch version {
	case 0, 1:
		c.bytes(4)
		f.aw, f.lw = int(c.u(1)), int(c.u(1))
		c.bytes(9 + 4*int(version))
	case 2, 3:
		f.aw, f.lw = int(c.u(1)), int(c.u(1))
		c.bytes(1)
	default:
		return nil, 0, format.Damaged(kind, int64(at), "superblock of version %d", version)
	}
	if !isWidth(f.aw) || !isWidth(f.lw) {
		return nil, 0, format.Damaged(kind, int64(at), "addresses of %d bytes and lengths of %d", f.aw, f.lw)
	}
	base := c.u(f.aw)
	c.bytes(2 * f.aw) // free space or extension, end
	if version < 2 {
		c.bytes(2 * f.aw) // driver; the name of the root, which has none
	}
	root := c.u(f.aw)
	if c.bad || base > uint64(size) {
		return nil, 0, format.Damaged(kind, int64(at), "superblock with base address %#x", base)
	}
	f.base = int64(base)
	if base == 0 && at > 0 {
		f.base = int64(at) // a block was put before a file that was made without
	}
	return f, root, nil
}

func isWidth(n int) bool { return n == 2 || n == 4 || n == 8 }
