package similar

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"coral/delta/format/dtype"
	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/oid"
)

// Layout of the files in .coral/similar, little endian.
//
// Record, 72 bytes:
//
//	 0 32  blob id
//	32 32  fingerprint
//	64  4  element count
//	68  1  dtype
//	69  1  zero
//	70  2  low half of the low word of xxHash64 of bytes 0 to 69
//
// NNNNNNNN.tail: 16 bytes of head ("CORALSIT", version as uint32, zero as uint32), then records. One that does not check was not written whole, and is passed over.
//
// NNNNNNNN.run: n records; for each table its postings, each three uint32: the key, the number of the record, and the 32 bits of the fingerprint that are the keys of the two
// tables after this one, by which most postings that are far are passed over without reading their records; sorted by key and then number. For each table its
// fences, the key of every 64th posting as uint32; at the end the trailer of 96 bytes:
//
//	 0  8  "CORALSIR"
//	 8  4  version
//	12  4  number of records
//	16 64  number of postings of each table
//	80  8  zero
//	88  8  xxHash64 of the fences and of bytes 0 to 87
//
// The file incomplete is empty; while it is there, blobs are missing from the index.
const (
	recordSize  = 72
	tailHead    = 16
	trailerSize = 96
	postingSize = 12
	fenceEvery  = 64

	tailMagic = "CORALSIT"
	runMagic  = "CORALSIR"
	layout    = 2                            // 1 had postings without fingerprint bits
	version   = layout<<16 | simhash.Version // a change of either makes the index anew

	maxRecords = 1 << 30 // of a run
)

type record [recordSize]byte

func makeRecord(id oid.ID, s *simhash.Sketch) (r record) {
	copy(r[:], id[:])
	copy(r[32:], s.Fingerprint[:])
	binary.LittleEndian.PutUint32(r[64:], s.Count)
	r[68] = byte(s.DType)
	binary.LittleEndian.PutUint16(r[70:], r.check())
	return r
}

func (r *record) check() uint16 { return uint16(xxhash.Sum64(r[:70])) }

// whole reports whether the record is what was written.
func (r *record) whole() bool { return binary.LittleEndian.Uint16(r[70:]) == r.check() }

func (r *record) id() oid.ID        { return oid.ID(r[:32]) }
func (r *record) dtype() dtype.Kind { return dtype.Kind(r[68]) }

func (r *record) count() uint32 { return binary.LittleEndian.Uint32(r[64:]) }

func (r *record) fingerprint() *simhash.Fingerprint { return (*simhash.Fingerprint)(r[32:64]) }

// extra is the fingerprint bits that go with the record's posting in a table: those of the two tables after it.
func extra(f *simhash.Fingerprint, table int) uint32 {
	at := 2 * table
	return uint32(f[(at+2)%simhash.Size]) | uint32(f[(at+3)%simhash.Size])<<8 | uint32(f[(at+4)%simhash.Size])<<16 | uint32(f[(at+5)%simhash.Size])<<24
}

func (r *record) sketch() simhash.Sketch {
	return simhash.Sketch{Fingerprint: *r.fingerprint(), Count: r.count(), DType: r.dtype()}
}

// posting is one entry of a table.
type posting struct{ key, number, extra uint32 }

func decodePosting(b []byte) posting {
	return posting{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])}
}

// trailer of a run.
type trailer struct {
	records  uint32
	postings [simhash.Tables]uint32
}

func fences(postings uint32) int64 { return (int64(postings) + fenceEvery - 1) / fenceEvery }

// fenceCount is the fences of all tables.
func (t *trailer) fenceCount() (n int64) {
	for _, p := range t.postings {
		n += fences(p)
	}
	return n
}

// start returns where the postings of a table begin; that of table Tables is where the fences begin.
func (t *trailer) start(table int) int64 {
	at := int64(t.records) * recordSize
	for _, p := range t.postings[:table] {
		at += int64(p) * postingSize
	}
	return at
}

// size is the length of the file.
func (t *trailer) size() int64 { return t.start(simhash.Tables) + 4*t.fenceCount() + trailerSize }

func (t *trailer) encode(fences []byte) []byte {
	b := make([]byte, trailerSize)
	copy(b, runMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], t.records)
	for i, p := range t.postings {
		binary.LittleEndian.PutUint32(b[16+4*i:], p)
	}
	binary.LittleEndian.PutUint64(b[88:], trailerSum(fences, b))
	return b
}

func trailerSum(fences, b []byte) uint64 {
	d := xxhash.New()
	_, _ = d.Write(fences) // never fails
	_, _ = d.Write(b[:88])
	return d.Sum64()
}

// decodeTrailer reads a trailer of a file of size bytes, all but its checksum.
func decodeTrailer(b []byte, size int64) (t trailer, err error) {
	if len(b) != trailerSize || string(b[:8]) != runMagic {
		return t, fmt.Errorf("no trailer of a run: %w", errs.Corrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return t, fmt.Errorf("version %d.%d, want %d.%d: %w", v>>16, v&0xFFFF, version>>16, version&0xFFFF, errs.Unsupported)
	}
	t.records = binary.LittleEndian.Uint32(b[12:])
	for i := range t.postings {
		t.postings[i] = binary.LittleEndian.Uint32(b[16+4*i:])
		if t.postings[i] > t.records {
			return t, fmt.Errorf("%d postings of %d records: %w", t.postings[i], t.records, errs.Corrupt)
		}
	}
	if t.records > maxRecords || t.size() != size {
		return t, fmt.Errorf("%d bytes where the trailer makes %d: %w", size, t.size(), errs.Corrupt)
	}
	return t, nil
}

func tailHeader() []byte {
	b := make([]byte, tailHead)
	copy(b, tailMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	return b
}
