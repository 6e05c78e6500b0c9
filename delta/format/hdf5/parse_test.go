package hdf5

import (
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/formattest"
)

func TestFixtures(t *testing.T) {
	for _, row := range formattest.Rows(t) {
		t.Run(row.File, func(t *testing.T) {
			p := parser(row.File)
			formattest.Match(t, p, row)
			formattest.Damage(t, p, row.File)
			formattest.ReadErrors(t, p, row.File)
		})
	}
}

func parser(file string) format.Parser {
	if strings.HasSuffix(file, ".keras") {
		return ZipParser{}
	}
	return Parser{}
}

func FuzzParse(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		if strings.HasSuffix(row.File, ".h5") {
			f.Add(formattest.File(f, row.File))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, Parser{}, b) })
}

func FuzzParseZip(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		if strings.HasSuffix(row.File, ".keras") {
			f.Add(formattest.File(f, row.File))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, ZipParser{}, b) })
}
