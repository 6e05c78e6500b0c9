package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
	"coral/objstore"
)

func record(i, size int) objstore.Record {
	payload := bytes.Repeat([]byte{byte(i), byte(i >> 8), 0x5a}, size/3+1)[:size]
	rec := objstore.Record{Kind: objstore.Kind(1 + i%5), ID: oid.Sum(fmt.Append(nil, i)), Codec: uint16(i), DType: uint8(i),
		RawSize: int64(size) * 2, Payload: payload}
	if i%3 == 1 {
		rec.Base, rec.Depth = oid.Sum(fmt.Append(nil, i-1)), 1
	}
	return rec
}

const salt = 0x1122334455667788

// build makes pack 7 in fs with n records, and returns where they are.
func build(t testing.TB, fs vfs.FS, n int, seal bool) []Entry {
	t.Helper()
	w, err := Create(fs, "/", 7, salt)
	if err != nil {
		t.Fatal(err)
	}
	var out []Entry
	for i := range n {
		rec := record(i, i*37%500)
		off, err := w.Append(FrameOf(rec), rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Entry{Frame: FrameOf(rec), Offset: off})
	}
	if seal {
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(Frame{}, nil); err != ErrSealed {
			t.Fatalf("append to a sealed pack: %v", err)
		}
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

func openPack(t testing.TB, fs vfs.FS) (*Reader, int64) {
	t.Helper()
	r, err := Open(fs, "/", 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	size, err := r.Size()
	if err != nil {
		t.Fatal(err)
	}
	return r, size
}

// scan returns the intact frames, the others, and the gaps as offset and length.
func scan(t testing.TB, r *Reader, from, to int64, verify bool) (good, bad []Entry, gaps [][2]int64) {
	t.Helper()
	err := r.Scan(context.Background(), from, to, verify, func(e Entry, intact bool) error {
		if intact {
			good = append(good, e)
		} else {
			bad = append(bad, e)
		}
		return nil
	}, func(off, length int64) error {
		gaps = append(gaps, [2]int64{off, length})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return good, bad, gaps
}

func TestRoundTrip(t *testing.T) {
	for _, seal := range []bool{false, true} {
		fs := vfs.NewMem()
		want := build(t, fs, 40, seal)
		r, size := openPack(t, fs)
		end, sealed, err := r.End(size)
		if err != nil || sealed != seal {
			t.Fatalf("sealed %v, %v", sealed, err)
		}
		for _, verify := range []bool{false, true} {
			if good, bad, gaps := scan(t, r, FileHeaderSize, end, verify); !slices.Equal(good, want) || bad != nil || gaps != nil {
				t.Fatalf("scan found %d of %d frames, bad %v, gaps %v", len(good), len(want), bad, gaps)
			}
		}
		for i, e := range want {
			payload, err := r.ReadFrame(t.Context(), e.Info(7, e.Offset))
			if err != nil || !bytes.Equal(payload, record(i, i*37%500).Payload) {
				t.Fatalf("frame %d: %v", i, err)
			}
		}
		var listed []Entry
		err = r.Directory(size, func(e Entry) error { listed = append(listed, e); return nil })
		if seal && (err != nil || !slices.Equal(listed, want)) || !seal && !errors.Is(err, errs.Corrupt) {
			t.Fatalf("directory of %d entries, %v", len(listed), err)
		}
	}
}

func TestResumeThenSeal(t *testing.T) {
	fs := vfs.NewMem()
	want := build(t, fs, 5, false)
	_, size := openPack(t, fs)
	f, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite, 0)
	f.WritevAt([][]byte{[]byte("torn frame")}, size)
	w, err := Resume(fs, "/", 7, size, 5)
	if err != nil || w.Frames() != 5 || w.Size() != size {
		t.Fatalf("resume: %v", err)
	}
	rec := record(77, 100)
	off, err := w.Append(FrameOf(rec), rec.Payload)
	if err != nil || off != size {
		t.Fatalf("append at %d, want %d: %v", off, size, err)
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = append(want, Entry{FrameOf(rec), off})
	r, size := openPack(t, fs)
	var listed []Entry
	if err := r.Directory(size, func(e Entry) error { listed = append(listed, e); return nil }); err != nil || !slices.Equal(listed, want) {
		t.Fatalf("directory of %d entries, %v", len(listed), err)
	}
	if _, err := Resume(fs, "/", 7, size+1, 6); err == nil {
		t.Fatal("resumed past the end")
	}
}

// TestEveryFlip flips every byte of a small sealed pack: what is read is an error or the same bytes.
func TestEveryFlip(t *testing.T) {
	fs := vfs.NewMem()
	want := build(t, fs, 6, true)
	f, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite, 0)
	size, _ := f.Size()
	var b [1]byte
	for at := range size {
		f.ReadAt(b[:], at)
		f.WritevAt([][]byte{{b[0] ^ 1<<(at%8)}}, at)
		r, err := Open(fs, "/", 7, nil)
		if err != nil {
			if at >= FileHeaderSize {
				t.Fatalf("byte %d: %v", at, err)
			}
			if !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Fatalf("byte %d: %v", at, err)
			}
		} else {
			damaged := r.HeaderDamage() != nil
			for i, e := range want {
				payload, err := r.ReadFrame(t.Context(), e.Info(7, e.Offset))
				if err != nil && !errors.Is(err, errs.Corrupt) {
					t.Fatalf("byte %d: %v", at, err)
				}
				damaged = damaged || err != nil
				if err == nil && !bytes.Equal(payload, record(i, i*37%500).Payload) {
					t.Fatalf("byte %d: frame %d has other bytes", at, i)
				}
			}
			end, _, _ := r.End(size)
			good, bad, gaps := scan(t, r, FileHeaderSize, end, true)
			for _, e := range good {
				if !slices.Contains(want, e) {
					t.Fatalf("byte %d: the scan invented %v", at, e)
				}
			}
			if len(good) < len(want)-1 {
				t.Fatalf("byte %d: only %d of %d frames are left", at, len(good), len(want))
			}
			damaged = damaged || len(bad)+len(gaps) > 0
			err := r.Directory(size, func(Entry) error { return nil })
			if !damaged && err == nil {
				t.Fatalf("byte %d: nobody noticed", at)
			}
		}
		f.WritevAt([][]byte{b[:]}, at)
	}
}

// TestTruncated cuts an unsealed pack everywhere: every whole frame is found, and nothing else.
func TestTruncated(t *testing.T) {
	fs := vfs.NewMem()
	want := build(t, fs, 6, false)
	f, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite, 0)
	size, _ := f.Size()
	for ; size >= FileHeaderSize; size-- {
		f.Truncate(size)
		r, _ := openPack(t, fs)
		whole := 0
		for _, e := range want {
			if e.Offset+e.Size() <= size {
				whole++
			}
		}
		if good, bad, _ := scan(t, r, FileHeaderSize, size, true); !slices.Equal(good, want[:whole]) || bad != nil {
			t.Fatalf("cut at %d: %d frames, want %d", size, len(good), whole)
		}
	}
}

// TestPackInsidePack stores a pack's bytes as a payload: a resync must not take its frames for ours.
func TestPackInsidePack(t *testing.T) {
	inner := vfs.NewMem()
	build(t, inner, 20, true)
	f, _ := inner.OpenFile("/"+Name(7), vfs.ReadOnly, 0)
	size, _ := f.Size()
	payload := make([]byte, size)
	f.ReadAt(payload, 0)

	fs := vfs.NewMem()
	w, err := Create(fs, "/", 7, salt+1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		rec := record(i, 10)
		if i == 1 {
			rec.Payload = payload
		}
		if _, err := w.Append(FrameOf(rec), rec.Payload); err != nil {
			t.Fatal(err)
		}
	}
	h, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite, 0)
	at := int64(FileHeaderSize + HeaderSize + 10)
	h.WritevAt([][]byte{{'X'}}, at+20) // the header of the middle frame
	r, total := openPack(t, fs)
	good, _, gaps := scan(t, r, FileHeaderSize, total, true)
	if len(good) != 2 || len(gaps) != 1 || gaps[0] != [2]int64{at, HeaderSize + size} {
		t.Fatalf("%d frames, gaps %v, want 2 and one of %d bytes at %d", len(good), gaps, HeaderSize+size, at)
	}
	if err := Fill(fs, "/", 7, salt+1, gaps[0][0], gaps[0][1]); err != nil {
		t.Fatal(err)
	}
	good, bad, gaps := scan(t, r, FileHeaderSize, total, true)
	if len(good) != 3 || bad != nil || gaps != nil || !good[1].Filler() {
		t.Fatalf("after filling: %d frames, bad %v, gaps %v", len(good), bad, gaps)
	}
}

func TestFailedAppendLeavesNothing(t *testing.T) {
	mem := vfs.NewMem()
	fail := false
	fs := &vfs.Fault{FS: mem, Rule: func(op vfs.Op) (int, error) {
		if fail && op.Name == "write" {
			return op.Len / 2, syscall.ENOSPC
		}
		return 0, nil
	}}
	w, err := Create(fs, "/", 7, salt)
	if err != nil {
		t.Fatal(err)
	}
	var want []Entry
	for i := range 10 {
		rec := record(i, 300)
		fail = i%2 == 1
		off, err := w.Append(FrameOf(rec), rec.Payload)
		if fail {
			if !errors.Is(err, errs.NoSpace) {
				t.Fatalf("got %v", err)
			}
			if err := w.Seal(t.Context()); !errors.Is(err, errs.NoSpace) {
				t.Fatalf("seal: %v", err)
			}
			if size, _ := mem.Size("/" + Name(7)); size != w.Size() {
				t.Fatalf("file has %d bytes, frames end at %d", size, w.Size())
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, Entry{FrameOf(rec), off})
	}
	r, size := openPack(t, mem)
	if good, _, gaps := scan(t, r, FileHeaderSize, size, true); !slices.Equal(good, want) || gaps != nil {
		t.Fatalf("%d frames, gaps %v", len(good), gaps)
	}
}

// TestCrashes cuts the power at random moments: after a Sync, what was appended before it is found; and nothing is ever invented.
func TestCrashes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		mem := vfs.NewMem()
		w, err := Create(mem, "/", 7, salt)
		if err != nil {
			t.Fatal(err)
		}
		var all []Entry
		synced := 0
		for i := range 1 + r.IntN(30) {
			rec := record(i, r.IntN(2000))
			off, err := w.Append(FrameOf(rec), rec.Payload)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, Entry{FrameOf(rec), off})
			if r.IntN(8) == 0 {
				if err := errors.Join(w.Sync(), mem.SyncDir("/")); err != nil {
					t.Fatal(err)
				}
				synced = len(all)
			}
		}
		if r.IntN(4) == 0 {
			if err := w.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		after := mem.Crash(r)
		rd, err := Open(after, "/", 7, nil)
		if err != nil {
			if synced > 0 {
				t.Fatalf("a synced pack cannot be opened: %v", err)
			}
			continue
		}
		size, _ := rd.Size()
		end, _, err := rd.End(size)
		if err != nil {
			t.Fatal(err)
		}
		good, _, _ := scan(t, rd, FileHeaderSize, end, true)
		if len(good) < synced || !slices.Equal(good[:synced], all[:synced]) {
			t.Fatalf("%d frames, %d were synced", len(good), synced)
		}
		for _, e := range good {
			if !slices.Contains(all, e) {
				t.Fatalf("invented frame at %d", e.Offset)
			}
		}
	}
}

