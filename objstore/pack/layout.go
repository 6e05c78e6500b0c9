package pack

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// Version is the version of pack files that this package writes and reads.
const Version = 1

// Sizes, in bytes. All integers are little endian.
const (
	FileHeaderSize  = 32
	HeaderSize      = 104 // of a frame
	dirEntrySize    = 68  // without the base
	trailerSize     = 48
	MaxNumber       = 1<<32 - 1
	MaxRaw          = 1 << 40 // raw size of one record
	maxDirectory    = 64 << 20
	headerSummed    = 96 // bytes of a frame header before its checksum
	fileHeadSummed  = 24
	trailerSummed   = 40
	flagBase        = 1
	kindFiller      = 0xff // a frame over bytes that a crash tore: no record
	seedFrame       = 0x636f72616c667231
	frameMagicValue = "CFR\x01"
)

var (
	fileMagic    = [8]byte{'C', 'O', 'R', 'A', 'L', 'P', 'K', '\n'}
	frameMagic   = []byte(frameMagicValue)
	trailerMagic = [8]byte{'C', 'O', 'R', 'A', 'L', 'P', 'E', '\n'}
)

// Name returns the file name of pack number n.
func Name(n uint64) string { return fmt.Sprintf("%08d.pack", n) }

// ParseName returns the pack number of a file name made by Name.
func ParseName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".pack")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return n, err == nil && n > 0 && Name(n) == name
}

// fileHeader begins every pack:
//
//	0  8  magic "CORALPK\n"
//	8  4  version
//	12 4  pack number
//	16 8  salt: random; seeds the checksums of the frame headers
//	24 8  xxHash64 of bytes 0..24
type fileHeader struct {
	number uint64
	salt   uint64
}

func (h fileHeader) encode() []byte {
	b := make([]byte, FileHeaderSize)
	copy(b, fileMagic[:])
	binary.LittleEndian.PutUint32(b[8:], Version)
	binary.LittleEndian.PutUint32(b[12:], uint32(h.number))
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	binary.LittleEndian.PutUint64(b[24:], xxhash.Sum64(b[:fileHeadSummed]))
	return b
}

// decodeFileHeader returns a short reason, or errs.Unsupported for a version from the future.
func decodeFileHeader(b []byte) (fileHeader, error) {
	var h fileHeader
	if len(b) < FileHeaderSize || [8]byte(b[:8]) != fileMagic {
		return h, fmt.Errorf("not a pack file: %w", errs.Corrupt)
	}
	if binary.LittleEndian.Uint64(b[24:]) != xxhash.Sum64(b[:fileHeadSummed]) {
		return h, fmt.Errorf("checksum of the pack header is wrong: %w", errs.Corrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return h, fmt.Errorf("pack version %d, this program knows %d: %w", v, Version, errs.Unsupported)
	}
	h.number = uint64(binary.LittleEndian.Uint32(b[12:]))
	h.salt = binary.LittleEndian.Uint64(b[16:])
	return h, nil
}

// Frame is a frame's header.
//
//	0  4  magic "CFR" 0x01
//	4  1  kind; 255 is filler, a frame without a record
//	5  1  dtype
//	6  1  depth
//	7  1  flags: 1 has a base
//	8  2  codec
//	10 2  zero
//	12 4  payload length, at most objstore.MaxPayload
//	16 8  raw size, at most MaxRaw
//	24 32 id
//	56 32 base id, zero without one
//	88 8  xxHash64 of the payload
//	96 8  xxHash64 of bytes 0..96, seeded with frameSeed(salt, offset of the frame)
type Frame struct {
	Kind    objstore.Kind
	DType   uint8
	Depth   uint8
	Codec   uint16
	Length  uint32 // of the payload
	RawSize int64
	ID      oid.ID
	Base    oid.ID
	Sum     uint64 // xxHash64 of the payload
}

// FrameOf returns the header for rec.
func FrameOf(rec objstore.Record) Frame {
	return Frame{Kind: rec.Kind, DType: rec.DType, Depth: rec.Depth, Codec: rec.Codec, Length: uint32(len(rec.Payload)),
		RawSize: rec.RawSize, ID: rec.ID, Base: rec.Base, Sum: xxhash.Sum64(rec.Payload)}
}

// Info returns what the index keeps of f, whose header begins at off in pack n.
func (f Frame) Info(n uint64, off int64) objstore.Info {
	return objstore.Info{Kind: f.Kind, ID: f.ID, Codec: f.Codec, DType: f.DType, Depth: f.Depth, RawSize: f.RawSize,
		Stored: int64(f.Length), Base: f.Base, Pack: n, Offset: off + HeaderSize}
}

// Size returns the bytes of the frame, header and payload.
func (f Frame) Size() int64 { return HeaderSize + int64(f.Length) }

// Filler reports whether f covers torn bytes and holds no record.
func (f Frame) Filler() bool { return f.Kind == kindFiller }

// frameSeed mixes salt and offset; the multiplications are those of splitmix64's finaliser.
func frameSeed(salt uint64, off int64) uint64 {
	x := (salt ^ seedFrame) + uint64(off)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (f Frame) encode(b []byte, salt uint64, off int64) {
	clear(b[:HeaderSize])
	copy(b, frameMagic)
	b[4], b[5], b[6] = byte(f.Kind), f.DType, f.Depth
	if !f.Base.IsZero() {
		b[7] = flagBase
	}
	binary.LittleEndian.PutUint16(b[8:], f.Codec)
	binary.LittleEndian.PutUint32(b[12:], f.Length)
	binary.LittleEndian.PutUint64(b[16:], uint64(f.RawSize))
	copy(b[24:], f.ID[:])
	copy(b[56:], f.Base[:])
	binary.LittleEndian.PutUint64(b[88:], f.Sum)
	binary.LittleEndian.PutUint64(b[96:], headerSum(b, salt, off))
}

func headerSum(b []byte, salt uint64, off int64) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(frameSeed(salt, off))
	_, _ = d.Write(b[:headerSummed])
	return d.Sum64()
}

// decodeFrame reads a header that lies at off; ok is false if there is none.
func decodeFrame(b []byte, salt uint64, off int64) (f Frame, ok bool) {
	if len(b) < HeaderSize || string(b[:4]) != frameMagicValue ||
		binary.LittleEndian.Uint64(b[96:]) != headerSum(b, salt, off) {
		return f, false
	}
	raw := binary.LittleEndian.Uint64(b[16:])
	f = Frame{Kind: objstore.Kind(b[4]), DType: b[5], Depth: b[6], Codec: binary.LittleEndian.Uint16(b[8:]),
		Length: binary.LittleEndian.Uint32(b[12:]), RawSize: int64(raw), ID: oid.ID(b[24:56]), Base: oid.ID(b[56:88]),
		Sum: binary.LittleEndian.Uint64(b[88:])}
	ok = f.Length <= objstore.MaxPayload && raw <= MaxRaw && b[10]|b[11] == 0 && b[7] == baseFlag(f.Base) && f.Kind != 0
	return f, ok
}

func baseFlag(base oid.ID) byte {
	if base.IsZero() {
		return 0
	}
	return flagBase
}
