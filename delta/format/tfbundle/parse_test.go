package tfbundle

import (
	"bytes"
	"io"
	"testing"

	"coral/delta/format"
	"coral/delta/format/formattest"
)

// dataParser cuts the data file of the given name by the index beside it.
type dataParser struct {
	index []byte
	shard int
}

func (dataParser) Name() string { return kind }

func (p dataParser) Parse(_ io.ReaderAt, size int64) (*format.Layout, error) {
	b, err := ReadIndex(bytes.NewReader(p.index), int64(len(p.index)))
	if err != nil {
		return nil, err
	}
	return b.Layout(p.shard, size)
}

func TestFixtures(t *testing.T) {
	for _, row := range formattest.Rows(t) {
		t.Run(row.File, func(t *testing.T) {
			index, shard, ok := IndexName(row.File)
			if !ok {
				t.Fatal("no data file's name")
			}
			p := dataParser{index: formattest.File(t, index), shard: shard}
			formattest.Match(t, p, row)
			formattest.Damage(t, p, row.File)
			formattest.Damage(t, Parser{}, index)
			formattest.ReadErrors(t, Parser{}, index)
		})
	}
}

func FuzzParse(f *testing.F) {
	sizes := map[string]int64{}
	for _, row := range formattest.Rows(f) {
		index, _, _ := IndexName(row.File)
		f.Add(formattest.File(f, index))
		sizes[index] = int64(len(formattest.File(f, row.File)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		formattest.Try(t, Parser{}, b)
		formattest.Try(t, dataParser{index: b}, make([]byte, 1000))
	})
}
