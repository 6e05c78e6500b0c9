package worktree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/oid"
)

// A journal file is a header and then records. All fixed-width numbers are little endian.
//
// Header:
//
//	0   8  magic "CORALJNL"
//	8   4  version
//	12  4  length of the header, checksum included (at most maxHeader)
//	16  8  base time: what directories of the base tree show as mtime, ns since 1970, signed
//	24  32 base tree id (zero: empty)
//	56  2  length n of the branch name
//	58  n  branch name
//	..  8  xxHash64 of all bytes before
//
// Record:
//
//	0   4  length n of the body, 1 … maxRecord
//	4   n  body: kind (1 byte), time (zigzag varint, ns since 1970), then the fields of that kind (recordFields) in order
//	4+n 8  xxHash64 of all bytes before, the length included
//
// Fields: numbers are unsigned varints, times and sizes zigzag varints, strings and byte strings a varint length and the raw bytes,
// ids 32 bytes. A body with bytes left over or missing is invalid.
const (
	journalMagic   = "CORALJNL"
	headerFixed    = 58
	maxHeader      = headerFixed + maxBranch + 8
	maxBranch      = 1024
	recordOverhead = 4 + 8
	maxRecord      = 1 << 18
	maxPath        = 60 << 10
	maxXattr       = 64 << 10 // of one value, as in Linux
)

// journalVersion is the version of a journal. Appended to only: a reader refuses what it does not know.
type journalVersion uint32

const journalV1 journalVersion = 1

// recKind is the kind of a record. Stored: append only.
type recKind uint8

const (
	recMkdir       recKind = 1  // a directory was made
	recCreate      recKind = 2  // a regular file was made (or a nameless one got its first name); content = spool
	recMknod       recKind = 3  // a FIFO, socket or device node was made
	recSymlink     recKind = 4  // value is the target
	recLink        recKind = 5  // path2 is another name of path
	recUnlink      recKind = 6  // a name of a non-directory was removed; with the last one goes its spool file
	recRmdir       recKind = 7  // an empty directory was removed
	recRename      recKind = 8  // path became path2, replacing what was there
	recExchange    recKind = 9  // path and path2 changed places
	recSetattr     recKind = 10 // the attributes of mask were set
	recSetxattr    recKind = 11
	recRemovexattr recKind = 12
	recDirty       recKind = 13 // the truth of path is now the spool file
	recIngested    recKind = 14 // path is manifest id; the spool file was a copy of it when it had these stat fields
	recDoomed      recKind = 15 // the spool file has no name: recovery removes it unless a later record names it
	recFile        recKind = 16 // compaction, Switch: the whole state of a regular file, replacing what is at path
	recGraft       recKind = 17 // compaction, Switch: a directory whose content is tree id, replacing what is at path
	recDrop        recKind = 18 // compaction, Switch: path is not there, nor what is below it
)

// recField is one field of a record.
type recField uint8

const (
	fPath recField = iota
	fPath2
	fMode
	fOwner // uid, gid
	fRdev
	fSpool
	fID
	fStat  // size, mtime, ctime of the spool file
	fTimes // mask, then atime, mtime, ctime
	fName
	fValue
	fState // 1: dirty, 0: clean
	fSize
)

// recordFields lists the fields of each kind, in order.
var recordFields = [...][]recField{
	recMkdir:       {fPath, fMode, fOwner},
	recCreate:      {fPath, fMode, fOwner, fSpool},
	recMknod:       {fPath, fMode, fOwner, fRdev},
	recSymlink:     {fPath, fOwner, fValue},
	recLink:        {fPath, fPath2},
	recUnlink:      {fPath},
	recRmdir:       {fPath},
	recRename:      {fPath, fPath2},
	recExchange:    {fPath, fPath2},
	recSetattr:     {fPath, fMode, fOwner, fTimes},
	recSetxattr:    {fPath, fName, fValue},
	recRemovexattr: {fPath, fName},
	recDirty:       {fPath, fSpool},
	recIngested:    {fPath, fSpool, fID, fStat},
	recDoomed:      {fSpool},
	recFile:        {fPath, fMode, fOwner, fTimes, fID, fSize, fSpool, fState, fStat},
	recGraft:       {fPath, fMode, fOwner, fTimes, fID},
	recDrop:        {fPath},
}

// What a recSetattr sets.
const (
	setMode  = 1 << 0
	setOwner = 1 << 1
	setAtime = 1 << 2
	setMtime = 1 << 3
	setCtime = 1 << 4
	setAll   = setMode | setOwner | setAtime | setMtime | setCtime
)

// record is one change. Which fields count is a matter of its kind.
type record struct {
	kind                recKind
	time                int64
	path, path2         string
	mode                uint32
	uid, gid            uint32
	rdev                uint32
	spool               spoolID
	id                  oid.ID
	size                int64
	stat                spoolStat
	mask                uint8
	atime, mtime, ctime int64
	name                string
	value               []byte
	dirty               bool
}

// spoolStat is what tells that a spool file has not been written to.
type spoolStat struct{ size, mtime, ctime int64 }

// header is the head of a journal.
type header struct {
	baseTime int64
	base     oid.ID
	branch   string
}

// errTorn is the end of the valid part of a journal: a record that is incomplete or does not match its checksum.
var errTorn = errors.New("torn record")

// appendHeader appends h.
func appendHeader(dst []byte, h header) []byte {
	start := len(dst)
	dst = append(dst, journalMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(journalV1))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(headerFixed+len(h.branch)+8))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.baseTime))
	dst = append(dst, h.base[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(h.branch)))
	dst = append(dst, h.branch...)
	return binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// decodeHeader reads the header at the start of b, which holds at least the whole of it, and returns its length.
