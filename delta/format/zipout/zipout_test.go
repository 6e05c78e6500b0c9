package zipout

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"coral/delta/format/zipdir"
	"coral/internal/errs"
)

func TestRead(t *testing.T) {
	contents := map[string]string{"a": "", "dir/b": "x", "é": strings.Repeat("weights", 1000), strings.Repeat("n", 300): "long name"}
	for _, align := range []int64{1, 64} {
		var b bytes.Buffer
		z := New(&b, align)
		for name, c := range contents {
			if err := z.Bytes(name, []byte(c)); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.File) != len(contents) {
			t.Errorf("%d entries of %d", len(r.File), len(contents))
		}
		for _, f := range r.File {
			off, err := f.DataOffset()
			if err != nil || off%align != 0 {
				t.Errorf("%s: data at %d, %v; want a multiple of %d", f.Name, off, err, align)
			}
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(in) // checks the CRC
			if err != nil || string(got) != contents[f.Name] {
				t.Errorf("%s: %d bytes, %v", f.Name, len(got), err)
			}
		}
		d, err := zipdir.Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Resolve(bytes.NewReader(b.Bytes())); err != nil {
			t.Error(err)
		}
		for _, e := range d.Entries {
			if c := contents[e.Name]; !e.Stored() || b.String()[e.Data:e.Data+e.Size] != c {
				t.Errorf("zipdir: %s at %d", e.Name, e.Data)
			}
		}
	}
}

// sparse keeps what is written to it but for runs of zeros of a whole write.
type sparse struct {
	size  int64
	parts []part
}

type part struct {
	off int64
	b   []byte
}

var zeros [1 << 20]byte

func (s *sparse) Write(p []byte) (int, error) {
	if len(p) != len(zeros) || !bytes.Equal(p, zeros[:]) {
		s.parts = append(s.parts, part{s.size, bytes.Clone(p)})
	}
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(0, s.size-off)))
	clear(p[:n])
	for _, x := range s.parts {
		if lo, hi := max(off, x.off), min(off+int64(n), x.off+int64(len(x.b))); lo < hi {
			copy(p[lo-off:hi-off], x.b[lo-x.off:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestZip64: an entry of more than 4 GiB, and one behind it.
func TestZip64(t *testing.T) {
	const size = 4<<30 + 1<<20
	s := &sparse{}
	z := New(s, 64)
	err := z.Entry("big", size, func(w io.Writer) error {
		for range size / len(zeros) {
			if _, err := w.Write(zeros[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, z.Bytes("behind", []byte("it")), z.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(s, s.size)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"big 4296015872", "behind 2"} {
		f := r.File[i]
		off, err := f.DataOffset()
		if got := fmt.Sprint(f.Name, " ", f.UncompressedSize64); err != nil || off%64 != 0 || !strings.HasPrefix(got, want) {
			t.Errorf("%s at %d, %v", got, off, err)
		}
	}
	in, err := r.File[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(in); err != nil || string(b) != "it" {
		t.Errorf("%q, %v", b, err)
	}
	d, err := zipdir.Read(s, s.size)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Resolve(s); err != nil || d.Entries[0].Size != size || d.Entries[1].Header < size {
		t.Errorf("zipdir: %+v, %v", d.Entries, err)
	}
}

func TestErrorsStick(t *testing.T) {
	z := New(io.Discard, 1)
	if err := z.Bytes("", nil); !errors.Is(err, errs.Invalid) {
		t.Errorf("no name: %v", err)
	}
	if z.Bytes("a", nil) == nil || z.Close() == nil {
		t.Error("an archive goes on after an error")
	}
	z = New(io.Discard, 1)
	if err := z.Entry("a", 2, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); !errors.Is(err, errs.Invalid) {
		t.Errorf("a short entry: %v", err)
	}
}
