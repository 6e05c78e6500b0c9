// Package protowire walks messages in the wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding)
// without a schema: fields come one by one, and what the caller does not read of one is skipped, never loaded.
// Groups, which no model file has, are damage.
package protowire

import (
	"io"
	"iter"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// Wire types.
const (
	Varint  = 0
	Fixed64 = 1
	Len     = 2
	Fixed32 = 5
)

// MaxFields bounds the fields of one file, and so the time to walk them: 16 Mi take half a second. Attributes of tree ensembles have
// one field a number, a few million.
const MaxFields = 16 << 20

// Field is one field of a message.
type Field struct {
	Number int
	Wire   int
	Value  uint64 // of Varint, Fixed32 and Fixed64
	At     int64  // file offset of the contents of a Len field
	End    int64  // of the contents
}

// Len returns the bytes of the contents of a Len field.
func (f *Field) Len() int64 { return f.End - f.At }

// Reader walks the messages of one file. Its errors stick, as those of the scan.Reader below do.
type Reader struct {
	*scan.Reader
	kind   string // of file, for errors
	fields int
}

// New returns a Reader of the bytes [off, end) of r. Errors name the kind of file.
func New(kind string, r io.ReaderAt, off, end int64) *Reader {
	return &Reader{Reader: scan.New(r, off, end), kind: kind}
}

// Next reads the head of the next field of the message that ends at end. It returns false at the end of the message and after an error. The
// contents of a Len field are the caller's: to walk as a message that ends at f.End, or to leave with SkipTo(f.End).
func (r *Reader) Next(end int64) (f Field, ok bool) {
	if r.Err() != nil || r.Pos() >= end {
		return f, false
	}
	at := r.Pos()
	if r.fields++; r.fields > MaxFields {
		r.Fail(format.Damaged(r.kind, at, "more than %d fields", MaxFields))
		return f, false
	}
	tag := r.varint()
	f.Number, f.Wire = int(tag>>3&(1<<29-1)), int(tag&7)
	if r.Err() == nil && (f.Number == 0 || tag>>32 != 0) {
		r.Fail(format.Damaged(r.kind, at, "tag %#x", tag))
	}
	switch f.Wire {
	case Varint:
		f.Value = r.varint()
	case Fixed64:
		f.Value = r.U64()
	case Fixed32:
		f.Value = uint64(r.U32())
	case Len:
		r.contents(&f, end)
	default:
		r.Fail(format.Damaged(r.kind, at, "wire type %d", f.Wire))
	}
	if r.Err() == nil && r.Pos() > end {
		r.Fail(format.Damaged(r.kind, at, "field %d goes beyond its message", f.Number))
	}
	return f, r.Err() == nil
}

// Messages gives the Len fields of the message that ends at end, passing over all others. After each, the reader is taken to the end of its contents, however much of
// them was read. An error ends it.
func (r *Reader) Messages(end int64) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for {
			f, ok := r.Next(end)
			if !ok {
				return
			}
			if f.Wire != Len {
				continue
			}
			if !yield(f) {
				return
			}
			r.SkipTo(f.End)
		}
	}
}

func (r *Reader) contents(f *Field, end int64) {
	n := r.varint()
	f.At = r.Pos()
	if r.Err() != nil {
		return
	}
	if f.At > end || n > uint64(end-f.At) {
		r.Fail(format.Damaged(r.kind, f.At, "field %d of %d bytes, %d before the end of its message", f.Number, n, end-f.At))
		return
	}
	f.End = f.At + int64(n)
}

// SkipTo moves to the file offset at, which must not lie before the reader.
func (r *Reader) SkipTo(at int64) {
	if r.Err() != nil {
		return
	}
	if at < r.Pos() {
		r.Fail(format.Damaged(r.kind, r.Pos(), "message ends at %d", at))
		return
	}
	r.Skip(uint64(at - r.Pos()))
}

// Text returns the contents of f, which must be at the reader, as a name fit for a Layout; a longer one than
// format.MaxNameBytes is cut.
func (r *Reader) Text(f Field) string {
	s, _ := r.String(uint64(min(f.Len(), format.MaxNameBytes)), format.MaxNameBytes)
	r.SkipTo(f.End)
	return format.CleanName(s)
}

// Varints calls fn with each number of a repeated integer field, packed or not, and stops when fn returns false.
func (r *Reader) Varints(f Field, fn func(uint64) bool) {
	if f.Wire == Varint {
		fn(f.Value)
		return
	}
	for r.Err() == nil && r.Pos() < f.End {
		if v := r.varint(); r.Err() != nil || !fn(v) {
			break
		}
	}
	if r.Err() == nil && r.Pos() > f.End {
		r.Fail(format.Damaged(r.kind, f.At, "field %d ends inside a number", f.Number))
	}
	r.SkipTo(f.End)
}

// varint reads up to ten bytes of seven bits, least significant first. What does not fit into 64 bits is lost, as in protobuf itself.
func (r *Reader) varint() uint64 {
	at := r.Pos()
	v := uint64(0)
	for shift := 0; shift < 70; shift += 7 {
		b := r.Byte()
		if r.Err() != nil {
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.Fail(format.Damaged(r.kind, at, "number of more than ten bytes"))
	return 0
}
