package object

import (
	"bytes"
	"errors"
	"testing"

	"coral/internal/errs"
	"coral/objstore"
)

// decodeOne is the property of every decoder: any bytes either fail with a class, or are what Encode writes for the value.
func decodeOne(t *testing.T, kind objstore.Kind, body []byte) {
	b := append([]byte{byte(kind), version}, body...)
	got, v, err := Decode(b)
	if err != nil {
		if !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
			t.Fatalf("error without class: %v", err)
		}
		return
	}
	again, out, err := Encode(v)
	if err != nil || got != kind || again != kind || !bytes.Equal(out, b) {
		t.Fatalf("%s decodes and encodes as %s %x, %v; was %x", got, again, out, err, b)
	}
}

func fuzzKind(f *testing.F, kind objstore.Kind) {
	for _, v := range samples() {
		if k, b, err := Encode(v); err != nil {
			f.Fatal(err)
		} else if k == kind {
			f.Add(b[2:])
		}
	}
	for _, body := range hostile {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { decodeOne(t, kind, body) })
}

func FuzzDecodeManifest(f *testing.F) { fuzzKind(f, objstore.Manifest) }
func FuzzDecodeTree(f *testing.F)     { fuzzKind(f, objstore.Tree) }
func FuzzDecodeCommit(f *testing.F)   { fuzzKind(f, objstore.Commit) }
func FuzzDecodeTag(f *testing.F)      { fuzzKind(f, objstore.Tag) }

// hostile bodies: every one must be refused, whatever the kind.
var hostile = [][]byte{
	{0xa0},                         // empty map: only a tree may be so
	{0xbf, 0xff},                   // indefinite map
	{0xa1, 0x01, 0x9f, 0xff},       // indefinite array
	{0xa2, 0x01, 0x80, 0x01, 0x80}, // key twice
	{0xa1, 0x01, 0x80},             // empty array that should be absent
	{0xa1, 0x18, 0x01, 0x80},       // key 1 in two bytes
	{0xa1, 0x09, 0x00},             // unknown key
	{0xa1, 0x61, 0x31, 0x00},       // text key
	{0xa1, 0x01, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, // 2^63 entries
	{0xa1, 0x01, 0x9a, 0x00, 0x40, 0x00, 0x00},                         // 2^22 entries, none there
	{0xa1, 0x02, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, // string of 2^64
	{0xc1, 0xa0}, {0xf6}, {0x80}, {0x00}, {0xff}, {0xa0, 0xa0},
	bytes.Repeat([]byte{0x81}, 100_000), // nested arrays
}

func TestHostileBodies(t *testing.T) {
	for _, kind := range []objstore.Kind{objstore.Manifest, objstore.Tree, objstore.Commit, objstore.Tag} {
		for i, body := range hostile {
			if kind == objstore.Tree && i == 0 {
				continue
			}
			if _, _, err := Decode(append([]byte{byte(kind), version}, body...)); err == nil {
				t.Errorf("%s: hostile body %d decodes", kind, i)
			}
		}
	}
}

// A short object cannot make the decoder allocate for the entries that its head promises.
func TestDecodeAllocationIsBounded(t *testing.T) {
	body := append([]byte{0xa1, 0x01, 0x9a, 0x00, 0x10, 0x00, 0x00}, bytes.Repeat([]byte{0x80}, 1<<20)...)
	b := append([]byte{byte(objstore.Tree), version}, body...)
	r := testing.Benchmark(func(tb *testing.B) {
		for tb.Loop() {
			if _, _, err := Decode(b); err == nil {
				tb.Fatal("2^20 empty arrays decode as entries")
			}
		}
	})
	if got := r.AllocedBytesPerOp(); got > 32<<20 {
		t.Errorf("refusing %d bytes allocates %d", len(b), got)
	}
}
