// Package scan reads a byte range of a file forward, in a small buffer. All parsers of delta/format read
// headers through it, so that a lying length costs an error and never memory.
package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"coral/delta/format"
)

// MaxNext is the most that Next returns at once.
const MaxNext = 64 << 10

// Reader reads a range forward. The first error sticks: from then on numbers are 0, slices are nil, and Err tells why.
// A range that ends too early is a format.ErrDamaged; any other error comes from the file.
type Reader struct {
	r      io.ReaderAt
	next   int64 // file offset of the first byte that is not in the buffer
	end    int64
	buf    []byte
	lo, hi int // what is buffered and not yet read
	err    error
}

// New returns a Reader of the bytes from off to end, which must not be negative.
func New(r io.ReaderAt, off, end int64) *Reader {
	s := &Reader{r: r}
	s.Reset(off, end)
	return s
}

// Reset starts over with another range of the same file, in the same buffer.
func (s *Reader) Reset(off, end int64) {
	end = max(end, off)
	if n := min(end-off, MaxNext); n > int64(len(s.buf)) {
		s.buf = make([]byte, n)
	}
	s.next, s.end, s.lo, s.hi, s.err = off, end, 0, 0, nil
}

// Err returns the first error.
func (s *Reader) Err() error { return s.err }

// UnknownOr returns what a parser returns that did not find its magic: format.ErrUnknown, or the error of the
// file if it could not be read.
func (s *Reader) UnknownOr() error {
	if s.err != nil && !errors.Is(s.err, format.ErrDamaged) {
		return s.err
	}
	return format.ErrUnknown
}

// Fail makes err the reader's error if it has none.
func (s *Reader) Fail(err error) {
	if s.err == nil {
		s.err = err
		s.lo = s.hi
	}
}

// Pos returns the file offset of the next byte.
func (s *Reader) Pos() int64 { return s.next - int64(s.hi-s.lo) }

// Left returns how many bytes of the range are not yet read.
func (s *Reader) Left() int64 { return s.end - s.Pos() }

// fill makes n bytes available in the buffer; n is at most len(buf) or the range is too short.
func (s *Reader) fill(n int) bool {
	if s.err != nil {
		return false
	}
	if int64(n) > s.Left() {
		s.Fail(fmt.Errorf("%d bytes wanted at %d, %d before the end: %w", n, s.Pos(), s.Left(), format.ErrDamaged))
		return false
	}
	copy(s.buf, s.buf[s.lo:s.hi])
	s.lo, s.hi = 0, s.hi-s.lo
	for s.hi < n {
		want := min(int64(len(s.buf)-s.hi), s.end-s.next)
		got, err := s.r.ReadAt(s.buf[s.hi:s.hi+int(want)], s.next)
		s.hi += got
		s.next += int64(got)
		if s.hi >= n {
			break
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("file ends at %d: %w", s.next, format.ErrDamaged)
		}
		if err == nil && got == 0 {
			err = io.ErrNoProgress
		}
		if err != nil {
			s.Fail(err)
			return false
		}
	}
	return true
}

// Next returns the next n bytes, at most MaxNext. They are valid until the next call.
func (s *Reader) Next(n int) []byte {
	if n < 0 || n > MaxNext {
		s.Fail(fmt.Errorf("%d bytes wanted at once at %d: %w", n, s.Pos(), format.ErrDamaged))
		return nil
	}
	if s.hi-s.lo < n && !s.fill(n) {
		return nil
	}
	b := s.buf[s.lo : s.lo+n]
	s.lo += n
	return b
}

// Byte returns the next byte.
func (s *Reader) Byte() byte {
	if s.lo == s.hi && !s.fill(1) {
		return 0
	}
	b := s.buf[s.lo]
	s.lo++
	return b
}

// Peek returns the next byte without moving on; ok is false at the end of the range or after an error.
func (s *Reader) Peek() (b byte, ok bool) {
	if s.err != nil || s.Left() == 0 || s.lo == s.hi && !s.fill(1) {
		return 0, false
	}
	return s.buf[s.lo], true
}

// U16 returns the next little-endian uint16.
func (s *Reader) U16() uint16 {
	if b := s.Next(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U32 returns the next little-endian uint32.
func (s *Reader) U32() uint32 {
	if b := s.Next(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 returns the next little-endian uint64.
func (s *Reader) U64() uint64 {
	if b := s.Next(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Skip moves n bytes forward without reading what is not buffered.
func (s *Reader) Skip(n uint64) {
	if s.err != nil {
		return
	}
	if n > uint64(s.Left()) {
		s.Fail(fmt.Errorf("%d bytes to skip at %d, %d before the end: %w", n, s.Pos(), s.Left(), format.ErrDamaged))
		return
	}
	if n <= uint64(s.hi-s.lo) {
		s.lo += int(n)
		return
	}
	s.next = s.Pos() + int64(n)
	s.lo, s.hi = 0, 0
}

// String returns the next n bytes as a string if n is at most limit; a longer one is skipped and ok is false.
func (s *Reader) String(n uint64, limit int) (text string, ok bool) {
	if n > uint64(min(limit, MaxNext)) {
		s.Skip(n)
		return "", false
	}
	b := s.Next(int(n))
	return string(b), s.err == nil
}

// Line returns the bytes before the next newline as a string and moves behind the newline; a line longer than limit is
// skipped and ok is false.
func (s *Reader) Line(limit int) (text string, ok bool) {
	var line []byte
	for n := 0; ; n++ {
		c := s.Byte()
		if s.err != nil {
			return "", false
		}
		if c == '\n' {
			return string(line), n <= limit
		}
		if n < limit {
			line = append(line, c)
		}
	}
}
