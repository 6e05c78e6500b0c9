package npy

import (
	"bytes"
	"errors"
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
	if strings.HasSuffix(file, ".npz") {
		return ZipParser{}
	}
	return Parser{}
}

// TestObjects: an array of objects is a pickle; there is nothing to cut.
func TestObjects(t *testing.T) {
	b := formattest.File(t, "objects.npy.bad")
	if _, err := Parse(bytes.NewReader(b), int64(len(b))); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("array of objects: %v, want ErrDamaged", err)
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		text  string
		ok    bool
		width int
		shape int
	}{
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n", true, 4, 2},
		{`{"shape":(3L,), "fortran_order":True,"descr":"|u1"}`, true, 1, 1},
		{"{'descr': '<U7', 'fortran_order': False, 'shape': ()}", true, 28, 0},
		{"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': ()}", true, 8, 0},
		{"{'descr': '<V2', 'fortran_order': False, 'shape': (3,)}", true, 2, 1},
		{"{'descr': '|S0', 'fortran_order': False, 'shape': (2,)}", true, 0, 1},
		{"{'descr': [('a', '<f4'), ('b', '<i8', (2, 3))], 'fortran_order': False, 'shape': (2,)}", true, 0, 1},
		{"{'descr': '<f4', 'fortran_order': False}", false, 0, 0},
		{"{'descr': '<f4', 'fortran_order': 1, 'shape': ()}", false, 0, 0},
		{"{'descr': '<f', 'fortran_order': False, 'shape': ()}", false, 0, 0},
		{"{'descr': '<f-4', 'fortran_order': False, 'shape': ()}", false, 0, 0},
		{"{'descr': '<f99999999999', 'fortran_order': False, 'shape': ()}", false, 0, 0},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", false, 0, 0},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", false, 0, 0},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", true, 4, 1},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", false, 0, 0},
		{"{'descr': [[[[", false, 0, 0},
		{"{'descr': '<f4", false, 0, 0},
		{"", false, 0, 0},
	} {
		h, ok := parseHeader(c.text)
		if ok != c.ok || ok && (h.width != c.width || len(h.shape) != c.shape) {
			t.Errorf("parseHeader(%q) = %+v, %v", c.text, h, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		if strings.HasSuffix(row.File, ".npy") {
			f.Add(formattest.File(f, row.File))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, Parser{}, b) })
}

func FuzzParseZip(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		if strings.HasSuffix(row.File, ".npz") {
			f.Add(formattest.File(f, row.File))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, ZipParser{}, b) })
}
