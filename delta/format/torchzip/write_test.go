package torchzip

import (
	"bytes"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/formattest"
)

func TestWrite(t *testing.T) {
	items := formattest.Every(Supported)
	items = append(items, items[3])
	tied := &items[len(items)-1]
	tied.Name, tied.TiedTo = "tied", 4
	w, err := NewWriter(items)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Write(&b, formattest.Fill(items)); err != nil {
		t.Fatal(err)
	}
	l := formattest.Written(t, Parser{}, b.Bytes(), items)
	for _, p := range l.Payloads {
		if p.Offset%alignment != 0 {
			t.Errorf("storage %s at %d", p.Name, p.Offset)
		}
	}
	if n := strings.Count(b.String(), "PK\x03\x04"); n != len(items)-1+5 { // a storage for each but the tied one
		t.Errorf("%d entries", n)
	}
	_, err = NewWriter([]format.Item{{Name: "q", DType: dtype.Q8_0, Shape: []int64{32}, Length: 34}})
	formattest.Refused(t, "Q8_0", err, "no Q8_0 in torch")
}
