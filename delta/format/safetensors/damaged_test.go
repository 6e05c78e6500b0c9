package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"coral/delta/format"
)

// file returns a file with this header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestHeaders(t *testing.T) {
	const one = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	deep := strings.Repeat(`[`, 1<<20) + strings.Repeat(`]`, 1<<20)
	for name, c := range map[string]struct {
		header string
		data   int
		want   string // part of the error; empty for none
	}{
		"one":                {`{` + one + `}`, 8, ""},
		"spaces":             {" \n{ \"a\" : { \"dtype\" : \"F32\" , \"shape\" : [ 2 ] ,\t\"data_offsets\" : [ 0 , 8 ] } } \n ", 8, "unknown file format"}, // must begin with a brace
		"spaces inside":      {"{ \"a\" : { \"dtype\" : \"F32\" , \"shape\" : [ 2 ] ,\t\"data_offsets\" : [ 0 , 8 ] } } \n ", 8, ""},
		"other keys":         {`{"a":{"x":[{"y":"]}"},null,-1.5e3,true,"\"\\"],"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, ""},
		"deep metadata":      {`{"__metadata__":` + deep + `,` + one + `}`, 8, ""},
		"escapes":            {`{"\u00e4\ud83d\ude00\n\/\b\f\r\t\"\\":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, ""},
		"order":              {`{"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},` + one + `}`, 11, ""},
		"empty tensors":      {`{"x":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},` + one + `,"y":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}}`, 8, ""},
		"no data":            {`{}`, 0, ""},
		"data without name":  {`{}`, 1, "1 bytes behind"},
		"hole at the end":    {`{` + one + `}`, 9, "1 bytes behind"},
		"hole":               {`{"b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]},` + one + `}`, 11, "does not begin where"},
		"hole at the begin":  {`{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3, "does not begin where"},
		"overlap":            {`{"b":{"dtype":"U8","shape":[4],"data_offsets":[7,11]},` + one + `}`, 11, "does not begin where"},
		"same range":         {`{"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},` + one + `}`, 8, "does not begin where"},
		"twice":              {`{` + one + `,"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}`, 9, `"a" twice`},
		"past the end":       {`{` + one + `}`, 7, "offsets [0 8] in 7 bytes"},
		"backward":           {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8, "offsets [8 0]"},
		"huge offsets":       {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}`, 8, "offsets"},
		"number too large":   {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775808]}}`, 8, "too large"},
		"negative":           {`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8, "no number"},
		"fraction":           {`{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, 8, `']' wanted`},
		"shape too large":    {`{"a":{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,8]}}`, 8, "in 8 bytes"},
		"shape overflows":    {`{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0, "in 0 bytes"},
		"wrong shape":        {`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, "in 8 bytes"},
		"half a byte":        {`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}`, 1, "in 1 bytes"},
		"no dtype":           {`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8, "dtype, shape or offsets"},
		"no shape":           {`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8, "dtype, shape or offsets"},
		"no offsets":         {`{"a":{"dtype":"F32","shape":[2]}}`, 8, "dtype, shape or offsets"},
		"three offsets":      {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}`, 8, "more than 2"},
		"many dimensions":    {`{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,1]}}`, 1, "more than 64"},
		"long name":          {`{"` + strings.Repeat("x", 4097) + `":{}}`, 0, "more than 4096"},
		"name not UTF-8":     {"{\"\xff\":{}}", 0, "not UTF-8"},
		"half a surrogate":   {`{"\ud83d":{}}`, 0, "surrogate"},
		"wrong surrogates":   {`{"\ud83d\ud83d":{}}`, 0, "surrogate"},
		"control character":  {"{\"\x01\":{}}", 0, "control character"},
		"control as a value": {"{\"__metadata__\":[\x01]}", 0, ""},
		"zero as a value":    {"{\"__metadata__\":[\x00]}", 0, "ends early"},
		"unknown escape":     {`{"\x":{}}`, 0, "unknown escape"},
		"bad digit":          {`{"\u00g0":{}}`, 0, "bad digit"},
		"no value":           {`{"a":}`, 0, `'{' wanted`},
		"no skipped value":   {`{"__metadata__":}`, 0, "no value"},
		"no colon":           {`{"a"{}}`, 0, "':' wanted"},
		"trailing comma":     {`{` + one + `,}`, 8, `'"' wanted`},
		"more behind":        {`{` + one + `} x`, 8, "more behind"},
		"open":               {`{` + one, 8, `'}' wanted`},
		"open string":        {`{"a`, 0, "before the end"},
		"open brackets":      {`{"__metadata__":` + strings.Repeat("[", 100), 0, "ends early"},
		"not a header":       {`{x}`, 0, "unknown file format"},
	} {
		b := file(c.header, c.data)
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		switch {
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case err == nil && c.want != "":
			t.Errorf("%s: no error, want %q", name, c.want)
		case err == nil:
			if err := l.Check(int64(len(b))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, format.ErrDamaged) && !errors.Is(err, format.ErrUnknown):
			t.Errorf("%s: error of no class: %v", name, err)
		}
	}
}

// TestManyTensors: a large header is read in a small buffer and in time that grows with its length.
func TestManyTensors(t *testing.T) {
	var h strings.Builder
	h.WriteString(`{"__metadata__":{"format":"pt"}`)
	const n = 100_000
	for i := range n {
		fmt.Fprintf(&h, `,"model.layers.%d.mlp.experts.%d.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[%d,%d]}`, i/64, i%64, i*12, i*12+12)
	}
	h.WriteString(`}`)
	b := file(h.String(), n*12)
	l, err := Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(l.Tensors) != n || len(l.Payloads) != n || l.Tensors[n-1].Name != "model.layers.1562.mlp.experts.31.weight" {
		t.Fatalf("%d tensors, %v", len(l.Tensors), err)
	}
	if err := l.Check(int64(len(b))); err != nil {
		t.Error(err)
	}
}
