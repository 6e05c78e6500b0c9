// Package pickle finds the tensors in a Python pickle without executing anything. It is an abstract interpreter: it
// follows the opcodes on a stack of placeholders, recognises torch's storages (persistent ids) and the functions
// that rebuild tensors from them, and then walks the containers to give each tensor its dotted path,
// "layer.0.weight" or "state.3.exp_avg". Whatever it does not know becomes a placeholder and is harmless.
//
// Stack, memo, retained bytes and results are bounded; time is linear in the pickle's length; there is no recursion.
package pickle

import (
	"coral/delta/format/dtype"
)

// RootName is the name of a tensor that is the pickled object itself.
const RootName = "tensor"

// Storage is a storage that the pickle refers to.
type Storage struct {
	Key   string     // the persistent id's key: names the bytes in a zip, or the place in a legacy file
	Kind  dtype.Kind // of the elements; Bytes if not known
	Width int        // bytes of one element as counted by Numel; 0 if not known
	Numel int64
	Name  string // path of the first tensor in it; empty if no tensor was recognised
}

// Tensor is a tensor that was recognised. Offset and Stride are in elements of Kind.
type Tensor struct {
	Name    string
	Storage int // index into Result.Storages
	Kind    dtype.Kind
	Offset  int64
	Shape   []int64
	Stride  []int64 // nil when contiguous
}

// Result is what a pickle holds.
type Result struct {
	Storages []Storage // in order of first use
	Tensors  []Tensor  // in the order of the pickled containers
	Root     Root
}

// Root tells about the pickled object itself, for the small pickles around a legacy file's object.
type Root struct {
	Strings []string        // the elements, if it is a list of strings only
	Flags   map[string]bool // the boolean entries, if it is a small dict
}
