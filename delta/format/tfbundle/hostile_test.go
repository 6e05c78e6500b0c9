package tfbundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"coral/delta/format"
)

// block returns a block of the given keys and values with its trailer.
func block(pairs ...string) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, 0)
		b = binary.AppendUvarint(b, uint64(len(pairs[i])))
		b = binary.AppendUvarint(b, uint64(len(pairs[i+1])))
		b = append(append(b, pairs[i]...), pairs[i+1]...)
	}
	b = append(b, 0, 0, 0, 0, 1, 0, 0, 0)
	return append(b, make([]byte, trailerLen)...)
}

func handleOf(at, n int) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(at)), uint64(n)))
}

// table puts blocks of keys and values behind each other, the index with the given number of handles to each, and the footer.
func tableOf(repeat int, blocks ...[]byte) []byte {
	var b []byte
	var handles []string
	for _, x := range blocks {
		for range repeat {
			handles = append(handles, "k", handleOf(len(b), len(x)-trailerLen))
		}
		b = append(b, x...)
	}
	index := block(handles...)
	footer := handleOf(0, 0) + handleOf(len(b), len(index)-trailerLen)
	b = append(b, index...)
	b = append(append(b, footer...), make([]byte, footerLen-8-len(footer))...)
	return binary.LittleEndian.AppendUint64(b, tableMagic)
}

const header = "\x08\x01\x1a\x02\x08\x01" // one shard, version 1

// tensor returns an entry of F32 with one dimension.
func tensor(n, at, size byte) string {
	return string([]byte{0x08, 1, 0x12, 4, 0x12, 2, 0x08, n, 0x20, at, 0x28, size, 0x35, 1, 2, 3, 4})
}

func read(b []byte) (*Bundle, error) { return ReadIndex(bytes.NewReader(b), int64(len(b))) }

func TestHostile(t *testing.T) {
	good := block("", header, "a", tensor(2, 0, 8), "b", tensor(1, 8, 4))
	long := append(binary.AppendUvarint([]byte{0}, 1<<40), binary.AppendUvarint(nil, 4)...)
	compressed := bytes.Clone(good)
	compressed[len(compressed)-trailerLen] = 1
	restarts := bytes.Clone(good)
	restarts[len(restarts)-trailerLen-4] = 200
	for name, c := range map[string]struct {
		b   []byte
		err error
	}{
		"good":               {tableOf(1, good), nil},
		"empty file":         {nil, format.ErrUnknown},
		"zeros":              {make([]byte, 1000), format.ErrUnknown},
		"another's table":    {tableOf(1, block("a", "b")), format.ErrUnknown},
		"no blocks":          {tableOf(1), format.ErrUnknown},
		"no shards":          {tableOf(1, block("", "\x1a\x02\x08\x01")), format.ErrUnknown},
		"header is text":     {tableOf(1, block("", "hello world")), format.ErrUnknown},
		"entry is text":      {tableOf(1, block("", header, "a", "hello world")), format.ErrDamaged},
		"handles again":      {tableOf(20_000, good), format.ErrDamaged},
		"compressed":         {tableOf(1, compressed), format.ErrUnknown},
		"restarts":           {tableOf(1, restarts), format.ErrUnknown},
		"long key":           {tableOf(1, block("", header), append(long, good...)), format.ErrDamaged},
		"key of 20,000":      {tableOf(1, block("", header, strings.Repeat("k", 20_000), "")), format.ErrDamaged},
		"handle out of it":   {tableOf(1, good)[len(good):], format.ErrUnknown},
		"cut":                {tableOf(1, good)[3:], format.ErrUnknown},
		"huge offset":        {tableOf(1, block("", header, "a", "\x08\x01\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), format.ErrDamaged},
		"many dimensions":    {tableOf(1, block("", header, "a", "\x08\x01\x12\xc8\x01"+strings.Repeat("\x12\x00", 100))), nil},
		"shape past entry":   {tableOf(1, block("", header, "a", "\x08\x01\x12\x7f\x12")), format.ErrDamaged},
		"key shares nothing": {tableOf(1, block("", header), append([]byte{9, 1, 1}, good...)), format.ErrDamaged},
	} {
		_, err := read(c.b)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

func TestLayout(t *testing.T) {
	b, err := read(tableOf(1, block("", header, "a", tensor(2, 0, 8), "b", tensor(1, 8, 4), "c", tensor(5, 12, 4))))
	if err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int64]error{15: format.ErrDamaged, 16: nil, 100: nil, 0: format.ErrDamaged} {
		if l, err := b.Layout(0, size); !errors.Is(err, want) || err == nil && (len(l.Tensors) != 2 || len(l.Payloads) != 3) {
			t.Errorf("size %d: %+v, %v", size, l, err)
		}
	}
	if l, err := b.Layout(1, 100); err != nil || len(l.Payloads) != 0 {
		t.Errorf("shard 1: %+v, %v", l, err)
	}
	b, err = read(tableOf(1, block("", header, "a", tensor(2, 0, 8), "b", tensor(1, 7, 4))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Layout(0, 100); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("overlap: %v", err)
	}
	b, err = read(tableOf(1, block("", "\x08\x01\x10\x01", "a", tensor(2, 0, 8))))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := b.Layout(0, 8); err != nil || len(l.Tensors) != 0 || len(l.Payloads) != 1 {
		t.Errorf("big endian: %+v, %v", l, err)
	}
}

func TestNames(t *testing.T) {
	for key, want := range map[string]string{
		"a/kernel/.ATTRIBUTES/VARIABLE_VALUE":   "a/kernel",
		"a/.OPTIMIZER_SLOT/m":                   "a/.OPTIMIZER_SLOT/m",
		"\x00w\x00\xff\xff\x00\x00\x01\x01\x02": "w\x00\uFFFD#0102",
		"\x00no end":                            "#006e6f20656e64",
		"\xff":                                  "\uFFFD",
	} {
		if got := nameOf([]byte(key)); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
	for name, want := range map[string]string{
		"ckpt-1.data-00000-of-00001": "ckpt-1.index", "variables.data-00012-of-00100": "variables.index",
		".data-00000-of-00001": "", "x.data-0-of-1": "", "x.index": "", "x.data-00000-of-00001.tempstate": "",
	} {
		if got, _, _ := IndexName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
