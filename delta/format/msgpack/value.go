package msgpack

import "encoding/binary"

// sort says what a value is.
type sort uint8

const (
	noValue     sort = iota // not MessagePack, or the range has ended
	numberValue             // a non-negative integer, n
	otherValue              // nil, a truth value, a negative number, a float: nothing follows
	textValue               // of n bytes, which follow; so of the next two
	bytesValue
	extValue
	mapValue   // of n pairs, which follow
	arrayValue // of n values, which follow
)

// value is the head of a value. Numbers and lengths are big endian.
type value struct {
	sort sort
	n    uint64
	ext  int8
}

// count counts bytes that were looked at.
func (m *reader) count(n int64) { m.read += n }

// u reads a number of n bytes, at most 8.
func (m *reader) u(n int) uint64 {
	m.count(int64(n))
	var b [8]byte
	copy(b[8-n:], m.s.Next(n))
	return binary.BigEndian.Uint64(b[:])
}

// value reads the head of the next value, and all of it if it is none of those that something follows.
func (m *reader) value() value {
	m.count(1)
	b := m.s.Byte()
	if m.s.Err() != nil {
		return value{}
	}
	switch {
	case b < 0x80:
		return value{sort: numberValue, n: uint64(b)}
	case b < 0x90:
		return value{sort: mapValue, n: uint64(b & 15)}
	case b < 0xa0:
		return value{sort: arrayValue, n: uint64(b & 15)}
	case b < 0xc0:
		return value{sort: textValue, n: uint64(b & 31)}
	case b >= 0xe0:
		return value{sort: otherValue}
	}
	switch b {
	case 0xc0, 0xc2, 0xc3:
		return value{sort: otherValue}
	case 0xc4, 0xc5, 0xc6:
		return value{sort: bytesValue, n: m.u(1 << (b - 0xc4))}
	case 0xc7, 0xc8, 0xc9:
		n := m.u(1 << (b - 0xc7))
		return value{sort: extValue, n: n, ext: int8(m.u(1))}
	case 0xca:
		m.u(4)
		return value{sort: otherValue}
	case 0xcb:
		m.u(8)
		return value{sort: otherValue}
	case 0xcc, 0xcd, 0xce, 0xcf:
		return value{sort: numberValue, n: m.u(1 << (b - 0xcc))}
	case 0xd0, 0xd1, 0xd2, 0xd3:
		m.u(1 << (b - 0xd0))
		return value{sort: otherValue}
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return value{sort: extValue, n: 1 << (b - 0xd4), ext: int8(m.u(1))}
	case 0xd9, 0xda, 0xdb:
		return value{sort: textValue, n: m.u(1 << (b - 0xd9))}
	case 0xdc, 0xdd:
		return value{sort: arrayValue, n: m.u(2 << (b - 0xdc))}
	case 0xde, 0xdf:
		return value{sort: mapValue, n: m.u(2 << (b - 0xde))}
	}
	return value{}
}
