package gguf

import "coral/delta/format/dtype"

// ggmlType is the layout of a ggml type: blocks of so many elements in so many bytes.
type ggmlType struct {
	kind     dtype.Kind
	elements int64
	bytes    int64
}

// ggmlTypes is the table of ggml.h and ggml-common.h by number. Numbers that are missing were never
// written to a file or have been removed; a file that uses one is cut at the next tensor's offset.
var ggmlTypes = map[uint32]ggmlType{
	0: {dtype.F32, 1, 4}, 1: {dtype.F16, 1, 2}, 24: {dtype.I8, 1, 1}, 25: {dtype.I16, 1, 2},
	26: {dtype.I32, 1, 4}, 27: {dtype.I64, 1, 8}, 28: {dtype.F64, 1, 8}, 30: {dtype.BF16, 1, 2},

	2: {dtype.Q4_0, 32, 18}, 3: {dtype.Q4_1, 32, 20}, 6: {dtype.Q5_0, 32, 22}, 7: {dtype.Q5_1, 32, 24},
	8: {dtype.Q8_0, 32, 34}, 9: {dtype.Q8_1, 32, 36}, 20: {dtype.IQ4_NL, 32, 18}, 39: {dtype.MXFP4, 32, 17},

	10: {dtype.Q2_K, 256, 84}, 11: {dtype.Q3_K, 256, 110}, 12: {dtype.Q4_K, 256, 144}, 13: {dtype.Q5_K, 256, 176},
	14: {dtype.Q6_K, 256, 210}, 15: {dtype.Q8_K, 256, 292}, 23: {dtype.IQ4_XS, 256, 136},

	16: {dtype.GGUFOther, 256, 66},  // IQ2_XXS
	17: {dtype.GGUFOther, 256, 74},  // IQ2_XS
	18: {dtype.GGUFOther, 256, 98},  // IQ3_XXS
	19: {dtype.GGUFOther, 256, 50},  // IQ1_S
	21: {dtype.GGUFOther, 256, 110}, // IQ3_S
	22: {dtype.GGUFOther, 256, 82},  // IQ2_S
	29: {dtype.GGUFOther, 256, 56},  // IQ1_M
	34: {dtype.GGUFOther, 256, 54},  // TQ1_0
	35: {dtype.GGUFOther, 256, 66},  // TQ2_0
}

// The types of values of the metadata.
const (
	valueUint32 = 4
	valueString = 8
	valueArray  = 9
)

// valueSizes are the sizes of the metadata's types; those of strings and arrays are not fixed.
var valueSizes = map[uint32]uint64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
