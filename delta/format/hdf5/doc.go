// Package hdf5 cuts HDF5 files, as h5py, Keras (.h5, .weights.h5) and MATLAB write them, and Keras 3's .keras, a ZIP file
// with such a file in it.
//
// A file is a tree of groups; its leaves are datasets: a type, a shape, and where the elements lie. Each dataset is a tensor, named by
// its path without the first slash, as "layers/dense/vars/0". Its elements are a payload if they lie in one run: contiguous and compact
// layouts, and chunked ones whose chunks lie one behind the other in order. Other chunks without filters are payloads one by
// one, path[n] for the nth chunk in row-major order, and no tensor. Filtered (compressed) chunks, external and virtual data, text and references
// are not cut. Big-endian elements are Bytes.
//
// What is malformed is format.ErrDamaged; what is unknown to this package is passed over. Every structure is read at
// most as often as its address is met anew, at most maxMetadata bytes in all, without recursion: circles of
// groups, headers and trees end.
package hdf5

import (
	"io"

	"coral/delta/format"
)

const (
	kind    = format.HDF5
	kindZip = format.Keras
)

// Parser is the format.Parser of HDF5 files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return Parse(r, size) }

// ZipParser is the format.Parser of .keras files.
type ZipParser struct{}

// Name implements format.Parser.
func (ZipParser) Name() string { return kindZip }

// Parse implements format.Parser.
func (ZipParser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) { return ParseZip(r, size) }
