package npy

import (
	"bytes"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/formattest"
)

func TestWrite(t *testing.T) {
	items := formattest.Every(Supported)
	w, err := NewZipWriter(items)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, formattest.Fill(items)); err != nil {
		t.Fatal(err)
	}
	formattest.Written(t, ZipParser{}, b.Bytes(), items)
	for _, h := range w.headers {
		if len(h)%64 != 0 {
			t.Errorf("header of %d bytes", len(h))
		}
	}
	_, err = NewZipWriter([]format.Item{{Name: "b", DType: dtype.BF16, Shape: []int64{1}, Length: 2}})
	formattest.Refused(t, "BF16", err, "no BF16 in NumPy")
}
