// Package dtype names the element kinds of tensors and their widths.
// The numeric values are stored in manifests and block headers: append only.
package dtype

// Kind is an element kind. All multi-byte kinds are little endian in stored blobs.
type Kind uint8

// The kinds. Bytes is anything that has no known element structure.
const (
	Bytes  Kind = 0
	F64    Kind = 1
	F32    Kind = 2
	F16    Kind = 3
	BF16   Kind = 4
	F8E4M3 Kind = 5
	F8E5M2 Kind = 6
	F8E8M0 Kind = 7
	I64    Kind = 8
	I32    Kind = 9
	I16    Kind = 10
	I8     Kind = 11
	U64    Kind = 12
	U32    Kind = 13
	U16    Kind = 14
	U8     Kind = 15
	Bool   Kind = 16
	C64    Kind = 17 // two F32
	C128   Kind = 18 // two F64
	F4     Kind = 19 // packed, two to a byte
	F6E2M3 Kind = 20 // packed
	F6E3M2 Kind = 21 // packed
	// GGUF block kinds; a block is not one element, Width is 0 and BlockBytes tells.
	Q4_0      Kind = 32
	Q4_1      Kind = 33
	Q5_0      Kind = 34
	Q5_1      Kind = 35
	Q8_0      Kind = 36
	Q8_1      Kind = 37
	Q2_K      Kind = 38
	Q3_K      Kind = 39
	Q4_K      Kind = 40
	Q5_K      Kind = 41
	Q6_K      Kind = 42
	Q8_K      Kind = 43
	IQ4_NL    Kind = 44
	IQ4_XS    Kind = 45
	MXFP4     Kind = 46
	GGUFOther Kind = 47 // a ggml type with no name here
)

type info struct {
	name  string
	width int // bytes an element; 0 if packed or blocked
}

var kinds = map[Kind]info{
	Bytes: {"BYTES", 1}, F64: {"F64", 8}, F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2},
	F8E4M3: {"F8_E4M3", 1}, F8E5M2: {"F8_E5M2", 1}, F8E8M0: {"F8_E8M0", 1},
	I64: {"I64", 8}, I32: {"I32", 4}, I16: {"I16", 2}, I8: {"I8", 1},
	U64: {"U64", 8}, U32: {"U32", 4}, U16: {"U16", 2}, U8: {"U8", 1}, Bool: {"BOOL", 1},
	C64: {"C64", 8}, C128: {"C128", 16}, F4: {"F4", 0}, F6E2M3: {"F6_E2M3", 0}, F6E3M2: {"F6_E3M2", 0},
	Q4_0: {"Q4_0", 0}, Q4_1: {"Q4_1", 0}, Q5_0: {"Q5_0", 0}, Q5_1: {"Q5_1", 0}, Q8_0: {"Q8_0", 0}, Q8_1: {"Q8_1", 0},
	Q2_K: {"Q2_K", 0}, Q3_K: {"Q3_K", 0}, Q4_K: {"Q4_K", 0}, Q5_K: {"Q5_K", 0}, Q6_K: {"Q6_K", 0}, Q8_K: {"Q8_K", 0},
	IQ4_NL: {"IQ4_NL", 0}, IQ4_XS: {"IQ4_XS", 0}, MXFP4: {"MXFP4", 0}, GGUFOther: {"GGUF_OTHER", 0},
}

// String returns the safetensors or ggml name of k, or "BYTES" for an unknown kind.
func (k Kind) String() string {
	if i, ok := kinds[k]; ok {
		return i.name
	}
	return "BYTES"
}

// Width returns the bytes of one element, or 0 where elements are packed or blocked.
func (k Kind) Width() int { return kinds[k].width }

// Float reports whether k is an IEEE-like float that the float codecs split:
// F64, F32, F16, BF16, C64 and C128 (as their parts).
func (k Kind) Float() bool {
	switch k {
	case F64, F32, F16, BF16, C64, C128:
		return true
	}
	return false
}

// Parse returns the kind that String prints as s; ok is false for an unknown name.
func Parse(s string) (k Kind, ok bool) {
	for k, i := range kinds {
		if i.name == s {
			return k, true
		}
	}
	return Bytes, false
}
