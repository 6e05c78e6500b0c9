package tfbundle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/delta/format/protowire"
	"coral/delta/format/scan"
)

// maxEntry bounds the message of one tensor. It is some 30 bytes; the list of a variable's slices is longer.
const maxEntry = 1 << 20

// ReadIndex reads an index file of size bytes. It returns format.ErrUnknown if it is none: no table, or one without a bundle's header.
func ReadIndex(r io.ReaderAt, size int64) (*Bundle, error) {
	// The first entry of the first block is the header's, with an empty key and a short message that begins with its number of shards. So
	// only files that begin like this are read at the end.
	head := scan.New(r, 0, min(size, 4))
	if b := head.Next(4); b == nil || b[0] != 0 || b[1] != 0 || b[2] == 0 || b[2] >= 0x80 || b[3] != 1<<3|protowire.Varint {
		return nil, head.UnknownOr()
	}
	t, index, err := openTable(r, size)
	if err != nil {
		return nil, err
	}
	b := &Bundle{}
	seen := false
	err = t.walk(index, func(key []byte, s *scan.Reader, n uint64) error {
		if !seen {
			seen = true
			if len(key) > 0 {
				return format.ErrUnknown // another program's table
			}
			return b.header(protowire.New(kind, r, s.Pos(), s.Pos()+int64(n)))
		}
		return b.entry(key, protowire.New(kind, r, s.Pos(), s.Pos()+int64(n)), n)
	})
	switch {
	case !b.known() && (err == nil || errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrUnknown)):
		return nil, format.ErrUnknown
	case err != nil:
		return nil, err
	}
	b.sort()
	return b, nil
}

// known reports whether a bundle's header was seen.
func (b *Bundle) known() bool { return b.shards > 0 }

// header reads the BundleHeaderProto, which the empty key has: num_shards = 1, endianness = 2, version = 3.
func (b *Bundle) header(r *protowire.Reader) error {
	end := r.Pos() + r.Left()
	shards := uint64(0)
	for {
		f, ok := r.Next(end)
		if !ok {
			break
		}
		switch {
		case f.Number == 1 && f.Wire == protowire.Varint:
			shards = f.Value
		case f.Number == 2 && f.Wire == protowire.Varint:
			b.big = f.Value == 1
		case f.Wire == protowire.Len:
			r.SkipTo(f.End)
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	if shards == 0 || shards > 100_000 { // names of data files have five digits
		return format.ErrUnknown
	}
	b.shards = shards
	return nil
}

// entry reads a BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7.
func (b *Bundle) entry(key []byte, r *protowire.Reader, n uint64) error {
	if n > maxEntry || len(b.entries) >= format.MaxTensors || b.names > format.MaxNames || b.dims > format.MaxAllDims {
		return format.Damaged(kind, r.Pos(), "more than a bundle can have, or an entry of %d bytes", n)
	}
	var at, size uint64
	e := entry{name: nameOf(key)}
	end := r.Pos() + r.Left()
	for {
		f, ok := r.Next(end)
		if !ok {
			break
		}
		switch {
		case f.Number == 1 && f.Wire == protowire.Varint:
			e.typ = f.Value
		case f.Number == 2 && f.Wire == protowire.Len:
			e.shape = shapeOf(r, f.End)
		case f.Number == 3 && f.Wire == protowire.Varint:
			e.shard = f.Value
		case f.Number == 4 && f.Wire == protowire.Varint:
			at = f.Value
		case f.Number == 5 && f.Wire == protowire.Varint:
			size = f.Value
		case f.Number == 7:
			e.slices = true
		}
		if f.Wire == protowire.Len {
			r.SkipTo(f.End)
		}
	}
	if err := r.Err(); err != nil {
		return err
	}
	if at > math.MaxInt64/2 || size > math.MaxInt64/2 {
		return format.Damaged(kind, r.Pos(), "tensor of %d bytes at %d", size, at)
	}
	if e.slices {
		return nil
	}
	e.at, e.n = int64(at), int64(size)
	b.names += len(e.name)
	b.dims += len(e.shape)
	b.entries = append(b.entries, e)
	return nil
}

// shapeOf reads a TensorShapeProto that ends at end: dim = 2, each with size = 1. One of too many dimensions has one that fits no data.
func shapeOf(r *protowire.Reader, end int64) []int64 {
	shape := []int64{}
	for {
		f, ok := r.Next(end)
		if !ok {
			return shape
		}
		if f.Wire != protowire.Len {
			continue
		}
		if f.Number == 2 {
			size := int64(0) // as zeros are not written
			for {
				d, ok := r.Next(f.End)
				if !ok {
					break
				}
				switch {
				case d.Number == 1 && d.Wire == protowire.Varint:
					size = int64(d.Value)
				case d.Wire == protowire.Len:
					r.SkipTo(d.End)
				}
			}
			if len(shape) >= format.MaxDims {
				return append(shape[:0], -1)
			}
			shape = append(shape, size)
		}
		r.SkipTo(f.End)
	}
}

// nameOf makes a name of a key. That of a slice begins with 0 and, escaped and ended by 0 1, the variable's name
// (tensorflow/core/lib/strings/ordered_code.h); what follows tells the slice.
func nameOf(key []byte) string {
	const suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
	if len(key) == 0 || key[0] != 0 {
		return format.CleanName(strings.TrimSuffix(string(key), suffix))
	}
	name, rest, ok := bytes.Cut(key[1:], []byte{0, 1})
	if !ok {
		return format.CleanName("#" + hex.EncodeToString(key))
	}
	name = bytes.ReplaceAll(slices.Clone(name), []byte{0, 0xff}, []byte{0})
	name = bytes.ReplaceAll(name, []byte{0xff, 0}, []byte{0xff})
	return format.CleanName(strings.TrimSuffix(string(name), suffix) + "#" + hex.EncodeToString(rest))
}
