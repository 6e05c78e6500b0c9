package vcs

import "coral/delta"

// Codec is how tensors are coded when they are stored. Reading needs none: what is stored says how it is coded.
type Codec = delta.Strategy

// ParseCodec returns the codec of a name; "" is the automatic choice. An unknown name is errs.Invalid and lists those there are.
func ParseCodec(name string) (Codec, error) { return delta.ParseStrategy(name) }
