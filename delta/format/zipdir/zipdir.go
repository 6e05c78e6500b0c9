// Package zipdir lists where the entries of a ZIP file lie. It reads the directory and local headers only, in bounded
// memory, and refuses archives whose parts overlap. Unlike archive/zip it tells every offset, reads nothing else, and
// accepts an archive that ends before the file does, so that concatenated archives can be walked from the last to the first.
package zipdir

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"coral/delta/format"
	"coral/delta/format/scan"
)

const kind = "zip"

// Entry is one entry of the directory.
type Entry struct {
	Name   string
	Header int64 // file offset of the local header
	Data   int64 // file offset of the data; valid after Resolve
	Packed int64 // bytes at Data
	Size   int64 // bytes when unpacked
	Method uint16
	Record int64 // file offset of the entry in the directory
	flags  uint16
}

// Stored reports whether the bytes at Data are the entry's bytes as they are.
func (e *Entry) Stored() bool {
	return e.Method == 0 && e.flags&flagEncrypted == 0 && e.Packed == e.Size
}

// Dir is the directory of one archive.
type Dir struct {
	Begin   int64 // file offset of the archive: 0 unless something stands before it
	Start   int64 // file offset of the directory; all entries lie before it
	Size    int64 // bytes of the directory
	Entries []Entry
}

// Want returns format.ErrUnknown unless an archive may begin at the start of the file, or the error of reading it.
func Want(r io.ReaderAt, size int64) error {
	if size < localSize+endSize {
		return format.ErrUnknown
	}
	if s := scan.New(r, 0, 4); s.U32() != sigLocal {
		return s.UnknownOr()
	}
	return nil
}

// Read reads the directory of the archive that ends at end: the last one of the file, or one that others follow.
// An archive without end record is format.ErrDamaged.
func Read(r io.ReaderAt, end int64) (*Dir, error) {
	rec, err := findEnd(r, end)
	if err != nil {
		return nil, err
	}
	d := &Dir{Begin: rec.at - rec.size - rec.offset, Start: rec.at - rec.size, Size: rec.size}
	if d.Start < 0 || d.Begin < 0 {
		return nil, format.Damaged(kind, rec.at, "directory of %d bytes at %d does not end here", rec.size, rec.offset)
	}
	if rec.size > MaxDirectory || rec.entries > format.MaxTensors || rec.entries*entrySize > rec.size {
		return nil, format.Damaged(kind, rec.at, "%d entries in a directory of %d bytes", rec.entries, rec.size)
	}
	s := scan.New(r, d.Start, rec.at)
	d.Entries = make([]Entry, rec.entries)
	for i := range d.Entries {
		if err := d.Entries[i].read(s, d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// read reads one directory entry.
func (e *Entry) read(s *scan.Reader, d *Dir) error {
	at := s.Pos()
	b := s.Next(entrySize)
	if b == nil {
		return s.Err()
	}
	if binary.LittleEndian.Uint32(b) != sigEntry {
		return format.Damaged(kind, at, "no directory entry")
	}
	e.Record = at
	e.flags = binary.LittleEndian.Uint16(b[8:])
	e.Method = binary.LittleEndian.Uint16(b[10:])
	packed, size := binary.LittleEndian.Uint32(b[20:]), binary.LittleEndian.Uint32(b[24:])
	nameLen, extraLen := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:]))
	comment := uint64(binary.LittleEndian.Uint16(b[32:]))
	header := binary.LittleEndian.Uint32(b[42:])
	e.Name = string(s.Next(nameLen))
	vals := [3]uint64{uint64(size), uint64(packed), uint64(header)} // in the order of the zip64 field
	wide := [3]bool{size == 1<<32-1, packed == 1<<32-1, header == 1<<32-1}
	if !zip64(s.Next(extraLen), &vals, wide) {
		return format.Damaged(kind, at, "zip64 field of entry %q", e.Name)
	}
	s.Skip(comment)
	if s.Err() != nil {
		return s.Err()
	}
	limit := uint64(d.Start - d.Begin)
	if vals[1] > limit || vals[2] > limit || vals[0] > 1<<62 {
		return format.Damaged(kind, at, "entry %q of %d bytes at %d, directory at %d", e.Name, vals[1], vals[2], limit)
	}
	e.Size, e.Packed, e.Header = int64(vals[0]), int64(vals[1]), int64(vals[2])+d.Begin
	return nil
}

// zip64 replaces the values that are marked wide by those of the zip64 extra field. A missing field
// is tolerated: 0xffffffff may be meant.
func zip64(extra []byte, vals *[3]uint64, wide [3]bool) bool {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return id != zip64Field // padding of some writers is not well formed; nothing of it is needed
		}
		if id == zip64Field {
			field := extra[:n]
			for i := range vals {
				if !wide[i] {
					continue
				}
				if len(field) < 8 {
					return false
				}
				vals[i], field = binary.LittleEndian.Uint64(field), field[8:]
			}
			return true
		}
		extra = extra[n:]
	}
	return true
}

// Resolve reads the local headers, sets Data, sorts the entries by place and checks that none overlaps another or the directory.
func (d *Dir) Resolve(r io.ReaderAt) error {
	slices.SortStableFunc(d.Entries, func(a, b Entry) int { return cmp.Compare(a.Header, b.Header) })
	buf := make([]byte, localSize+maxName)
	for i := range d.Entries {
		limit := d.Start
		if i+1 < len(d.Entries) {
			limit = d.Entries[i+1].Header
		}
		if err := d.Entries[i].resolve(r, limit, buf); err != nil {
			return err
		}
	}
	return nil
}

// Locate sets the Data of one entry of a directory whose others are not needed: it is not checked against them.
func (d *Dir) Locate(r io.ReaderAt, e *Entry) error {
	return e.resolve(r, d.Start, make([]byte, localSize+maxName))
}

// maxName is how much of a name is compared between directory and local header.
const maxName = 482 // with the header one read of 512 bytes

func (e *Entry) resolve(r io.ReaderAt, limit int64, buf []byte) error {
	n := min(len(e.Name), maxName)
	if limit-e.Header < localSize+int64(n) {
		return format.Damaged(kind, e.Header, "entry %q overlaps the next one", e.Name)
	}
	b := buf[:localSize+n]
	if got, err := r.ReadAt(b, e.Header); got < len(b) {
		if err == io.EOF {
			return format.Damaged(kind, e.Header, "file ends inside the header of %q", e.Name)
		}
		return err
	}
	nameLen, extraLen := int(binary.LittleEndian.Uint16(b[26:])), int64(binary.LittleEndian.Uint16(b[28:]))
	if binary.LittleEndian.Uint32(b) != sigLocal || nameLen != len(e.Name) || string(b[localSize:]) != e.Name[:n] {
		return format.Damaged(kind, e.Header, "no local header of entry %q", e.Name)
	}
	e.Data = e.Header + localSize + int64(nameLen) + extraLen
	if e.Data > limit || e.Packed > limit-e.Data {
		return format.Damaged(kind, e.Header, "entry %q of %d bytes at %d overlaps what is at %d", e.Name, e.Packed, e.Data, limit)
	}
	return nil
}
