package gguf

import (
	"encoding/binary"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// Entry is one key and value of the metadata, undecoded.
type Entry struct {
	Key   string
	Value []byte // u32 type and what follows it, little endian, as in the file
}

// Uint32 returns the value as an unsigned number of 32 bits; ok is false if it is something else.
func (e *Entry) Uint32() (n uint32, ok bool) {
	if len(e.Value) != 8 || binary.LittleEndian.Uint32(e.Value) != valueUint32 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(e.Value[4:]), true
}

// TextEntry returns an entry that is a string.
func TextEntry(key, value string) Entry {
	return Entry{key, appendText(binary.LittleEndian.AppendUint32(nil, valueString), value)}
}

// Uint32Entry returns an entry that is a number.
func Uint32Entry(key string, n uint32) Entry {
	return Entry{key, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, valueUint32), n)}
}

// appendText appends a string as GGUF has it: u64 length, bytes.
func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

const (
	maxKey     = 1<<16 - 1 // bytes: what ggml's documentation allows
	maxEntries = 1 << 16   // real files have less than 200
)

// Metadata returns all entries of a file of size bytes, in its order. It returns format.ErrUnknown if the magic is missing, and format.ErrDamaged for values of types that are
// not known and for more than format.MaxHeader bytes. The entries take as many bytes of memory as of the file.
func Metadata(r io.ReaderAt, size int64) ([]Entry, error) {
	f := file{Reader: scan.New(r, 0, min(size, format.MaxHeader)), size: size, alignment: defaultAlignment}
	_, entries, err := f.begin()
	if err != nil {
		return nil, err
	}
	if entries > maxEntries {
		return nil, format.Damaged(kind, 16, "%d entries of metadata, at most %d", entries, maxEntries)
	}
	var out []Entry
	for i := uint64(0); i < entries && f.Err() == nil; i++ {
		key, ok := f.String(f.U64(), maxKey)
		if !ok && f.Err() == nil {
			return nil, format.Damaged(kind, f.Pos(), "key of more than %d bytes", maxKey)
		}
		from := f.Pos()
		f.typed()
		if f.Err() != nil {
			break
		}
		value := make([]byte, f.Pos()-from) // all of it lies in the file: it was skipped
		if n, err := r.ReadAt(value, from); n < len(value) {
			return nil, fmt.Errorf("parse gguf at %d: %w", from, err)
		}
		out = append(out, Entry{key, value})
	}
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("parse gguf: %w", err)
	}
	return out, nil
}
