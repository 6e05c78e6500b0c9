package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
)

const (
	pageLen = 4 << 10
	pages   = 64
)

// MaxPageReads bounds what Pages reads of one file: 1 GiB. Formats whose tables lie beside the data take a page or two for each tensor.
const MaxPageReads = 1 << 18

// Pages reads a file here and there, through a cache of 256 KiB, for formats that point to and fro. The first error sticks: from then on
// numbers are 0 and slices are nil, and Err tells why. A place outside the file is a format.ErrDamaged, and so is a file that
// would have more than MaxPageReads pages read.
type Pages struct {
	r     io.ReaderAt
	size  int64
	cache [pages]struct {
		no  int64 // plus one; 0: empty
		buf []byte
	}
	scratch [8]byte
	reads   int
	err     error
}

// NewPages returns a Pages of a file of size bytes.
func NewPages(r io.ReaderAt, size int64) *Pages { return &Pages{r: r, size: size} }

// Err returns the first error.
func (p *Pages) Err() error { return p.err }

// Size returns the size of the file.
func (p *Pages) Size() int64 { return p.size }

// Fail makes err the error if there is none.
func (p *Pages) Fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// Bytes fills dst from off and reports whether it could.
func (p *Pages) Bytes(dst []byte, off int64) bool {
	if p.err != nil {
		return false
	}
	if off < 0 || off > p.size || int64(len(dst)) > p.size-off {
		p.Fail(fmt.Errorf("%d bytes wanted at %d in a file of %d: %w", len(dst), off, p.size, format.ErrDamaged))
		return false
	}
	for len(dst) > 0 {
		page := p.page(off / pageLen)
		if page == nil {
			return false
		}
		n := copy(dst, page[off%pageLen:])
		dst, off = dst[n:], off+int64(n)
	}
	return true
}

// page returns a page of the file, from the cache or not.
func (p *Pages) page(no int64) []byte {
	c := &p.cache[no%pages]
	if c.no == no+1 {
		return c.buf
	}
	if p.reads++; p.reads > MaxPageReads {
		p.Fail(fmt.Errorf("more than %d pages to read: %w", MaxPageReads, format.ErrDamaged))
		return nil
	}
	if c.buf == nil {
		c.buf = make([]byte, pageLen)
	}
	n := min(pageLen, p.size-no*pageLen)
	c.no, c.buf = 0, c.buf[:n]
	got, err := p.r.ReadAt(c.buf, no*pageLen)
	if int64(got) < n {
		switch {
		case err == nil:
			err = io.ErrNoProgress
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err = fmt.Errorf("file ends at %d: %w", no*pageLen+int64(got), format.ErrDamaged)
		}
		p.Fail(err)
		return nil
	}
	c.no = no + 1
	return c.buf
}

// U8 returns the byte at off.
func (p *Pages) U8(off int64) uint8 {
	if !p.Bytes(p.scratch[:1], off) {
		return 0
	}
	return p.scratch[0]
}

// U16 returns the little-endian uint16 at off.
func (p *Pages) U16(off int64) uint16 {
	if !p.Bytes(p.scratch[:2], off) {
		return 0
	}
	return binary.LittleEndian.Uint16(p.scratch[:])
}

// U32 returns the little-endian uint32 at off.
func (p *Pages) U32(off int64) uint32 {
	if !p.Bytes(p.scratch[:4], off) {
		return 0
	}
	return binary.LittleEndian.Uint32(p.scratch[:])
}

// U64 returns the little-endian uint64 at off.
func (p *Pages) U64(off int64) uint64 {
	if !p.Bytes(p.scratch[:8], off) {
		return 0
	}
	return binary.LittleEndian.Uint64(p.scratch[:])
}
