package msgpack

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
			formattest.Match(t, Parser{}, row)
			formattest.Damage(t, Parser{}, row.File)
			formattest.ReadErrors(t, Parser{}, row.File)
		})
	}
}

// one is a map of an array of one float.
const one = "\x81\xa1w\xc7\x11\x01\x93\x91\x01\xa7float32\xc4\x04\x00\x00\x80\x3f"

func TestCrafted(t *testing.T) {
	for name, c := range map[string]struct {
		b    string
		want error
	}{
		"an array":             {one, nil},
		"no array":             {"\x81\xa1w\x01", format.ErrUnknown},
		"empty map":            {"\x80", format.ErrUnknown},
		"pickle":               {"\x80\x02}q\x00.", format.ErrUnknown},
		"number as key":        {"\x81\x01" + one[3:], format.ErrUnknown},
		"empty key":            {"\x81\xa0" + one[3:], format.ErrUnknown},
		"array at the top":     {one[3:], format.ErrUnknown},
		"something behind":     {one + "\x00", format.ErrDamaged},
		"a second that is cut": {"\x82" + one[1:] + one[1:len(one)-1], format.ErrDamaged},
		"a second key missing": {"\x82" + one[1:], format.ErrDamaged},
		"another extension":    {"\x81\xa1w\xc7\x02\x05ab", format.ErrUnknown},
		"shape of a text":      {strings.Replace(one, "\x91\x01", "\xa1a", 1), format.ErrUnknown},
		"length of the array":  {strings.Replace(one, "\xc4\x04", "\xc4\x05", 1), format.ErrUnknown},
		"deep":                 {strings.Repeat("\x81\xa1w", 1000) + one, format.ErrUnknown},
		"huge map":             {"\xdf\xff\xff\xff\xff" + one[1:], format.ErrDamaged},
		"huge text":            {"\x81\xdb\xff\xff\xff\xff" + one, format.ErrUnknown},
		"no value":             {"\x81\xa1w\xc1", format.ErrUnknown},
		"much before":          {"\x82\xa1a\xdd\x00\x20\x00\x00" + strings.Repeat("\x01", 0x200000) + one[1:], format.ErrUnknown},
		"a long text before":   {"\x82\xa1a\xdb\x00\x20\x00\x00" + strings.Repeat("\x01", 0x200000) + one[1:], nil},
	} {
		l, err := Parse(strings.NewReader(c.b), int64(len(c.b)))
		if !errors.Is(err, c.want) || err == nil && (len(l.Payloads) != 1 || l.Payloads[0].Name != "w" || len(l.Tensors) != 1) {
			t.Errorf("%s: %+v, %v, want %v", name, l, err, c.want)
		}
	}
}

// TestOddArrays: where shape and length disagree the elements are bytes.
func TestOddArrays(t *testing.T) {
	b := []byte(strings.Replace(one, "\x91\x01", "\x91\x02", 1))
	l, err := Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(l.Payloads) != 1 || l.Payloads[0].DType.String() != "BYTES" {
		t.Errorf("%+v, %v", l, err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range formattest.Rows(f) {
		f.Add(formattest.File(f, row.File))
	}
	f.Fuzz(func(t *testing.T, b []byte) { formattest.Try(t, Parser{}, b) })
}
