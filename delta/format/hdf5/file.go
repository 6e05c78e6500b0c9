package hdf5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"coral/delta/format"
)

// errFull ends a walk that has read as much as it may; what was found until then counts.
var errFull = errors.New("as much metadata was read as may be")

// file reads the metadata of an HDF5 file.
type file struct {
	r      io.ReaderAt
	base   int64 // what addresses count from
	size   int64
	aw, lw int // bytes of an address and of a length
	left   int64
}

// damaged returns a format.ErrDamaged at an address.
func (f *file) damaged(addr uint64, msg string, args ...any) error {
	at := f.base
	if addr < uint64(f.size) {
		at += int64(addr)
	}
	return format.Damaged(kind, at, msg, args...)
}

// place returns the file offset of n bytes at addr; ok is false if they are not all in the file.
func (f *file) place(addr, n uint64) (off int64, ok bool) {
	room := uint64(f.size - f.base)
	if addr > room || n > room-addr {
		return 0, false
	}
	return f.base + int64(addr), true
}

// read returns n bytes of metadata at addr.
func (f *file) read(addr, n uint64) ([]byte, error) {
	off, ok := f.place(addr, n)
	if !ok || n > maxBlock {
		return nil, f.damaged(addr, "%d bytes at address %#x of a file of %d", n, addr, f.size)
	}
	if f.left -= max(int64(n), leastRead); f.left < 0 {
		return nil, errFull
	}
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	if got, err := f.r.ReadAt(b, off); got < len(b) {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = f.damaged(addr, "file ends early")
		}
		return nil, err
	}
	return b, nil
}

// block reads n bytes that begin with a signature, and returns what follows it.
func (f *file) block(addr, n uint64, sig string) (*cursor, error) {
	b, err := f.read(addr, n)
	if err != nil {
		return nil, err
	}
	c := &cursor{b: b}
	if string(c.bytes(len(sig))) != sig {
		return nil, f.damaged(addr, "no %s", sig)
	}
	return c, nil
}

// none reports whether addr is the address of nothing.
func (f *file) none(addr uint64) bool { return addr == 1<<(8*f.aw)-1 }

// cursor reads bytes forward. Behind the end everything is zero, and bad is set.
type cursor struct {
	b   []byte
	at  int
	bad bool
}

// bytes returns the next n bytes, which are part of the buffer, or nil.
func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b)-c.at {
		c.bad = true
		c.at = len(c.b)
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

// u returns the next n bytes, at most 8, as a little-endian number.
func (c *cursor) u(n int) uint64 {
	var v [8]byte
	copy(v[:], c.bytes(n))
	return binary.LittleEndian.Uint64(v[:])
}

// text returns the bytes up to a zero, and moves behind the zero.
func (c *cursor) text() string {
	i := bytes.IndexByte(c.b[c.at:], 0)
	if i < 0 {
		c.bad = true
		return ""
	}
	s := string(c.b[c.at : c.at+i])
	c.at += i + 1
	return s
}
