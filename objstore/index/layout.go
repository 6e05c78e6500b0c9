package index

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// Version is the version of the database's layout.
const Version = 1

// The buckets.
var (
	bucketRecords = []byte("records") // id → record
	bucketPacks   = []byte("packs")   // pack number, 8 bytes big endian → pack row
	bucketHints   = []byte("hints")   // first 16 bytes of BLAKE3 of the key → value
	bucketMeta    = []byte("meta")    // names below
)

// Keys of the meta bucket, and the lengths of their values without the checksum.
var (
	metaFormat = []byte("format") // 4: Version
	metaNext   = []byte("next")   // 8: the number of the next pack
	metaDigest = []byte("digest") // 32: digest
)

// Sizes, in bytes. All integers are little endian. Every value ends with the xxHash64 of its key and what
// stands before it.
const (
	recordSize  = 72
	packRowSize = 40
	digestSize  = 40
	sumSize     = 8
	hintKeySize = 16
	// MaxHint bounds the value of a hint.
	MaxHint = 64 << 10
)

// valueSum is the checksum of a value stored under key.
func valueSum(key, value []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(key)
	_, _ = d.Write(value)
	return d.Sum64()
}

// seal appends the checksum to value.
func seal(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint64(value, valueSum(key, value))
}

// open checks the value stored under key and returns it without its checksum.
func open(key, stored []byte) (value []byte, sum uint64, ok bool) {
	if len(stored) < sumSize {
		return nil, 0, false
	}
	value = stored[:len(stored)-sumSize]
	sum = binary.LittleEndian.Uint64(stored[len(value):])
	return value, sum, sum == valueSum(key, value)
}

// encodeRecord returns the value for info.
//
//	0  1  zero
//	1  1  kind
//	2  1  dtype
//	3  1  depth
//	4  2  codec
//	6  2  zero
//	8  4  payload length
//	12 4  pack number
//	16 8  offset of the payload in the pack
//	24 8  raw size
//	32 32 base id, zero without one
//	64 8  checksum
func encodeRecord(info objstore.Info) []byte {
	b := make([]byte, 64, recordSize)
	b[1], b[2], b[3] = byte(info.Kind), info.DType, info.Depth
	binary.LittleEndian.PutUint16(b[4:], info.Codec)
	binary.LittleEndian.PutUint32(b[8:], uint32(info.Stored))
	binary.LittleEndian.PutUint32(b[12:], uint32(info.Pack))
	binary.LittleEndian.PutUint64(b[16:], uint64(info.Offset))
	binary.LittleEndian.PutUint64(b[24:], uint64(info.RawSize))
	copy(b[32:], info.Base[:])
	return seal(info.ID[:], b)
}

// decodeRecord reads the value stored under key.
func decodeRecord(key, stored []byte) (info objstore.Info, sum uint64, err error) {
	b, sum, ok := open(key, stored)
	if !ok || len(key) != oid.Size || len(b) != recordSize-sumSize {
		return info, 0, fmt.Errorf("record %x: checksum is wrong: %w", key[:min(len(key), 6)], errs.Corrupt)
	}
	off, raw := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	info = objstore.Info{Kind: objstore.Kind(b[1]), ID: oid.ID(key), Codec: binary.LittleEndian.Uint16(b[4:]), DType: b[2], Depth: b[3],
		RawSize: int64(raw), Stored: int64(binary.LittleEndian.Uint32(b[8:])), Base: oid.ID(b[32:64]),
		Pack: uint64(binary.LittleEndian.Uint32(b[12:])), Offset: int64(off)}
	if info.Stored > objstore.MaxPayload || off > 1<<62 || raw > 1<<62 || b[0]|b[6]|b[7] != 0 {
		return info, 0, fmt.Errorf("record %s: malformed: %w", info.ID.Short(), errs.Corrupt)
	}
	return info, sum, nil
}

// Pack is the index's row of one pack.
type Pack struct {
	Length int64  // bytes whose frames are all indexed; of a sealed pack, the file's length
	Frames int64  // frames in them
	Salt   uint64 // of the pack's header, as a spare
	Sealed bool
	Dead   bool // all its live records have been moved: the file is to be removed
	Loose  bool // holds frames that Collect dropped from the index
}

const (
	packSealed = 1 << iota
	packDead
	packLoose
)

func packKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// encodePack returns the value for pack n.
//
//	0  1  flags: 1 sealed, 2 dead, 4 loose
//	1  7  zero
//	8  8  indexed length
//	16 8  frames
//	24 8  salt
//	32 8  checksum
func encodePack(n uint64, p Pack) []byte {
	b := make([]byte, 32, packRowSize)
	for _, f := range []struct {
		set bool
		bit byte
	}{{p.Sealed, packSealed}, {p.Dead, packDead}, {p.Loose, packLoose}} {
		if f.set {
			b[0] |= f.bit
		}
	}
	binary.LittleEndian.PutUint64(b[8:], uint64(p.Length))
	binary.LittleEndian.PutUint64(b[16:], uint64(p.Frames))
	binary.LittleEndian.PutUint64(b[24:], p.Salt)
	return seal(packKey(n), b)
}

func decodePack(key, stored []byte) (n uint64, p Pack, sum uint64, err error) {
	b, sum, ok := open(key, stored)
	if !ok || len(key) != 8 || len(b) != packRowSize-sumSize {
		return 0, p, 0, fmt.Errorf("pack row %x: checksum is wrong: %w", key[:min(len(key), 8)], errs.Corrupt)
	}
	length, frames := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if length > 1<<62 || frames > 1<<40 {
		return 0, p, 0, fmt.Errorf("pack row %x: malformed: %w", key, errs.Corrupt)
	}
	p = Pack{Length: int64(length), Frames: int64(frames), Salt: binary.LittleEndian.Uint64(b[24:]),
		Sealed: b[0]&packSealed != 0, Dead: b[0]&packDead != 0, Loose: b[0]&packLoose != 0}
	return binary.BigEndian.Uint64(key), p, sum, nil
}

// digest is a fingerprint of the records and pack rows, kept with every transaction, so that lost entries are noticed: how many there
// are and the sum of their checksums.
//
//	0  8  records     8  8  sum of their checksums, modulo 2^64
//	16 8  pack rows   24 8  sum of theirs
//	32 8  checksum
type digest struct {
	records, recordSum, packs, packSum uint64
}

func (d digest) encode() []byte {
	b := make([]byte, 0, digestSize)
	for _, v := range []uint64{d.records, d.recordSum, d.packs, d.packSum} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return seal(metaDigest, b)
}

func decodeDigest(stored []byte) (d digest, err error) {
	b, _, ok := open(metaDigest, stored)
	if !ok || len(b) != digestSize-sumSize {
		return d, fmt.Errorf("digest: checksum is wrong: %w", errs.Corrupt)
	}
	return digest{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]),
		binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])}, nil
}

// hintKey shortens a caller's key, which may be a long path.
func hintKey(key []byte) []byte {
	id := oid.Sum(key)
	return id[:hintKeySize]
}