func decodeHeader(b []byte) (header, int, error) {
	var h header
	if len(b) < headerFixed+8 || string(b[:8]) != journalMagic {
		return h, 0, fmt.Errorf("journal header: no magic: %w", errs.Corrupt)
	}
	if v := journalVersion(binary.LittleEndian.Uint32(b[8:])); v != journalV1 {
		return h, 0, fmt.Errorf("journal version %d (this program knows %d): %w", v, journalV1, errs.Unsupported)
	}
	n := int(binary.LittleEndian.Uint32(b[12:]))
	branch := int(binary.LittleEndian.Uint16(b[56:]))
	if n > maxHeader || n > len(b) || n != headerFixed+branch+8 {
		return h, 0, fmt.Errorf("journal header: length %d: %w", n, errs.Corrupt)
	}
	if xxhash.Sum64(b[:n-8]) != binary.LittleEndian.Uint64(b[n-8:]) {
		return h, 0, fmt.Errorf("journal header: checksum: %w", errs.Corrupt)
	}
	h.baseTime = int64(binary.LittleEndian.Uint64(b[16:]))
	copy(h.base[:], b[24:56])
	h.branch = string(b[headerFixed : headerFixed+branch])
	return h, n, nil
}

// appendRecord appends r with its frame.
func appendRecord(dst []byte, r *record) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(r.kind))
	dst = binary.AppendVarint(dst, r.time)
	for _, f := range recordFields[r.kind] {
		dst = appendField(dst, r, f)
	}
	return seal(dst, start)
}

// seal completes the frame of the record that begins at start.
func seal(dst []byte, start int) []byte {
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

func appendField(dst []byte, r *record, f recField) []byte {
	switch f {
	case fPath:
		return appendString(dst, r.path)
	case fPath2:
		return appendString(dst, r.path2)
	case fMode:
		return binary.AppendUvarint(dst, uint64(r.mode))
	case fOwner:
		return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(r.uid)), uint64(r.gid))
	case fRdev:
		return binary.AppendUvarint(dst, uint64(r.rdev))
	case fSpool:
		return binary.AppendUvarint(dst, uint64(r.spool))
	case fID:
		return append(dst, r.id[:]...)
	case fStat:
		return binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, r.stat.size), r.stat.mtime), r.stat.ctime)
	case fTimes:
		dst = append(dst, r.mask)
		return binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, r.atime), r.mtime), r.ctime)
	case fName:
		return appendString(dst, r.name)
	case fValue:
		return append(binary.AppendUvarint(dst, uint64(len(r.value))), r.value...)
	case fState:
		if r.dirty {
			return append(dst, 1)
		}
		return append(dst, 0)
	default: // fSize
		return binary.AppendVarint(dst, r.size)
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// frameLength returns the length of the record that begins with b (at least 4 bytes), frame included.
func frameLength(b []byte) (int, error) {
	n := binary.LittleEndian.Uint32(b)
	if n < 1 || n > maxRecord {
		return 0, errTorn
	}
	return int(n) + recordOverhead, nil
}

// decodeRecord reads the record in frame, which is exactly one, as frameLength said. A frame that fails its checksum is errTorn;
// one that passes it and still makes no sense is errs.Corrupt, and of an unknown kind errs.Unsupported. value refers to frame.
func decodeRecord(frame []byte) (record, error) {
	end := len(frame) - 8
	if end < 5 || xxhash.Sum64(frame[:end]) != binary.LittleEndian.Uint64(frame[end:]) {
		return record{}, errTorn
	}
	d := decoder{b: frame[4:end]}
	r := record{kind: recKind(d.byte())}
	if int(r.kind) >= len(recordFields) || recordFields[r.kind] == nil {
		return record{}, fmt.Errorf("journal record kind %d: %w", r.kind, errs.Unsupported)
	}
	r.time = d.varint()
	for _, f := range recordFields[r.kind] {
		d.field(&r, f)
	}
	if d.bad || len(d.b) > 0 {
		return record{}, fmt.Errorf("journal record of kind %d: malformed: %w", r.kind, errs.Corrupt)
	}
	return r, nil
}

// decoder takes values off the front of b; the first that is not there sets bad, and from then on all are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) field(r *record, f recField) {
	switch f {
	case fPath:
		r.path = string(d.bytes(maxPath))
	case fPath2:
		r.path2 = string(d.bytes(maxPath))
	case fMode:
		r.mode = d.uint32()
	case fOwner:
		r.uid, r.gid = d.uint32(), d.uint32()
	case fRdev:
		r.rdev = d.uint32()
	case fSpool:
		r.spool = spoolID(d.uvarint())
	case fID:
		copy(r.id[:], d.take(oid.Size))
	case fStat:
		r.stat = spoolStat{size: d.varint(), mtime: d.varint(), ctime: d.varint()}
	case fTimes:
		r.mask = d.byte()
		r.atime, r.mtime, r.ctime = d.varint(), d.varint(), d.varint()
	case fName:
		r.name = string(d.bytes(maxName))
	case fValue:
		r.value = d.bytes(maxXattr)
	case fState:
		r.dirty = d.byte() == 1
	case fSize:
		r.size = d.varint()
	}
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.bad = true
	}
	return uint32(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(limit int) []byte {
	n := d.uvarint()
	if n > uint64(limit) {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}
