package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/objstore"
	"coral/vcs/object"
)

// FuzzIngestRead: whatever the bytes, whatever a parser made of them, what comes back is what went in; a second version and
// any part of either too. A damaged record gives an error, or the same bytes, and no other.
func FuzzIngestRead(f *testing.F) {
	r := testRand(3)
	model := safetensors(tensor{"a", dtype.F32, gauss(r, dtype.F32, 2000, 1)}, tensor{"b.exp_avg", dtype.BF16, gauss(r, dtype.BF16, 3000, 1)}, tensor{"c", dtype.I64, make([]byte, 8)})
	f.Add(model, []byte{}, uint32(0), uint32(0))
	f.Add(model, []byte{8, 0, 200, 0, 1}, uint32(77), uint32(9))
	f.Add([]byte{}, []byte{}, uint32(0), uint32(0))
	f.Add([]byte("x"), []byte{0, 0, 1, 0, 2}, uint32(1), uint32(1))
	f.Add(make([]byte, 70_000), []byte{1, 0, 0, 20, 2, 9, 9, 0, 40, 4}, uint32(5), uint32(3))
	f.Add(noise(1, 150_000), []byte{0, 1, 0, 200, 2}, uint32(100_000), uint32(1<<31))
	f.Add(bytes.Repeat([]byte("abcdefgh"), 40_000), []byte{}, uint32(300_000), uint32(4))
	f.Fuzz(func(t *testing.T, data, cuts []byte, at, flip uint32) {
		if len(data) > 1<<20 {
			return
		}
		ctx := context.Background()
		b := newMemBackend()
		s := New(b, object.NewStore(b, 0), Options{Workers: 2, CacheBytes: 1 << 20})
		defer s.Close()
		if l := fuzzLayout(cuts, int64(len(data))); l != nil {
			fixedLayout(s, l)
		}
		next := bytes.Clone(data)
		if len(next) > 0 {
			next[int(at)%len(next)] ^= byte(flip) | 1
		}
		first := mustIngest(t, s, data, Hint{})
		second := mustIngest(t, s, next, Hint{Prev: first.Manifest})
		files := []*File{mustOpen(t, s, first.Manifest), mustOpen(t, s, second.Manifest)}
		for i, want := range [][]byte{data, next} {
			readBack(t, files[i], want, int64(at)%(int64(len(data))+1))
		}
		// Damage one blob.
		blobs := b.blobs()
		if len(blobs) == 0 {
			return
		}
		victim := blobs[int(at)%len(blobs)]
		if len(victim.Payload) == 0 {
			return
		}
		b.change(victim.ID, func(r *objstore.Record) { r.Payload[int(flip)%len(r.Payload)] ^= byte(at) | 1 })
		s.DropCache()
		for i, want := range [][]byte{data, next} {
			got := make([]byte, len(want))
			if _, err := files[i].ReadAt(ctx, got, 0); err == nil || err == io.EOF {
				if !bytes.Equal(got, want) {
					t.Fatalf("damage of blob %s gives wrong bytes without an error", victim.ID)
				}
			} else if !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Fatalf("damage is %v", err)
			}
		}
	})
}

func readBack(t *testing.T, f *File, want []byte, off int64) {
	t.Helper()
	got := make([]byte, len(want)+1)
	if n, err := f.ReadAt(context.Background(), got, 0); n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
		t.Fatalf("read %d of %d bytes, %v", n, len(want), err)
	}
	f.s.DropCache()
	if n, err := f.ReadAt(context.Background(), got, off); n != len(want)-int(off) || err != io.EOF || !bytes.Equal(got[:n], want[off:]) {
		t.Fatalf("read from %d: %d bytes, %v", off, n, err)
	}
}

// fuzzLayout makes a sound layout of the bytes: gap, length, kind, five bytes each. Without any, the real parsers decide.
func fuzzLayout(cuts []byte, size int64) *format.Layout {
	if len(cuts) < 5 {
		return nil
	}
	l := &format.Layout{Format: format.GGUF}
	at := int64(0)
	for ; len(cuts) >= 5; cuts = cuts[5:] {
		at += int64(binary.LittleEndian.Uint16(cuts))
		n := int64(binary.LittleEndian.Uint16(cuts[2:])) * 4
		if n == 0 || at+n > size {
			break
		}
		name := string('a' + rune(len(l.Payloads)%20))
		dt := dtype.Kind(cuts[4] % 19)
		l.Payloads = append(l.Payloads, format.Payload{Offset: at, Length: n, DType: dt, Name: name})
		l.Tensors = append(l.Tensors, format.Tensor{Name: name, DType: dt, Shape: []int64{n}, Offset: at, Length: n})
		at += n
	}
	return l
}
