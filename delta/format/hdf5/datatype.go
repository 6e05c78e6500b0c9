package hdf5

import "coral/delta/format/dtype"

// element is what a datatype message tells.
type element struct {
	kind dtype.Kind // Bytes if it has no kind of its own, or is big-endian
	size int        // bytes
	cut  bool       // the elements lie where the layout says; text is not worth it, and variable lengths and references lie elsewhere
}

// Classes of datatypes.
const (
	classFixed     = 0
	classFloat     = 1
	classBits      = 4
	classOpaque    = 5
	classCompound  = 6
	classEnum      = 8
	classArray     = 10
	classComplex   = 11
	maxMembers     = 2 // of a compound that is looked into
	sizeOfDatatype = 8 // before the properties
)

// datatype reads a datatype message: 1 class and version, 3 bit field, 4 size, then what belongs to the class. Of a compound only the pair (r, i)
// that h5py writes for complex numbers is looked into, of an enumeration h5py's bool.
func datatype(data []byte) (e element, ok bool) {
	c := &cursor{b: data}
	head, bits, size := c.u(1), c.u(3), c.u(4)
	if c.bad || size == 0 || size > 1<<31 {
		return e, false
	}
	e = element{size: int(size), cut: true}
	switch class, version := head&15, head>>4; class {
	case classFixed:
		e.kind = fixed(c, bits, e.size)
	case classFloat:
		e.kind = float(c, bits, e.size)
	case classEnum:
		if base, ok := number(data[sizeOfDatatype:]); ok && base.size == e.size {
			e.kind = base.kind
			if e.size == 1 && isBool(data, bits&0xffff, version) {
				e.kind = dtype.Bool
			}
		}
	case classCompound:
		e.kind = pair(c, bits&0xffff, version, e.size)
	case classComplex:
		if base, ok := number(data[sizeOfDatatype:]); ok {
			e.kind = complexOf(base, e.size)
		}
	case classBits, classOpaque, classArray:
	default:
		e.cut = false
	}
	return e, true
}

// number reads a datatype message that is part of another, if it is one of an integer or float.
func number(data []byte) (e element, ok bool) {
	if len(data) == 0 || data[0]&15 != classFixed && data[0]&15 != classFloat {
		return e, false
	}
	return datatype(data)
}

// fixed returns the kind of an integer: 2 bit offset, 2 precision.
func fixed(c *cursor, bits uint64, size int) dtype.Kind {
	offset, precision := c.u(2), c.u(2)
	if c.bad || offset != 0 || precision != uint64(8*size) || bits&1 != 0 && size > 1 {
		return dtype.Bytes
	}
	signed := bits&8 != 0
	switch {
	case size == 1 && signed:
		return dtype.I8
	case size == 1:
		return dtype.U8
	case size == 2 && signed:
		return dtype.I16
	case size == 2:
		return dtype.U16
	case size == 4 && signed:
		return dtype.I32
	case size == 4:
		return dtype.U32
	case size == 8 && signed:
		return dtype.I64
	case size == 8:
		return dtype.U64
	}
	return dtype.Bytes
}

// floats are the kinds by size, and by place and length of exponent and mantissa.
var floats = map[[5]int]dtype.Kind{
	{8, 52, 11, 0, 52}: dtype.F64, {4, 23, 8, 0, 23}: dtype.F32, {2, 10, 5, 0, 10}: dtype.F16, {2, 7, 8, 0, 7}: dtype.BF16,
	{1, 3, 4, 0, 3}: dtype.F8E4M3, {1, 2, 5, 0, 2}: dtype.F8E5M2,
}

// float returns the kind of a float: 2 bit offset, 2 precision, 1 place of the exponent, 1 its bits, 1 place of the mantissa, 1 its bits, 4 bias.
func float(c *cursor, bits uint64, size int) dtype.Kind {
	offset, precision := c.u(2), c.u(2)
	key := [5]int{size, int(c.u(1)), int(c.u(1)), int(c.u(1)), int(c.u(1))}
	sign := int(bits >> 8 & 0xff)
	if c.bad || offset != 0 || precision != uint64(8*size) || bits&0x41 != 0 && size > 1 || sign != 8*size-1 {
		return dtype.Bytes
	}
	return floats[key] // Bytes is zero
}

// isBool reports whether the datatype message of an enumeration of bytes is FALSE = 0, TRUE = 1.
func isBool(data []byte, members, version uint64) bool {
	if members != 2 {
		return false
	}
	c := &cursor{b: data, at: min(len(data), 2*sizeOfDatatype+4)} // behind the base
	for _, want := range []string{"FALSE", "TRUE"} {
		from := c.at
		if c.text() != want {
			return false
		}
		if version < 3 {
			c.bytes((8 - (c.at-from)%8) % 8)
		}
	}
	return c.u(1) == 0 && c.u(1) == 1 && !c.bad
}

// pair returns the kind of a compound: complex if it has two members, r and i, of one float kind.
func pair(c *cursor, members, version uint64, size int) dtype.Kind {
	if members != maxMembers {
		return dtype.Bytes
	}
	var parts [maxMembers]element
	for i, want := range []string{"r", "i"} {
		from := c.at
		if c.text() != want {
			return dtype.Bytes
		}
		offLen := 4
		if version >= 3 {
			offLen = encLen(uint64(size))
		} else {
			c.bytes((8 - (c.at-from)%8) % 8)
		}
		if c.u(offLen) != uint64(i*size/2) {
			return dtype.Bytes
		}
		if version == 1 {
			c.bytes(28)
		}
		var ok bool
		if parts[i], ok = number(c.b[c.at:]); !ok {
			return dtype.Bytes
		}
		c.bytes(sizeOfDatatype + 12)
	}
	if parts[0] != parts[1] {
		return dtype.Bytes
	}
	return complexOf(parts[0], size)
}

func complexOf(part element, size int) dtype.Kind {
	switch {
	case part.kind == dtype.F32 && size == 8:
		return dtype.C64
	case part.kind == dtype.F64 && size == 16:
		return dtype.C128
	}
	return dtype.Bytes
}
