package zipdir

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"coral/delta/format"
)

// TestCRCs changes an entry and its checksums in the places told, and lets archive/zip read it.
func TestCRCs(t *testing.T) {
	var raw bytes.Buffer
	w := zip.NewWriter(&raw)
	for _, n := range []string{"described", "plain"} { // with and without a data descriptor
		h := &zip.FileHeader{Name: n, Method: zip.Store}
		data := []byte("the data of " + n)
		var f io.Writer
		var err error
		if n == "plain" {
			h.CRC32, h.CompressedSize64, h.UncompressedSize64 = crc32.ChecksumIEEE(data), uint64(len(data)), uint64(len(data))
			f, err = w.CreateRaw(h)
		} else {
			f, err = w.CreateHeader(h)
		}
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := raw.Bytes()
	d, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		places, crc, err := e.CRCs(bytes.NewReader(b))
		data := b[e.Data : e.Data+e.Packed]
		if err != nil || len(places) != 2 || crc != crc32.ChecksumIEEE(data) {
			t.Fatalf("%s: places %v, checksum %08x, %v", e.Name, places, crc, err)
		}
		data[0] ^= 1
		for _, at := range places {
			binary.LittleEndian.PutUint32(b[at:], crc32.ChecksumIEEE(data))
		}
	}
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || string(got) != "uhe data of "+f.Name {
			t.Errorf("%s: %q, %v", f.Name, got, err)
		}
	}
	b[d.Entries[0].Record+16]++
	if _, _, err := d.Entries[0].CRCs(bytes.NewReader(b)); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("two checksums: %v", err)
	}
	if _, _, err := d.Entries[0].CRCs(bytes.NewReader(b[:d.Entries[0].Data+2])); !errors.Is(err, format.ErrDamaged) {
		t.Errorf("cut: %v", err)
	}
}
