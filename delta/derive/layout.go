package derive

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// A recipe as it is stored. Little endian.
//
//	 0  2     magic c0 de
//	 2  1     version: 1
//	 3  1     element kind of the output (dtype.Kind)
//	 4  4     length of all of this, at most MaxLen
//	 8  2     number of sources, 1 to 1024
//	10  2     number of pieces, 1 to 4096
//	12  4     0
//	16  32 S  ids of the sources
//	 …  …     pieces, each:
//	            0  1     operation
//	            1  1     mode
//	            2  1     number of terms
//	            3  1     0
//	            4  4     length of the output
//	            8  4     rows of a transposed matrix, else 0
//	           12  12 T  terms:
//	                       0  2  source
//	                       2  1  element kind
//	                       3  1  0
//	                       4  4  offset in the source, in bytes
//	                       8  4  coefficient, binary32
//	 …  4     low 32 bits of the xxHash64 of all before
const (
	magic0, magic1 = 0xc0, 0xde
	version        = 1

	// PrefixLen is how many bytes Len needs.
	PrefixLen = 16

	idLen    = 32
	pieceLen = 12
	termLen  = 12
	sumLen   = 4
)

var le = binary.LittleEndian

// Size returns the length of the stored form of r.
func (r *Recipe) Size() int {
	n := PrefixLen + idLen*len(r.Sources) + sumLen
	for i := range r.Pieces {
		n += pieceLen + termLen*len(r.Pieces[i].Terms)
	}
	return n
}

// Append appends the stored form of r, at most MaxLen bytes, or fails with errs.TooLarge.
func (r *Recipe) Append(dst []byte) ([]byte, error) {
	n := r.Size()
	if n > MaxLen {
		return dst, fmt.Errorf("recipe of %d bytes: %w", n, errs.TooLarge)
	}
	start := len(dst)
	dst = append(dst, magic0, magic1, version, byte(r.DType))
	dst = le.AppendUint32(dst, uint32(n))
	dst = le.AppendUint16(dst, uint16(len(r.Sources)))
	dst = le.AppendUint16(dst, uint16(len(r.Pieces)))
	dst = append(dst, 0, 0, 0, 0)
	for i := range r.Sources {
		dst = append(dst, r.Sources[i][:]...)
	}
	for i := range r.Pieces {
		p := &r.Pieces[i]
		dst = append(dst, byte(p.Op), byte(p.Mode), byte(len(p.Terms)), 0)
		dst = le.AppendUint32(dst, uint32(p.Len))
		dst = le.AppendUint32(dst, uint32(p.Rows))
		for j := range p.Terms {
			t := &p.Terms[j]
			dst = le.AppendUint16(dst, uint16(t.Source))
			dst = append(dst, byte(t.DType), 0)
			dst = le.AppendUint32(dst, uint32(t.Off))
			dst = le.AppendUint32(dst, math.Float32bits(t.Coef))
		}
	}
	return le.AppendUint32(dst, uint32(xxhash.Sum64(dst[start:]))), nil
}

// Len returns the length of a stored recipe from its first PrefixLen bytes. It is at most MaxLen and at most
// payloadLen, the length of the frame's payload, or an error.
func Len(prefix []byte, payloadLen int64) (int64, error) {
	if len(prefix) < PrefixLen || payloadLen < PrefixLen {
		return 0, corrupt("%d bytes of %d, want %d", len(prefix), payloadLen, PrefixLen)
	}
	if prefix[0] != magic0 || prefix[1] != magic1 {
		return 0, corrupt("magic %x", prefix[:2])
	}
	if prefix[2] != version || le.Uint32(prefix[12:]) != 0 {
		return 0, fmt.Errorf("recipe version %d, flags %x: %w", prefix[2], prefix[12:16], errs.Unsupported)
	}
	n := int64(le.Uint32(prefix[4:]))
	if n < PrefixLen+sumLen || n > MaxLen || n > payloadLen {
		return 0, corrupt("%d bytes in a payload of %d", n, payloadLen)
	}
	return n, nil
}

// Parse returns the recipe that b, as long as Len says, holds. It copies what it keeps. What it does not know is errs.Unsupported, what cannot be is errs.Corrupt.
func Parse(b []byte) (*Recipe, error) {
	n, err := Len(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	if n != int64(len(b)) {
		return nil, corrupt("%d bytes, want %d", len(b), n)
	}
	body := b[:n-sumLen]
	if got, want := uint32(xxhash.Sum64(body)), le.Uint32(b[len(body):]); got != want {
		return nil, corrupt("checksum %08x, want %08x", got, want)
	}
	r := &Recipe{DType: dtype.Kind(b[3])}
	sources, pieces := int(le.Uint16(b[8:])), int(le.Uint16(b[10:]))
	body = body[PrefixLen:]
	if sources > maxSource || pieces > maxPiece || len(body) < idLen*sources+pieceLen*pieces {
		return nil, corrupt("%d sources and %d pieces in %d bytes", sources, pieces, n)
	}
	r.Sources = make([][32]byte, sources)
	for i := range r.Sources {
		copy(r.Sources[i][:], body)
		body = body[idLen:]
	}
	r.Pieces = make([]Piece, pieces)
	for i := range r.Pieces {
		if body, err = r.Pieces[i].parse(body); err != nil {
			return nil, err
		}
	}
	if len(body) != 0 {
		return nil, corrupt("%d bytes after the pieces", len(body))
	}
	if why := r.check(); why != "" {
		return nil, corrupt("%s", why)
	}
	return r, nil
}

// parse reads one piece and returns what follows it.
func (p *Piece) parse(b []byte) (rest []byte, err error) {
	if len(b) < pieceLen || len(b) < pieceLen+termLen*int(b[2]) {
		return nil, corrupt("pieces end early")
	}
	if b[0] >= byte(ops) || b[3] != 0 {
		return nil, fmt.Errorf("recipe operation %d, flags %x: %w", b[0], b[3], errs.Unsupported)
	}
	*p = Piece{Op: Op(b[0]), Mode: Mode(b[1]), Len: int64(le.Uint32(b[4:])), Rows: int(int32(le.Uint32(b[8:])))}
	if b[2] > MaxTerms {
		return nil, corrupt("%d terms", b[2])
	}
	p.Terms = make([]Term, b[2])
	b = b[pieceLen:]
	for i := range p.Terms {
		if b[3] != 0 {
			return nil, fmt.Errorf("recipe term flags %x: %w", b[3], errs.Unsupported)
		}
		p.Terms[i] = Term{Source: int(le.Uint16(b)), DType: dtype.Kind(b[2]), Off: int64(le.Uint32(b[4:])), Coef: math.Float32frombits(le.Uint32(b[8:]))}
		b = b[termLen:]
	}
	return b, nil
}

func corrupt(format string, args ...any) error {
	return &errs.CorruptError{Where: "recipe", Offset: -1, Detail: fmt.Sprintf(format, args...)}
}
