package tflite

import (
	"coral/delta/format"
	"coral/delta/format/scan"
)

// flatbuffer reads tables of a flatbuffer (flatbuffers.dev/internals): a table begins with the distance back to its vtable, two u16 and then one u16 a
// field: where the field is in the table, 0 if it is missing. Strings, vectors and tables are u32 distances forward, so that
// pointers cannot form a loop; a vtable may lie anywhere.
type flatbuffer struct{ *scan.Pages }

// table is a table's place; 0 is a missing one, since the root's distance is there.
type table int64

// slot returns the place of field i of t, 0 if the table has none.
func (b flatbuffer) slot(t table, i int) int64 {
	if t == 0 {
		return 0
	}
	vt := int64(t) - int64(int32(b.U32(int64(t))))
	if n := int(b.U16(vt)); 4+2*i+2 > n {
		return 0
	}
	off := b.U16(vt + 4 + 2*int64(i))
	if off == 0 {
		return 0
	}
	return int64(t) + int64(off)
}

// follow returns where the distance at the given place leads, 0 for no place.
func (b flatbuffer) follow(at int64) int64 {
	if at == 0 {
		return 0
	}
	d := int64(b.U32(at))
	if b.Err() == nil && (d == 0 || d > b.Size()-at) {
		b.Fail(format.Damaged(kind, at, "offset %d", d))
	}
	if b.Err() != nil {
		return 0
	}
	return at + d
}

// vector returns the place of the first of n elements of the vector in field i. All of them lie in the file.
func (b flatbuffer) vector(t table, i int, width int64) (at int64, n int64) {
	at = b.follow(b.slot(t, i))
	if at == 0 {
		return 0, 0
	}
	n = int64(b.U32(at))
	at += 4
	if b.Err() == nil && n > (b.Size()-at)/width {
		b.Fail(format.Damaged(kind, at, "vector of %d elements", n))
	}
	if b.Err() != nil {
		return 0, 0
	}
	return at, n
}

// text returns the string in field i as a clean name.
func (b flatbuffer) text(t table, i int) string {
	at, n := b.vector(t, i, 1)
	s := make([]byte, min(n, format.MaxNameBytes))
	if !b.Bytes(s, at) {
		return ""
	}
	return format.CleanName(string(s))
}

// u8, u32 and u64 return the number in field i, 0 if it is missing, as that is the default of all that are read here.
func (b flatbuffer) u8(t table, i int) uint8 {
	if at := b.slot(t, i); at > 0 {
		return b.U8(at)
	}
	return 0
}

func (b flatbuffer) u32(t table, i int) uint32 {
	if at := b.slot(t, i); at > 0 {
		return b.U32(at)
	}
	return 0
}

func (b flatbuffer) u64(t table, i int) uint64 {
	if at := b.slot(t, i); at > 0 {
		return b.U64(at)
	}
	return 0
}