func TestFillSizes(t *testing.T) {
	for _, length := range []int64{HeaderSize, HeaderSize + 1, HeaderSize + objstore.MaxPayload, HeaderSize + objstore.MaxPayload + 1,
		2*HeaderSize + objstore.MaxPayload, 3*HeaderSize + objstore.MaxPayload} {
		dir := t.TempDir()
		w, err := Create(vfs.OS{}, dir, 7, salt)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), os.Truncate(filepath.Join(dir, Name(7)), FileHeaderSize+length)); err != nil {
			t.Fatal(err)
		}
		if err := Fill(vfs.OS{}, dir, 7, salt, FileHeaderSize, length); err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		r, err := Open(vfs.OS{}, dir, 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		good, bad, gaps := scan(t, r, FileHeaderSize, FileHeaderSize+length, true)
		if len(good) == 0 || bad != nil || gaps != nil {
			t.Fatalf("%d bytes: %d frames, bad %v, gaps %v", length, len(good), bad, gaps)
		}
		r.Close()
	}
	if err := fill(nil, 0, 0, HeaderSize-1); err == nil {
		t.Fatal("filled too little")
	}
}

// TestResyncIsLinear scans megabytes that look like frames at every step.
func TestResyncIsLinear(t *testing.T) {
	fs := vfs.NewMem()
	f, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite|vfs.Create, 0o600)
	f.WritevAt([][]byte{fileHeader{7, salt}.encode(), bytes.Repeat(frameMagic, 1<<20)}, 0)
	reads := 0
	r, err := Open(&vfs.Fault{FS: fs, Rule: func(op vfs.Op) (int, error) {
		if op.Name == "read" {
			reads++
		}
		return 0, nil
	}}, "/", 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := r.Size()
	if good, _, gaps := scan(t, r, FileHeaderSize, size, true); len(good) != 0 || len(gaps) != 1 {
		t.Fatalf("%d frames, gaps %v", len(good), gaps)
	}
	if reads > 40 {
		t.Fatalf("%d reads of a 4 MiB pack", reads)
	}
}

