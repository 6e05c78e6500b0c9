package zipdir

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"coral/delta/format"
)

// build returns an archive of archive/zip: stored entries with data descriptors, and one deflated.
func build(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, n := range names {
		h := &zip.FileHeader{Name: n, Method: zip.Store}
		if n == "deflated" {
			h.Method = zip.Deflate
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%d: the data of %s", i, n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(b []byte) (*Dir, error) {
	r := bytes.NewReader(b)
	d, err := Read(r, int64(len(b)))
	if err != nil {
		return nil, err
	}
	return d, d.Resolve(r)
}

func TestRead(t *testing.T) {
	plain := build(t, "x/a", "deflated", "x/b", "")
	commented := append(append([]byte(nil), plain[:len(plain)-2]...), 5, 0, 'h', 'e', 'l', 'l', 'o')
	for name, c := range map[string]struct {
		b     []byte
		begin int64
	}{
		"plain":              {plain, 0},
		"comment":            {commented, 0},
		"something before":   {append([]byte("#!/bin/sh\n"), plain...), 10},
		"an archive before":  {append(append([]byte(nil), plain...), plain...), int64(len(plain))},
		"zip64":              {zip64Archive(plain), 0},
		"zip64 behind other": {append([]byte("#!/bin/sh\n"), zip64Archive(plain)...), 10},
	} {
		d, err := open(c.b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Begin != c.begin || len(d.Entries) != 4 {
			t.Errorf("%s: begins at %d with %d entries", name, d.Begin, len(d.Entries))
		}
		for i, want := range []string{"x/a", "deflated", "x/b", ""} {
			e := d.Entries[i]
			if e.Name != want || e.Stored() == (want == "deflated") {
				t.Errorf("%s: entry %d is %+v", name, i, e)
			}
			if got := string(c.b[e.Data : e.Data+e.Packed]); e.Stored() && got != fmt.Sprintf("%d: the data of %s", i, want) {
				t.Errorf("%s: entry %q is at %q", name, want, got)
			}
		}
	}
}

// zip64Archive moves what the end record and the first directory entry say into zip64 records.
func zip64Archive(plain []byte) []byte {
	le := binary.LittleEndian
	end := plain[len(plain)-endSize:]
	entries, size, offset := le.Uint16(end[10:]), le.Uint32(end[12:]), le.Uint32(end[16:])
	dir := append([]byte(nil), plain[offset:offset+size]...)

	extra := le.AppendUint16(nil, 0x7777) // a field of another kind first
	extra = append(le.AppendUint16(extra, 2), 0, 0)
	extra = le.AppendUint16(extra, zip64Field)
	extra = le.AppendUint16(extra, 24)
	for _, at := range []int{24, 20, 42} {
		extra = le.AppendUint64(extra, uint64(le.Uint32(dir[at:])))
		le.PutUint32(dir[at:], 1<<32-1)
	}
	nameLen := int(le.Uint16(dir[28:]))
	old := int(le.Uint16(dir[30:]))
	le.PutUint16(dir[30:], uint16(len(extra)))
	rest := append([]byte(nil), dir[entrySize+nameLen+old:]...)
	dir = append(append(dir[:entrySize+nameLen], extra...), rest...)

	out := append(append([]byte(nil), plain[:offset]...), dir...)
	at := len(out)
	rec := le.AppendUint32(nil, sigEnd64)
	rec = append(le.AppendUint64(rec, end64Size-12), make([]byte, 12)...)
	rec = le.AppendUint64(rec, uint64(entries))
	rec = le.AppendUint64(rec, uint64(entries))
	rec = le.AppendUint64(rec, uint64(len(dir)))
	rec = le.AppendUint64(rec, uint64(offset))
	out = append(out, rec...)
	out = le.AppendUint32(out, sigLocator)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint64(out, uint64(at))
	out = le.AppendUint32(out, 1)
	out = le.AppendUint32(out, sigEnd)
	return append(out, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0)
}

func TestDamaged(t *testing.T) {
	le := binary.LittleEndian
	plain := build(t, "x/a", "x/b")
	end := len(plain) - endSize
	dir := int(le.Uint32(plain[end+16:]))
	second := dir + entrySize + len("x/a") + int(le.Uint16(plain[dir+30:]))
	local := int(le.Uint32(plain[second+42:]))
	for name, c := range map[string]struct {
		at   int
		put  any
		want string
	}{
		"no end record":       {end, uint32(0), "no end record"},
		"comment too long":    {end + 20, uint16(9), "no end record"},
		"too many entries":    {end + 10, uint16(9000), "9000 entries"},
		"an entry too many":   {end + 10, uint16(3), "3 entries in a directory"},
		"directory too large": {end + 12, uint32(1 << 31), "does not end here"},
		"directory too far":   {end + 16, uint32(1 << 31), "does not end here"},
		"no entry":            {dir, uint32(0), "no directory entry"},
		"long name":           {dir + 28, uint16(0xffff), "before the end"},
		"long extra":          {dir + 30, uint16(0xffff), "before the end"},
		"entry past the end":  {dir + 20, uint32(1 << 30), "directory at"},
		"header past the end": {dir + 42, uint32(1 << 30), "directory at"},
		"data too long":       {second + 20, uint32(60), "overlaps"},
		"data over the next":  {dir + 20, uint32(70), "overlaps"},
		"same place":          {second + 42, uint32(0), "overlaps the next"},
		"no local header":     {local, uint32(0), "no local header"},
		"another local name":  {local + localSize, uint32(0), "no local header"},
		"long local extra":    {local + 28, uint16(0xffff), "overlaps"},
		"wide without field":  {dir + 20, uint32(1<<32 - 1), "directory at"},
	} {
		b := append([]byte(nil), plain...)
		switch v := c.put.(type) {
		case uint16:
			le.PutUint16(b[c.at:], v)
		case uint32:
			le.PutUint32(b[c.at:], v)
		}
		if _, err := open(b); !errors.Is(err, format.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	plain := build(f, "x/a", "deflated", "x/b")
	f.Add(plain)
	f.Add(zip64Archive(plain))
	f.Add(append(append([]byte(nil), plain...), plain...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := open(b)
		if err != nil {
			if !errors.Is(err, format.ErrDamaged) {
				t.Errorf("error of no class: %v", err)
			}
			return
		}
		at := d.Begin
		for _, e := range d.Entries {
			if e.Header < at || e.Data < e.Header || e.Packed < 0 || e.Size < 0 || e.Data+e.Packed > d.Start {
				t.Fatalf("entry %+v after %d, directory at %d", e, at, d.Start)
			}
			at = e.Data + e.Packed
		}
	})
}

// sparse is a file of which only some parts are not zero.
type sparse map[int64][]byte

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for at, b := range s {
		if from, to := max(at, off), min(at+int64(len(b)), off+int64(len(p))); from < to {
			copy(p[from-off:to-off], b[from-at:])
		}
	}
	return len(p), nil
}

// TestLarge: an entry of 5 GiB, and one behind it, as torch writes them: only what does not fit is in the zip64 field.
func TestLarge(t *testing.T) {
	le := binary.LittleEndian
	const big = 5 << 30
	local := func(name string) []byte {
		b := le.AppendUint32(nil, sigLocal)
		b = append(b, make([]byte, localSize-4)...)
		le.PutUint16(b[26:], uint16(len(name)))
		return append(b, name...)
	}
	entry := func(name string, size, off uint32, wide ...uint64) []byte {
		b := le.AppendUint32(nil, sigEntry)
		b = append(b, make([]byte, entrySize-4)...)
		le.PutUint32(b[20:], size)
		le.PutUint32(b[24:], size)
		le.PutUint16(b[28:], uint16(len(name)))
		le.PutUint16(b[30:], uint16(4+8*len(wide)))
		le.PutUint32(b[42:], off)
		b = append(b, name...)
		b = le.AppendUint16(b, zip64Field)
		b = le.AppendUint16(b, uint16(8*len(wide)))
		for _, v := range wide {
			b = le.AppendUint64(b, v)
		}
		return b
	}
	const second = int64(localSize + 1 + big)
	const dir = second + localSize + 1 + 7
	tail := append(entry("a", 1<<32-1, 0, big, big), entry("b", 7, 1<<32-1, uint64(second))...)
	rec := le.AppendUint32(nil, sigEnd64)
	rec = append(rec, make([]byte, end64Size-4)...)
	le.PutUint64(rec[32:], 2)
	le.PutUint64(rec[40:], uint64(len(tail)))
	le.PutUint64(rec[48:], uint64(dir))
	at := dir + int64(len(tail))
	tail = append(tail, rec...)
	tail = le.AppendUint32(tail, sigLocator)
	tail = le.AppendUint64(append(tail, 0, 0, 0, 0), uint64(at))
	tail = append(tail, 1, 0, 0, 0)
	tail = le.AppendUint32(tail, sigEnd)
	tail = append(tail, bytes.Repeat([]byte{0xff}, 16)...)
	tail = append(tail, 0, 0)

	f := sparse{0: local("a"), second: local("b"), dir: tail}
	d, err := Read(f, dir+int64(len(tail)))
	if err == nil {
		err = d.Resolve(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	if a, b := d.Entries[0], d.Entries[1]; a.Data != localSize+1 || a.Packed != big || !a.Stored() || b.Data != second+localSize+1 || b.Packed != 7 {
		t.Errorf("%+v\n%+v", a, b)
	}
}
