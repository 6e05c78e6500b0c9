// Package zipout writes ZIP files of stored entries to a stream, as torch and NumPy write them: sizes are known before, checksums follow the data in
// descriptors, and entries may be aligned. A Writer is used by one goroutine. It does no compression and reads nothing back.
package zipout

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"coral/delta/format"
	"coral/internal/errs"
)

// The bytes written, little endian (APPNOTE 6.3.10); all that is not listed is zero.
//
// Local header, 30 bytes, then name and extra fields. Checksum and sizes are zero, as flag 3 says: they follow the data.
//
//	0  4  PK\3\4
//	6  2  flags: 3 (descriptor) and 11 (UTF-8)
//	26 2  name length
//	28 2  extra length
//
// Descriptor: PK\7\8, CRC-32, size twice: in 8 bytes each if the entry has a zip64 field, else in 4.
//
// Directory entry, 46 bytes, then name and, where a number needs it, a zip64 field (id 1; size, stored size and offset, those
// that are 0xffffffff in the entry):
//
//	0  4  PK\1\2
//	8  2  flags
//	16 4  CRC-32
//	20 4  size, 24 4 size again
//	28 2  name length
//	30 2  extra length
//	42 4  offset
//
// Then, if something is too large for it, a zip64 end record and locator, and the end record of 22 bytes.
const (
	localSize      = 30
	entrySize      = 46
	end64Size      = 56
	locatorSize    = 20
	endSize        = 22
	flags          = 1<<3 | 1<<11
	sigLocal       = 0x04034b50
	sigDescriptor  = 0x08074b50
	sigEntry       = 0x02014b50
	sigEnd         = 0x06054b50
	sigEnd64       = 0x06064b50
	sigLocator     = 0x07064b50
	zip64Field     = 1
	paddingField   = 0x4246 // "FB", of torch
	maxUint32      = math.MaxUint32
	version64      = 45
	zip64LocalSize = 4 + 8 + 8
)

// Writer writes one archive.
type Writer struct {
	w       io.Writer
	align   int64
	at      int64
	entries []entry
	err     error // the first one; nothing is written after it
}

type entry struct {
	name      string
	size, off int64
	crc       uint32
}

// New returns a Writer to w that begins the data of each entry at a multiple of align; 1 for no alignment.
func New(w io.Writer, align int64) *Writer { return &Writer{w: w, align: max(align, 1)} }

// Bytes adds an entry with the given bytes.
func (z *Writer) Bytes(name string, b []byte) error {
	return z.Entry(name, int64(len(b)), func(w io.Writer) error { _, err := w.Write(b); return err })
}

// Entry adds an entry of size bytes, which fill writes. An error of the destination, or of fill, is the answer to every later call, too.
func (z *Writer) Entry(name string, size int64, fill func(w io.Writer) error) error {
	if z.err != nil {
		return z.err
	}
	if z.err = z.entry(name, size, fill); z.err != nil {
		z.err = fmt.Errorf("zip entry %q: %w", name, z.err)
	}
	return z.err
}

func (z *Writer) entry(name string, size int64, fill func(w io.Writer) error) error {
	if name == "" || len(name) > math.MaxUint16 || size < 0 {
		return fmt.Errorf("name of %d and content of %d bytes: %w", len(name), size, errs.Invalid)
	}
	e := entry{name: name, size: size, off: z.at}
	wide := size >= maxUint32
	if err := z.write(z.local(name, wide)); err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	if err := format.Exactly(io.MultiWriter(z.w, sum), size, fill); err != nil {
		return err
	}
	z.at += size
	e.crc = sum.Sum32()
	d := binary.LittleEndian.AppendUint32(nil, sigDescriptor)
	d = binary.LittleEndian.AppendUint32(d, e.crc)
	for range 2 {
		if wide {
			d = binary.LittleEndian.AppendUint64(d, uint64(size))
		} else {
			d = binary.LittleEndian.AppendUint32(d, uint32(size))
		}
	}
	z.entries = append(z.entries, e)
	return z.write(d)
}

