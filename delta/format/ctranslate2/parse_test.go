package ctranslate2

import (
	"testing"

	"coral/delta/format/formattest"
)

func TestFixtures(t *testing.T) {
	for _, row := range formattest.Rows(t) {
		t.Run(row.File, func(t *testing.T) {
			formattest.Match(t, Parser{}, row)
			formattest.Damage(t, Parser{}, row.File)
			formattest.ReadErrors(t, Parser{}, row.File)
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		f.Add(formattest.File(f, row.File))
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, Parser{}, b) })
}
