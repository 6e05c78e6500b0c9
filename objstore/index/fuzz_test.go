package index

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

func FuzzRecord(f *testing.F) {
	for i := range 4 {
		f.Add(encodeRecord(info(i)), false)
		f.Add(encodeRecord(info(i))[:64], true)
	}
	key := oid.Sum([]byte("key"))
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix {
			b = seal(key[:], bytes.Clone(b))
		}
		in, _, err := decodeRecord(key[:], b)
		if err != nil {
			return
		}
		if in.Stored > objstore.MaxPayload || in.Offset < 0 || in.RawSize < 0 {
			t.Fatalf("accepted %+v", in)
		}
		if again := encodeRecord(in); !bytes.Equal(again, b) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
	})
}

func FuzzPackRow(f *testing.F) {
	key := packKey(7)
	f.Add(encodePack(7, Pack{Length: 5, Frames: 2, Salt: 3, Sealed: true})[:32])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, p, _, err := decodePack(key, seal(key, bytes.Clone(b))); err == nil && (p.Length < 0 || p.Frames < 0) {
			t.Fatalf("accepted %+v", p)
		}
	})
}

// FuzzDatabase walks any bytes as a database.
func FuzzDatabase(f *testing.F) {
	path := filepath.Join(f.TempDir(), "index.db")
	make1(f, path, 60)
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(0), uint16(0))
	f.Add(b, uint16(4096*3+8), uint16(0x7f01))
	f.Fuzz(func(t *testing.T, in []byte, at, with uint16) {
		b := bytes.Clone(in)
		if int(at)+1 < len(b) {
			b[at], b[at+1] = byte(with), byte(with>>8)
		}
		err := verify(bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
			t.Fatal(err)
		}
	})
}
