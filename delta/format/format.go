// Package format finds the tensors inside model files. A parser only finds byte
// ranges: it never decides how bytes are stored and never executes anything, and
// what it cannot parse is an opaque file. A wrong or failed parse costs ratio,
// never bytes, since whoever stores the file stores every byte between the ranges too.
//
// Every parser is bounded in memory and time whatever the file says, and never panics.
package format

import (
	"errors"
	"fmt"
	"io"

	"coral/delta/format/dtype"
)

// Format names as they appear in manifests, `coral show` and user.coral.format.
const (
	Opaque      = "opaque"
	Safetensors = "safetensors"
	TorchZip    = "torch-zip"
	TorchLegacy = "torch-legacy"
	NPY         = "npy"
	NPZ         = "npz"
	GGUF        = "gguf"
	ONNX        = "onnx"
	ONNXData    = "onnx-data" // external data of an ONNX model
	TFLite      = "tflite"
	TFBundle    = "tf-bundle"
	CTranslate2 = "ctranslate2"
	HDF5        = "hdf5"
	Keras       = "keras" // a ZIP file with an HDF5 file in it
	FlaxMsgpack = "flax-msgpack"
)

// Limits on what one file may describe.
const (
	MaxTensors   = 1 << 20   // tensors and payloads of one file
	MaxHeader    = 100 << 20 // bytes of a header or pickle that is parsed
	MaxNameBytes = 4096
	MaxDims      = 64
	MaxNames     = 64 << 20 // bytes of all names of one file
	MaxAllDims   = 4 << 20  // dimensions of all tensors of one file
)

var (
	// ErrUnknown is returned by a parser whose magic does not match, and by detect.Parse
	// when no parser knows the file.
	ErrUnknown = errors.New("unknown file format")

	// ErrDamaged is wrapped by every error of a parser that says that the file is not what its
	// magic promises. An error with neither class comes from reading the file.
	ErrDamaged = errors.New("damaged")
)

// Damaged returns an ErrDamaged that says what is wrong with a file of the given kind, and where.
func Damaged(kind string, offset int64, msg string, args ...any) error {
	return fmt.Errorf("parse %s at %d: %s: %w", kind, offset, fmt.Sprintf(msg, args...), ErrDamaged)
}

// Payload is a byte range that holds the elements of one storage: the unit that is
// deduplicated and delta-coded. Payloads of a Layout are sorted by Offset, do not
// overlap, are not empty and lie inside the file.
type Payload struct {
	Offset int64
	Length int64
	DType  dtype.Kind
	Name   string // stable name across checkpoints: finds the base in the parent and in sibling files
}

// Tensor describes one named tensor for people and views. Several tensors may share
// bytes of one Payload (tied weights, views).
type Tensor struct {
	Name   string
	DType  dtype.Kind
	Shape  []int64 // outermost first; nil or empty for a 0-d tensor
	Offset int64   // of the first element in the file
	Length int64   // bytes from Offset to the end of the last element
	Stride []int64 // in elements; nil when contiguous
}

// Layout is what a parser found. A Layout without payloads has nothing to gain over an opaque file.
type Layout struct {
	Format   string
	Payloads []Payload
	Tensors  []Tensor // in file order
}

// Parser recognises and cuts one kind of file. Parse returns ErrUnknown quickly
// (after a few small reads) when the file is of another kind, and any other error when the
// file looks like this kind but is damaged. r may be read concurrently with nothing.
type Parser interface {
	Name() string
	Parse(r io.ReaderAt, size int64) (*Layout, error)
}
