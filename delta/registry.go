package delta

import (
	"fmt"

	"coral/delta/format/dtype"
	"coral/delta/ordint"
	"coral/delta/solo"
)

// codecID says how a block is coded. The ids are permanent: a layout never changes under
// its id, and ids are only added. docs/format-codecs.md describes each for other readers.
type codecID uint8

const (
	codecRaw    codecID = 0 // the bytes
	codecZero   codecID = 1 // nothing: all bytes are 0
	codecConst  codecID = 2 // one element, repeated: package same
	codecZstd   codecID = 3 // a zstd frame: package lit
	codecSplit  codecID = 4 // byte planes, Huffman coded: package solo
	codecSame   codecID = 5 // nothing: the base's bytes
	codecOrdint codecID = 6 // difference of ordered integers to the base: package ordint

	codecPredOrdint codecID = 7  // the same to what the base predicts: package predict
	codecPredicted  codecID = 8  // nothing: what the base predicts
	codecWide       codecID = 9  // as codecOrdint, for element kinds that it has not: package ordint
	codecSparse     codecID = 10 // differences of a few elements, and their places: package sparse

	codecColumns codecID = 11 // fields of elements and GGUF blocks in columns, rANS coded: package field
	codecPalette codecID = 12 // few values, rANS coded indices: package palette

	// coral-ml's strategies: package coralml.
	codecFloat32Raw  codecID = 16 // difference of floats
	codecCompressed  codecID = 17 // the same, compressed
	codecXorFloat32  codecID = 18 // XOR with the base, exponents apart
	codecXorBFloat16 codecID = 19 // the same, lower halves apart too
	codecFields      codecID = 20 // exponents, signs and mantissas apart
	codecFieldsBase  codecID = 21 // the same as differences to the base

	// Approximated tensors: package lossy.
	codecQuant8      codecID = 22 // multiples of a scale, 8 bits
	codecQuant16     codecID = 23 // the same, 16 bits
	codecQuant8Base  codecID = 24 // base plus multiples of a scale, 8 bits
	codecQuant16Base codecID = 25 // the same, 16 bits
	codecAxis        codecID = 26 // base plus or minus a scale for each row
)

var codecNames = [256]string{
	codecRaw: "raw", codecZero: "zero", codecConst: "constant", codecZstd: "zstd", codecSplit: "split", codecSame: "same", codecOrdint: "ordint",
	codecPredOrdint: "predicted+ordint", codecPredicted: "predicted", codecWide: "difference", codecSparse: "sparse", codecColumns: "columns", codecPalette: "palette",
	codecFloat32Raw: "float32_raw", codecCompressed: "compressed", codecXorFloat32: "xor_float32", codecXorBFloat16: "xor_bfloat16",
	codecFields: "exponent_mantissa", codecFieldsBase: "exponent_mantissa-base",
	codecQuant8: "quant8", codecQuant16: "quant16", codecQuant8Base: "quant8-base", codecQuant16Base: "quant16-base", codecAxis: "axis",
}

func (c codecID) String() string {
	if codecNames[c] != "" {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// needsBase reports whether the decoder must be given the base.
func (c codecID) needsBase() bool {
	switch c {
	case codecSame, codecOrdint, codecPredOrdint, codecPredicted, codecWide, codecSparse, codecFloat32Raw, codecCompressed, codecXorFloat32, codecXorBFloat16, codecFieldsBase,
		codecQuant8Base, codecQuant16Base, codecAxis:
		return true
	}
	return false
}

// differs reports whether the decoder needs the table of differences.
func (c codecID) differs() bool {
	return c == codecOrdint || c == codecPredOrdint || c == codecWide || c == codecSparse
}

// storesNothing reports whether a block of the codec takes no bytes, even if it has none.
func (c codecID) storesNothing() bool {
	return c == codecZero || c == codecSame || c == codecPredicted
}

// predicts reports whether the decoder needs the blob's predictor.
func (c codecID) predicts() bool { return c == codecPredOrdint || c == codecPredicted }

// tableKind says what a table of the header is for. Permanent as the codec ids are.
type tableKind uint8

const (
	tableHuff0   tableKind = 1 // of a plane of codecSplit; the number is the plane
	tableOrdint  tableKind = 2 // of codecOrdint and codecPredOrdint; the number is 0
	tablePredict tableKind = 3 // the predictor: package predict; the number is 0
	tableWide    tableKind = 4 // of codecWide; the number is 0
	tableColumn  tableKind = 5 // of a column of codecColumns; the number is the column
	tableWindow  tableKind = 6 // of codecColumns: window of exponents; the number is 0
)

// ordKind returns the format that differences of dt are made in; ok is false if there are none.
// Complex numbers are seen as their parts.
func ordKind(dt dtype.Kind) (k ordint.Kind, ok bool) {
	switch dt {
	case dtype.BF16:
		return ordint.BF16, true
	case dtype.F16:
		return ordint.F16, true
	case dtype.F32, dtype.C64:
		return ordint.F32, true
	case dtype.F64, dtype.C128:
		return ordint.F64, true
	case dtype.I8, dtype.U8, dtype.Bool, dtype.F8E8M0:
		return ordint.Int8, true
	case dtype.I16, dtype.U16:
		return ordint.Int16, true
	case dtype.I32, dtype.U32:
		return ordint.Int32, true
	case dtype.I64, dtype.U64:
		return ordint.Int64, true
	case dtype.F8E4M3, dtype.F8E5M2:
		return ordint.F8, true
	}
	return 0, false
}

// diffCodec returns the codec, and the kind of its table, that codes differences of k.
func diffCodec(k ordint.Kind) (codecID, tableKind) {
	if k > ordint.F32 {
		return codecWide, tableWide
	}
	return codecOrdint, tableOrdint
}

// shapeOf returns how codecSplit cuts elements of dt; ok is false if it does not.
func shapeOf(dt dtype.Kind) (s solo.Shape, ok bool) { return solo.ShapeOf(dt) }

// blockLog returns the logarithm of the raw block length for dt: bytes without structure get longer
// blocks, in which zstd finds more.
func blockLog(dt dtype.Kind) uint {
	if dt == dtype.Bytes {
		return bytesBlockLog
	}
	return typedBlockLog
}

const (
	typedBlockLog = 16 // BlockSize
	bytesBlockLog = 18
)
