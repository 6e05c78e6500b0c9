// Package tfbundle cuts the checkpoints of TensorFlow, which are several files (tensorflow/core/util/tensor_bundle):
//
//	PREFIX.index                  a table of LevelDB: tensor name → BundleEntryProto (dtype, shape, shard, offset, size)
//	PREFIX.data-00000-of-00001    the tensors of a shard one behind the other, and nothing else
//
// A data file tells nothing of itself, so that it takes both to cut it: ReadIndex reads the one and Bundle.Layout cuts the other. Parser knows
// the index by itself, which has no tensors inside.
//
// Names are the keys without "/.ATTRIBUTES/VARIABLE_VALUE", which ends all variables of TensorFlow 2. A part of a partitioned variable is
// "<name>#<hex digits that tell the slice>".
package tfbundle

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

const kind = format.TFBundle

// Parser is the format.Parser of index files.
type Parser struct{}

// Name implements format.Parser.
func (Parser) Name() string { return kind }

// Parse implements format.Parser. The layout of an index has no payloads.
func (Parser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	if _, err := ReadIndex(r, size); err != nil {
		return nil, err
	}
	return &format.Layout{Format: kind}, nil
}

// Bundle is what an index says.
type Bundle struct {
	shards  uint64
	big     bool // endian
	entries []entry
	names   int
	dims    int
}

// entry is a tensor of a shard.
type entry struct {
	name   string
	typ    uint64
	shape  []int64
	shard  uint64
	at, n  int64
	slices bool // the tensor is in parts, which have entries of their own
}

// kinds are the DataTypes of fixed width (tensorflow/core/framework/types.proto). Kinds without a name here are U8.
var kinds = map[uint64]dtype.Kind{
	1: dtype.F32, 2: dtype.F64, 3: dtype.I32, 4: dtype.U8, 5: dtype.I16, 6: dtype.I8, 8: dtype.C64, 9: dtype.I64, 10: dtype.Bool, 11: dtype.I8,
	12: dtype.U8, 13: dtype.I32, 14: dtype.BF16, 15: dtype.I16, 16: dtype.U16, 17: dtype.U16, 18: dtype.C128, 19: dtype.F16, 22: dtype.U32, 23: dtype.U64,
	24: dtype.F8E5M2, 25: dtype.F8E4M3, 26: dtype.U8, 27: dtype.U8, 28: dtype.U8,
}

var dataName = regexp.MustCompile(`^(.+)\.data-([0-9]{5})-of-([0-9]{5})$`)

// IndexName returns the name of the index that describes the data file of the given name, and which of its shards that is; ok is false if
// no data file is called so.
func IndexName(name string) (index string, shard int, ok bool) {
	m := dataName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	shard, err := strconv.Atoi(m[2])
	return m[1] + ".index", shard, err == nil
}

// Layout cuts the data file of a shard. An index that has a tensor beyond the end of the file, or tensors that overlap, is that of another
// file: ErrDamaged.
func (b *Bundle) Layout(shard int, size int64) (*format.Layout, error) {
	l := format.Builder{Layout: format.Layout{Format: kind}}
	end := int64(0)
	for i := range b.entries { // by offset
		e := &b.entries[i]
		if e.shard != uint64(shard) {
			continue
		}
		if e.at > size || e.n > size-e.at || e.at < end {
			return nil, format.Damaged(kind, e.at, "tensor %q of %d bytes in a file of %d, the one before it ends at %d", e.name, e.n, size, end)
		}
		end = e.at + e.n
		k, known := kinds[e.typ]
		if !known || b.big && k.Width() > 1 {
			if e.n > 0 {
				l.AddPayload(format.Payload{Offset: e.at, Length: e.n, DType: dtype.Bytes, Name: e.name})
			}
			continue
		}
		l.AddData(e.name, k, 0, e.shape, e.at, e.n)
	}
	if err := l.Check(size); err != nil {
		return nil, fmt.Errorf("parse %s: %w", kind, err)
	}
	return &l.Layout, nil
}

// sort puts the entries in the order of Layout.
func (b *Bundle) sort() {
	slices.SortStableFunc(b.entries, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.shard, y.shard), cmp.Compare(x.at, y.at), cmp.Compare(x.n, y.n))
	})
}
