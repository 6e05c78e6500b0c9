package pack

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"coral/internal/vfs"
	"coral/objstore"
)

// refresh makes the checksum of a file header right again.
func refresh(b []byte) {
	binary.LittleEndian.PutUint64(b[24:], xxhash.Sum64(b[:fileHeadSummed]))
}

func FuzzFrameHeader(f *testing.F) {
	for i := range 4 {
		var b [HeaderSize]byte
		FrameOf(record(i, 100)).encode(b[:], salt, 32)
		f.Add(b[:], false)
		f.Add(b[:90], true)
	}
	f.Fuzz(func(t *testing.T, in []byte, fix bool) {
		b := slices.Clone(in)
		if fix && len(b) >= HeaderSize { // get past the checksum
			copy(b, frameMagic)
			binary.LittleEndian.PutUint64(b[96:], headerSum(b, salt, 32))
		}
		fr, ok := decodeFrame(b, salt, 32)
		if !ok {
			return
		}
		if fr.Length > objstore.MaxPayload || fr.RawSize < 0 || fr.RawSize > MaxRaw {
			t.Fatalf("accepted %+v", fr)
		}
		var again [HeaderSize]byte
		fr.encode(again[:], salt, 32)
		if !bytes.Equal(again[:], b[:HeaderSize]) {
			t.Fatalf("decoded %x, encoded %x", b[:HeaderSize], again)
		}
	})
}

func FuzzTrailer(f *testing.F) {
	f.Add(trailer{offset: 1000, count: 3, sum: 5, salt: salt}.encode(), int64(2000))
	f.Add(trailer{offset: 1 << 62, count: 1 << 62}.encode(), int64(100))
	f.Fuzz(func(t *testing.T, in []byte, size int64) {
		b := slices.Clone(in)
		if len(b) == trailerSize {
			copy(b[32:], trailerMagic[:])
			binary.LittleEndian.PutUint64(b[40:], xxhash.Sum64(b[:trailerSummed]))
		}
		if size < trailerSize {
			return
		}
		tr, ok := decodeTrailer(b, size)
		if ok && (tr.offset < FileHeaderSize || tr.offset > size-trailerSize || size-trailerSize-tr.offset > maxDirectory || tr.count < 0 || tr.count > maxDirectory) {
			t.Fatalf("accepted %+v in a pack of %d bytes", tr, size)
		}
	})
}

func FuzzDirectory(f *testing.F) {
	var b []byte
	off := int64(FileHeaderSize)
	for i := range 4 {
		e := Entry{FrameOf(record(i, 10)), off}
		off += e.Size()
		b = appendEntry(b, e)
	}
	f.Add(b, int64(4))
	f.Add(b[:len(b)-1], int64(4))
	f.Fuzz(func(t *testing.T, b []byte, count int64) {
		var again []byte
		end := int64(1 << 40)
		err := decodeDirectory(b, count, end, func(e Entry) error {
			if e.Offset+e.Size() > end {
				t.Fatalf("accepted %+v", e)
			}
			again = appendEntry(again, e)
			return nil
		})
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
	})
}

// FuzzPack opens and scans any bytes as a pack.
func FuzzPack(f *testing.F) {
	for _, seal := range []bool{false, true} {
		fs := vfs.NewMem()
		build(f, fs, 3, seal)
		h, _ := fs.OpenFile("/"+Name(7), vfs.ReadOnly, 0)
		size, _ := h.Size()
		b := make([]byte, size)
		h.ReadAt(b, 0)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := slices.Clone(in)
		if len(b) >= FileHeaderSize {
			copy(b, fileHeader{7, salt}.encode())
		}
		fs := vfs.NewMem()
		h, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite|vfs.Create, 0o600)
		h.WritevAt([][]byte{b}, 0)
		r, err := Open(fs, "/", 7, nil)
		if err != nil {
			return
		}
		size := int64(len(b))
		end, _, err := r.End(size)
		if err != nil {
			t.Fatal(err)
		}
		next := int64(FileHeaderSize)
		good, bad, gaps := scan(t, r, FileHeaderSize, end, true)
		for _, e := range append(good, bad...) {
			next += e.Size()
		}
		for _, g := range gaps {
			next += g[1]
		}
		if next != max(end, FileHeaderSize) {
			t.Fatalf("frames and gaps cover %d of %d bytes", next, end)
		}
		_ = r.Directory(size, func(Entry) error { return nil })
	})
}
