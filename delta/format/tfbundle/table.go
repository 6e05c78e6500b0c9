package tfbundle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// Layout of a table (github.com/google/leveldb/blob/main/doc/table_format.md), little endian:
//
//	blocks, each followed by u8 compression and u32 CRC-32C
//	footer, the last 48 bytes: handles of the metaindex and the index (varint offset, varint size each), padding, u64 magic
//
// The entries of the index lead to the data blocks, in the order of the keys. A block:
//
//	entries: varint bytes shared with the key before, varint further bytes of the key, varint bytes of the value, key, value
//	u32 places of restarts, which only searches need, u32 number of them
const (
	footerLen  = 48
	tableMagic = 0xdb4775248b80fb57
	trailerLen = 5
	// maxKey is far above a name of format.MaxNameBytes with its slice.
	maxKey = 3 * format.MaxNameBytes
)

// table is a table being read. left is how many bytes of blocks may still be read: lying handles would have the same block read for ever.
type table struct {
	r    io.ReaderAt
	size int64
	left int64
	key  []byte
}

// handle is the place of a block.
type handle struct{ at, n uint64 }

// openTable reads the footer and returns the handle of the index; format.ErrUnknown if there is none.
func openTable(r io.ReaderAt, size int64) (t *table, index handle, err error) {
	if size < footerLen {
		return nil, handle{}, format.ErrUnknown
	}
	s := scan.New(r, size-footerLen, size)
	b := s.Next(footerLen)
	if b == nil || binary.LittleEndian.Uint64(b[footerLen-8:]) != tableMagic {
		return nil, handle{}, s.UnknownOr()
	}
	t = &table{r: r, size: size, left: min(2*size, format.MaxHeader)}
	_, rest, ok := cutHandle(b[:footerLen-8])
	if ok {
		index, _, ok = cutHandle(rest)
	}
	if !ok {
		return nil, handle{}, format.Damaged(kind, size-footerLen, "footer")
	}
	return t, index, nil
}

// cutHandle reads a handle from the begin of b and returns what follows.
func cutHandle(b []byte) (h handle, rest []byte, ok bool) {
	var n int
	if h.at, n = binary.Uvarint(b); n <= 0 {
		return h, nil, false
	}
	b = b[n:]
	if h.n, n = binary.Uvarint(b); n <= 0 {
		return h, nil, false
	}
	return h, b[n:], true
}

// block calls fn with the keys and values of a block, until it fails. The key is valid until fn returns, and the value
// is to be read from s, where it is n bytes; fn may leave it.
func (t *table) block(h handle, fn func(key []byte, s *scan.Reader, n uint64) error) error {
	if h.at > uint64(t.size) || h.n > uint64(t.size)-h.at || uint64(t.size)-h.at-h.n < trailerLen || h.n < 4 {
		return format.Damaged(kind, t.size-footerLen, "block of %d bytes at %d", h.n, h.at)
	}
	at, n := int64(h.at), int64(h.n)
	if t.left -= n; t.left < 0 {
		return format.Damaged(kind, at, "blocks are larger than the file or than %d bytes", format.MaxHeader)
	}
	s := scan.New(t.r, at+n-4, at+n+1)
	restarts := int64(s.U32())
	if compression := s.Byte(); compression != 0 {
		s.Fail(format.Damaged(kind, at, "block compressed by method %d", compression))
	}
	if s.Err() == nil && restarts > (n-4)/4 {
		s.Fail(format.Damaged(kind, at, "%d restarts", restarts))
	}
	if s.Err() != nil {
		return s.Err()
	}
	end := at + n - 4 - 4*restarts
	t.key = t.key[:0]
	for s.Reset(at, end); s.Left() > 0; {
		n, err := t.entry(s)
		if err != nil {
			return err
		}
		next := s.Pos() + int64(n)
		if err := fn(t.key, s, n); err != nil {
			return err
		}
		s.Skip(uint64(next - s.Pos()))
	}
	return s.Err()
}

// entry reads the key of an entry into t.key and returns the length of the value, which is in the block.
func (t *table) entry(s *scan.Reader) (uint64, error) {
	at := s.Pos()
	shared, more, n := uvarint(s), uvarint(s), uvarint(s)
	if s.Err() == nil && (shared > uint64(len(t.key)) || more > maxKey-shared) {
		s.Fail(format.Damaged(kind, at, "key of %d and %d bytes", shared, more))
	}
	b := s.Next(int(min(more, maxKey)))
	if s.Err() == nil && n > uint64(s.Left()) {
		s.Fail(format.Damaged(kind, at, "value of %d bytes, %d before the end of the block", n, s.Left()))
	}
	if s.Err() != nil {
		return 0, s.Err()
	}
	t.key = append(t.key[:shared], b...)
	return n, nil
}

func uvarint(s *scan.Reader) uint64 {
	v, err := binary.ReadUvarint(byteReader{s})
	if err != nil {
		s.Fail(format.Damaged(kind, s.Pos(), "number of more than 64 bits"))
	}
	return v
}

// byteReader is a scan.Reader as an io.ByteReader.
type byteReader struct{ s *scan.Reader }

func (b byteReader) ReadByte() (byte, error) {
	c := b.s.Byte()
	return c, b.s.Err()
}

// walk calls fn with the keys and values of all data blocks.
func (t *table) walk(index handle, fn func(key []byte, s *scan.Reader, n uint64) error) error {
	var blocks []handle
	err := t.block(index, func(_ []byte, s *scan.Reader, n uint64) error {
		if n > 20 || len(blocks) >= format.MaxTensors {
			return format.Damaged(kind, s.Pos(), "%d blocks, one with a handle of %d bytes", len(blocks), n)
		}
		h, _, ok := cutHandle(s.Next(int(n)))
		if !ok {
			return errors.Join(s.Err(), format.Damaged(kind, s.Pos(), "handle"))
		}
		blocks = append(blocks, h)
		return nil
	})
	for i := 0; i < len(blocks) && err == nil; i++ {
		err = t.block(blocks[i], fn)
	}
	if err != nil {
		return fmt.Errorf("parse %s: %w", kind, err)
	}
	return nil
}
