package torchlegacy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// crafted returns a legacy file of one storage whose length field is n.
func crafted(system, keys string, n []byte, data string) []byte {
	str := func(s string) string { return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s }
	object := "}" + str("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + str("storage") + "ctorch\nFloatStorage\n" + str("77") + str("cpu") +
		"K\x02NtQK\x00K\x02\x85K\x01\x85\x89NtRs."
	var b bytes.Buffer
	b.WriteString("\x80\x02")
	b.Write(magic)
	b.WriteString("\x80\x02M\xe9\x03." + "\x80\x02" + system + "\x80\x02" + object + "\x80\x02" + keys)
	b.Write(n)
	b.WriteString(data)
	return b.Bytes()
}

func TestCrafted(t *testing.T) {
	const (
		little = "}X\x0d\x00\x00\x00little_endian\x88s."
		big    = "}X\x0d\x00\x00\x00little_endian\x89s."
		key    = "]X\x02\x00\x00\x0077a."
	)
	le := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	for name, c := range map[string]struct {
		b    []byte
		want string // part of the error
		kind dtype.Kind
	}{
		"little":        {crafted(little, key, le(2), "12345678"), "", dtype.F32},
		"big":           {crafted(big, key, binary.BigEndian.AppendUint64(nil, 2), "12345678"), "", dtype.Bytes},
		"no system":     {crafted("N.", key, le(2), "12345678"), "", dtype.F32},
		"more behind":   {crafted(little, key, le(2), "12345678 and more"), "", dtype.F32},
		"short":         {crafted(little, key, le(2), "1234567"), "2 elements in a file", 0},
		"huge":          {crafted(little, key, le(1<<62), "12345678"), "elements in a file", 0},
		"negative":      {crafted(little, key, le(1<<64-1), "12345678"), "elements in a file", 0},
		"no length":     {crafted(little, key, nil, "1234567"), "ends before storage 0", 0},
		"unknown key":   {crafted(little, "]X\x02\x00\x00\x0078a.", le(2), "12345678"), "no element size", 0},
		"key twice":     {crafted(little, "](X\x02\x00\x00\x0077X\x02\x00\x00\x0077e.", le(0), string(le(0))), "no element size", 0},
		"no keys":       {crafted(little, "}.", le(2), "12345678"), "no list of keys", 0},
		"damaged keys":  {crafted(little, "\xff", le(2), "12345678"), "unknown opcode", 0},
		"no key at all": {crafted(little, "].", nil, "12345678"), "", 0},
	} {
		l, err := Parse(bytes.NewReader(c.b), int64(len(c.b)))
		if c.want != "" {
			if !errors.Is(err, format.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want …%s…", name, err, c.want)
			}
			continue
		}
		if err == nil {
			err = l.Check(int64(len(c.b)))
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "no key at all" {
			if len(l.Payloads)+len(l.Tensors) > 0 {
				t.Errorf("%s: %+v", name, l)
			}
			continue
		}
		if len(l.Payloads) != 1 || len(l.Tensors) != 1 || l.Payloads[0].DType != c.kind || l.Payloads[0].Name != "w" || l.Payloads[0].Length != 8 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