func TestParseName(t *testing.T) {
	for name, want := range map[string]uint64{"00000001.pack": 1, "12345678.pack": 12345678, "123456789.pack": 123456789,
		"00000000.pack": 0, "1.pack": 0, "00000001.pack.torn": 0, "+0000001.pack": 0, "99999999999.pack": 0, "0000000x.pack": 0, ".pack": 0} {
		n, ok := ParseName(name)
		if ok != (want != 0) || ok && n != want {
			t.Errorf("ParseName(%q) = %d, %v", name, n, ok)
		}
	}
}

func TestLaterVersion(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 1, false)
	f, _ := fs.OpenFile("/"+Name(7), vfs.ReadWrite, 0)
	b := fileHeader{7, salt}.encode()
	b[8]++
	refresh(b)
	f.WritevAt([][]byte{b}, 0)
	if _, err := Open(fs, "/", 7, nil); !errors.Is(err, errs.Unsupported) {
		t.Fatalf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	fs := vfs.NewMem()
	build(t, fs, 3, false)
	r, size := openPack(t, fs)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Scan(ctx, FileHeaderSize, size, true, nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("scan: %v", err)
	}
	if err := r.ReadPayload(ctx, nil, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("read: %v", err)
	}
	if err := r.ReadPayload(t.Context(), make([]byte, 10), size-5); !errors.Is(err, errs.Corrupt) || errors.Is(err, io.EOF) {
		t.Fatalf("read past the end: %v", err)
	}
}
