package pack

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// Entry is a frame and where its header begins.
type Entry struct {
	Frame
	Offset int64
}

// A directory entry repeats a frame's header, in file order, filler included:
//
//	0  8  offset of the frame
//	8  1  kind
//	9  1  dtype
//	10 1  depth
//	11 1  flags: 1 a base id follows
//	12 2  codec
//	14 2  zero
//	16 4  payload length
//	20 8  raw size
//	28 32 id
//	60 8  xxHash64 of the payload
//	68 32 base id, only with flag 1
func appendEntry(b []byte, e Entry) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Offset))
	b = append(b, byte(e.Kind), e.DType, e.Depth, baseFlag(e.Base))
	b = binary.LittleEndian.AppendUint16(b, e.Codec)
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, e.Length)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.RawSize))
	b = append(b, e.ID[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.Sum)
	if !e.Base.IsZero() {
		b = append(b, e.Base[:]...)
	}
	return b
}

// decodeEntry reads one entry and returns what follows it.
func decodeEntry(b []byte) (e Entry, rest []byte, err error) {
	if len(b) < dirEntrySize {
		return e, nil, fmt.Errorf("directory entry is cut: %w", errs.Corrupt)
	}
	off, raw := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[20:])
	e = Entry{Offset: int64(off), Frame: Frame{Kind: objstore.Kind(b[8]), DType: b[9], Depth: b[10],
		Codec: binary.LittleEndian.Uint16(b[12:]), Length: binary.LittleEndian.Uint32(b[16:]), RawSize: int64(raw),
		ID: oid.ID(b[28:60]), Sum: binary.LittleEndian.Uint64(b[60:])}}
	flags, zero := b[11], b[14]|b[15]
	b = b[dirEntrySize:]
	if flags == flagBase && len(b) >= oid.Size {
		e.Base, b = oid.ID(b[:oid.Size]), b[oid.Size:]
	}
	if flags != baseFlag(e.Base) || zero != 0 || off > 1<<62 || raw > MaxRaw || e.Length > objstore.MaxPayload || e.Kind == 0 {
		return e, nil, fmt.Errorf("directory entry is malformed: %w", errs.Corrupt)
	}
	return e, b, nil
}

// trailer is the last 48 bytes of a sealed pack:
//
//	0  8  offset of the directory, which ends where the trailer begins
//	8  8  number of entries
//	16 8  xxHash64 of the directory
//	24 8  salt, as in the file header: ties the trailer to its pack, and is the spare copy of it
//	32 8  magic "CORALPE\n"
//	40 8  xxHash64 of bytes 0..40
type trailer struct {
	offset, count int64
	sum, salt     uint64
}

func (t trailer) encode() []byte {
	b := make([]byte, trailerSize)
	binary.LittleEndian.PutUint64(b, uint64(t.offset))
	binary.LittleEndian.PutUint64(b[8:], uint64(t.count))
	binary.LittleEndian.PutUint64(b[16:], t.sum)
	binary.LittleEndian.PutUint64(b[24:], t.salt)
	copy(b[32:], trailerMagic[:])
	binary.LittleEndian.PutUint64(b[40:], xxhash.Sum64(b[:trailerSummed]))
	return b
}

// decodeTrailer reads the trailer of a pack of size bytes; ok is false if b is none.
func decodeTrailer(b []byte, size int64) (t trailer, ok bool) {
	if len(b) != trailerSize || [8]byte(b[32:40]) != trailerMagic ||
		binary.LittleEndian.Uint64(b[40:]) != xxhash.Sum64(b[:trailerSummed]) {
		return t, false
	}
	off, count := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	dir := uint64(size-trailerSize) - off
	if off < FileHeaderSize || off > uint64(size-trailerSize) || dir > maxDirectory || count > dir/dirEntrySize {
		return t, false
	}
	return trailer{offset: int64(off), count: int64(count), sum: binary.LittleEndian.Uint64(b[16:]),
		salt: binary.LittleEndian.Uint64(b[24:])}, true
}

// decodeDirectory calls fn for each of count entries of b, which must be all of it and in file order.
func decodeDirectory(b []byte, count, end int64, fn func(Entry) error) error {
	next := int64(FileHeaderSize)
	for range count {
		e, rest, err := decodeEntry(b)
		if err != nil {
			return err
		}
		if e.Offset < next || e.Offset+e.Size() > end {
			return fmt.Errorf("directory entry at %d: out of order or bounds: %w", e.Offset, errs.Corrupt)
		}
		next, b = e.Offset+e.Size(), rest
		if err := fn(e); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes after the last directory entry: %w", len(b), errs.Corrupt)
	}
	return nil
}

// SumEntry adds e, as a directory would list it, to a running checksum. Two sequences of frames are the same if their sums are.
func SumEntry(w io.Writer, e Entry) {
	_, _ = w.Write(appendEntry(make([]byte, 0, dirEntrySize+oid.Size), e))
}
