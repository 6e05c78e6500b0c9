package zipdir

import (
	"encoding/binary"
	"io"

	"coral/delta/format"
)

// endRecord is what the end records say.
type endRecord struct {
	at      int64 // file offset where the directory ends: that of the first end record
	entries int64
	size    int64
	offset  int64 // of the directory, from the archive's begin
}

// findEnd finds the end records of the archive that ends at end.
func findEnd(r io.ReaderAt, end int64) (endRecord, error) {
	tail, i, err := readTail(r, end, endSize+locatorSize+end64Size) // nearly every archive: no comment
	if err == nil && i < 0 {
		tail, i, err = readTail(r, end, endSize+maxComment+locatorSize+end64Size)
	}
	if err != nil {
		return endRecord{}, err
	}
	n := int64(len(tail))
	if i < 0 {
		return endRecord{}, format.Damaged(kind, end-n, "no end record in the last %d bytes", n)
	}
	b := tail[i:]
	rec := endRecord{
		at:      end - n + int64(i),
		entries: int64(binary.LittleEndian.Uint16(b[10:])),
		size:    int64(binary.LittleEndian.Uint32(b[12:])),
		offset:  int64(binary.LittleEndian.Uint32(b[16:])),
	}
	return rec.widen(r, tail[:i])
}

// readTail reads the n bytes before end, or all there are, and finds the end record in them: at is -1 if there is none.
func readTail(r io.ReaderAt, end, n int64) (tail []byte, at int, err error) {
	n = min(n, end)
	tail = make([]byte, n)
	if got, err := r.ReadAt(tail, end-n); int64(got) < n {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = format.Damaged(kind, end-n, "file ends before %d", end)
		}
		return nil, -1, err
	}
	return tail, lastEnd(tail), nil
}

// lastEnd returns the index of the last end record in tail, or -1.
func lastEnd(tail []byte) int {
	for i := len(tail) - endSize; i >= 0; i-- {
		if tail[i] == 'P' && binary.LittleEndian.Uint32(tail[i:]) == sigEnd &&
			i+endSize+int(binary.LittleEndian.Uint16(tail[i+20:])) <= len(tail) {
			return i
		}
	}
	return -1
}

// widen replaces rec by what a zip64 end record says, if before, the bytes up to the end record, ends with a locator.
// The record is looked for right before the locator first, where every writer puts it: the
// offset in the locator is wrong in an archive that something stands before.
func (rec endRecord) widen(r io.ReaderAt, before []byte) (endRecord, error) {
	k := len(before) - locatorSize
	if k < 0 || binary.LittleEndian.Uint32(before[k:]) != sigLocator {
		return rec, nil
	}
	at := rec.at - locatorSize - end64Size
	var b []byte
	if k >= end64Size && binary.LittleEndian.Uint32(before[k-end64Size:]) == sigEnd64 {
		b = before[k-end64Size : k]
	} else {
		place := binary.LittleEndian.Uint64(before[k+8:])
		if place > uint64(max(at, 0)) {
			return rec, format.Damaged(kind, rec.at-locatorSize, "zip64 end record at %d", place)
		}
		at = int64(place)
		b = make([]byte, end64Size)
		if got, err := r.ReadAt(b, at); got < len(b) && err != io.EOF {
			return rec, err
		}
		if binary.LittleEndian.Uint32(b) != sigEnd64 {
			return rec, format.Damaged(kind, at, "no zip64 end record")
		}
	}
	entries, size, offset := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])
	if entries > format.MaxTensors || size > MaxDirectory || offset > uint64(max(at, 0)) {
		return rec, format.Damaged(kind, at, "%d entries in a directory of %d bytes at %d", entries, size, offset)
	}
	return endRecord{at: at, entries: int64(entries), size: int64(size), offset: int64(offset)}, nil
}
