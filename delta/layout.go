package delta

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// The payload of a FrameBlocks frame is a header and the blocks. All numbers are little endian.
//
//	 0  2    magic c0 db
//	 2  1    version: 1
//	 3  1    element kind (dtype.Kind)
//	 4  1    L: every block but the last has 2^L raw bytes, L from 12 to 20
//	 5  1    number of tables
//	 6  2    0
//	 8  4    raw size of the blob, 1 to MaxBlob
//	12  4    length of the header
//	16  8 N  index, an entry for each of the N = ceil(raw size / 2^L) blocks:
//	           0  1  codec
//	           1  3  stored length
//	           4  4  low 32 bits of the xxHash64 of the block's raw bytes
//	 …  …    tables, each:
//	           0  1  kind
//	           1  1  number
//	           2  2  length of the body
//	           4  …  body
//	 …  4    low 32 bits of the xxHash64 of the header before
//
// The blocks follow in order without gaps, and end the payload.
const (
	magic0, magic1 = 0xc0, 0xdb
	version        = 1

	entryLen     = 8
	tableHeadLen = 4
	sumLen       = 4

	minBlockLog   = 12
	maxBlockLog   = 20
	maxTableBytes = 64 << 10 // all tables of a header
)

var le = binary.LittleEndian

// entry is an index entry and where its block is in the payload.
type entry struct {
	codec  codecID
	stored uint32
	sum    uint32
	offset uint32
}

// checksum is the checksum of blocks and headers.
func checksum(b []byte) uint32 { return uint32(xxhash.Sum64(b)) }

// prefix is the first PrefixLen bytes of a payload.
type prefix struct {
	dtype     dtype.Kind
	blockLog  uint
	tables    int
	rawSize   int64
	headerLen int64
}

func (p *prefix) blocks() int { return int((p.rawSize + 1<<p.blockLog - 1) >> p.blockLog) }

func (p *prefix) append(dst []byte) []byte {
	dst = append(dst, magic0, magic1, version, byte(p.dtype), byte(p.blockLog), byte(p.tables), 0, 0)
	dst = le.AppendUint32(dst, uint32(p.rawSize))
	return le.AppendUint32(dst, uint32(p.headerLen))
}

// parsePrefix reads and bounds the prefix of a payload of payloadLen bytes.
func parsePrefix(b []byte, payloadLen int64) (p prefix, err error) {
	if len(b) < PrefixLen || payloadLen < PrefixLen {
		return p, corrupt("block header", "%d bytes of %d, want %d", len(b), payloadLen, PrefixLen)
	}
	if b[0] != magic0 || b[1] != magic1 {
		return p, corrupt("block header", "magic %x", b[:2])
	}
	if b[2] != version || b[6] != 0 || b[7] != 0 {
		return p, fmt.Errorf("block header version %d, flags %x: %w", b[2], b[6:8], errs.Unsupported)
	}
	p = prefix{
		dtype: dtype.Kind(b[3]), blockLog: uint(b[4]), tables: int(b[5]),
		rawSize: int64(le.Uint32(b[8:])), headerLen: int64(le.Uint32(b[12:])),
	}
	if p.blockLog < minBlockLog || p.blockLog > maxBlockLog {
		return p, corrupt("block header", "blocks of 2^%d bytes", p.blockLog)
	}
	if p.rawSize < 1 || p.rawSize > MaxBlob {
		return p, corrupt("block header", "raw size %d", p.rawSize)
	}
	least := int64(PrefixLen + entryLen*p.blocks() + sumLen)
	if p.headerLen < least || p.headerLen > least+maxTableBytes || p.headerLen > payloadLen {
		return p, corrupt("block header", "header of %d bytes in a payload of %d", p.headerLen, payloadLen)
	}
	return p, nil
}

func headerLen(b []byte, payloadLen int64) (int64, error) {
	p, err := parsePrefix(b, payloadLen)
	return p.headerLen, err
}

func appendEntry(dst []byte, e entry) []byte {
	dst = append(dst, byte(e.codec), byte(e.stored), byte(e.stored>>8), byte(e.stored>>16))
	return le.AppendUint32(dst, e.sum)
}

func parseEntry(b []byte) entry {
	return entry{codec: codecID(b[0]), stored: le.Uint32(b) >> 8, sum: le.Uint32(b[4:])}
}

func appendTable(dst []byte, kind tableKind, number int, body []byte) []byte {
	dst = append(dst, byte(kind), byte(number))
	dst = le.AppendUint16(dst, uint16(len(body)))
	return append(dst, body...)
}

// corrupt returns an error of class errs.Corrupt.
func corrupt(where, format string, args ...any) error {
	return &errs.CorruptError{Where: where, Offset: -1, Detail: fmt.Sprintf(format, args...)}
}
