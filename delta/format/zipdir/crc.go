package zipdir

import (
	"encoding/binary"
	"io"

	"coral/delta/format"
)

// Where an entry's CRC-32 stands, besides the layouts above:
//
//	directory entry  16 4
//	local header     14 4   0 if flag 8 is set
//	data descriptor, behind the data if flag 8 is set:
//	                 0  4   PK\7\8, may be missing
//	                 4  4   the CRC
const (
	flagDescriptor = 8
	sigDescriptor  = 0x08074b50
)

// CRCs returns the file offsets of all places that hold the CRC-32 of a resolved entry, 4 bytes each, and the CRC that they hold. Places
// that disagree are format.ErrDamaged.
func (e *Entry) CRCs(r io.ReaderAt) (places []int64, crc uint32, err error) {
	places = []int64{e.Record + 16}
	if e.flags&flagDescriptor == 0 {
		places = append(places, e.Header+14)
	} else {
		at := e.Data + e.Packed
		sig, err := u32(r, at)
		if err != nil {
			return nil, 0, err
		}
		if sig == sigDescriptor {
			at += 4
		}
		places = append(places, at)
	}
	for i, at := range places {
		v, err := u32(r, at)
		if err != nil {
			return nil, 0, err
		}
		if i > 0 && v != crc {
			return nil, 0, format.Damaged(kind, at, "entry %q has two checksums", e.Name)
		}
		crc = v
	}
	return places, crc, nil
}

func u32(r io.ReaderAt, at int64) (uint32, error) {
	var b [4]byte
	if n, err := r.ReadAt(b[:], at); n < len(b) {
		if err == io.EOF {
			return 0, format.Damaged(kind, at, "file ends early")
		}
		return 0, err
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}