// local returns a local header with the padding that aligns what follows it.
func (z *Writer) local(name string, wide bool) []byte {
	b := make([]byte, localSize, localSize+len(name)+zip64LocalSize+4+int(z.align))
	binary.LittleEndian.PutUint32(b, sigLocal)
	binary.LittleEndian.PutUint16(b[6:], flags)
	binary.LittleEndian.PutUint16(b[26:], uint16(len(name)))
	b = append(b, name...)
	if wide {
		binary.LittleEndian.PutUint16(b[4:], version64)
		b = binary.LittleEndian.AppendUint16(b, zip64Field)
		b = binary.LittleEndian.AppendUint16(b, zip64LocalSize-4)
		b = append(b, make([]byte, 16)...) // the sizes, which follow too
	}
	if z.align > 1 {
		pad := (z.align - (z.at+int64(len(b))+4)%z.align) % z.align
		b = binary.LittleEndian.AppendUint16(b, paddingField)
		b = binary.LittleEndian.AppendUint16(b, uint16(pad))
		for range pad {
			b = append(b, 'Z')
		}
	}
	binary.LittleEndian.PutUint16(b[28:], uint16(len(b)-localSize-len(name)))
	return b
}

func (z *Writer) write(b []byte) error {
	n, err := z.w.Write(b)
	z.at += int64(n)
	return err
}

// Close writes the directory. It does not close the destination.
func (z *Writer) Close() error {
	if z.err != nil {
		return z.err
	}
	if z.err = z.directory(); z.err != nil {
		z.err = fmt.Errorf("zip directory: %w", z.err)
	}
	return z.err
}

func (z *Writer) directory() error {
	start := z.at
	for i := range z.entries {
		if err := z.write(z.entries[i].record()); err != nil {
			return err
		}
	}
	size, n := z.at-start, len(z.entries)
	var b []byte
	if n >= math.MaxUint16 || size >= maxUint32 || start >= maxUint32 {
		end64 := make([]byte, end64Size)
		binary.LittleEndian.PutUint32(end64, sigEnd64)
		binary.LittleEndian.PutUint64(end64[4:], end64Size-12)
		binary.LittleEndian.PutUint16(end64[12:], version64)
		binary.LittleEndian.PutUint16(end64[14:], version64)
		binary.LittleEndian.PutUint64(end64[24:], uint64(n))
		binary.LittleEndian.PutUint64(end64[32:], uint64(n))
		binary.LittleEndian.PutUint64(end64[40:], uint64(size))
		binary.LittleEndian.PutUint64(end64[48:], uint64(start))
		locator := make([]byte, locatorSize)
		binary.LittleEndian.PutUint32(locator, sigLocator)
		binary.LittleEndian.PutUint64(locator[8:], uint64(z.at))
		binary.LittleEndian.PutUint32(locator[16:], 1)
		b = append(end64, locator...)
	}
	end := make([]byte, endSize)
	binary.LittleEndian.PutUint32(end, sigEnd)
	binary.LittleEndian.PutUint16(end[8:], uint16(min(n, math.MaxUint16)))
	binary.LittleEndian.PutUint16(end[10:], uint16(min(n, math.MaxUint16)))
	binary.LittleEndian.PutUint32(end[12:], uint32(min(size, maxUint32)))
	binary.LittleEndian.PutUint32(end[16:], uint32(min(start, maxUint32)))
	return z.write(append(b, end...))
}

// record returns the directory entry.
func (e *entry) record() []byte {
	b := make([]byte, entrySize, entrySize+len(e.name)+28)
	binary.LittleEndian.PutUint32(b, sigEntry)
	binary.LittleEndian.PutUint16(b[8:], flags)
	binary.LittleEndian.PutUint32(b[16:], e.crc)
	binary.LittleEndian.PutUint32(b[20:], uint32(min(e.size, maxUint32)))
	binary.LittleEndian.PutUint32(b[24:], uint32(min(e.size, maxUint32)))
	binary.LittleEndian.PutUint16(b[28:], uint16(len(e.name)))
	binary.LittleEndian.PutUint32(b[42:], uint32(min(e.off, maxUint32)))
	b = append(b, e.name...)
	var field []byte
	if e.size >= maxUint32 {
		field = binary.LittleEndian.AppendUint64(field, uint64(e.size))
		field = binary.LittleEndian.AppendUint64(field, uint64(e.size))
	}
	if e.off >= maxUint32 {
		field = binary.LittleEndian.AppendUint64(field, uint64(e.off))
	}
	if field != nil {
		binary.LittleEndian.PutUint16(b[4:], version64)
		binary.LittleEndian.PutUint16(b[6:], version64)
		binary.LittleEndian.PutUint16(b[30:], uint16(4+len(field)))
		b = binary.LittleEndian.AppendUint16(b, zip64Field)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(field)))
		b = append(b, field...)
	}
	return b
}
