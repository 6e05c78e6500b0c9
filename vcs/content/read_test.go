package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// chain makes a store with a chain of the given depth and returns the deepest file.
func chain(t *testing.T, depth int, opts Options) (*Store, *memBackend, *File, []byte) {
	t.Helper()
	s, b := newStore(t, opts)
	s.parse = jsonLayout
	files, res := steps(t, s, "w", depth+1, true)
	if d := depths(t, s, b, res)[depth]; d != depth {
		t.Fatalf("depth %d, want %d", d, depth)
	}
	s.DropCache()
	return s, b, mustOpen(t, s, res[depth].Manifest), files[depth]
}

// A page read at random decodes at most one block for each link of the chain, and a second one of the same block none.
func TestRandomReadDecodesOneBlockALink(t *testing.T) {
	for _, depth := range []int{0, 3, maxBaseDepth + 1} {
		s, _, f, data := chain(t, depth, Options{})
		page := make([]byte, 4096)
		// Inside a block: 5 pages after the start of the third block of the tensor.
		off := f.ends[0] + 2*delta.BlockSize + 5*4096
		before := s.Counters()
		if _, err := f.ReadAt(t.Context(), page, off); err != nil || !bytes.Equal(page, data[off:off+4096]) {
			t.Fatalf("read: %v", err)
		}
		after := s.Counters()
		if n := after.BlocksDecoded - before.BlocksDecoded; n > int64(depth)+1 || n < 1 {
			t.Errorf("depth %d: %d blocks decoded", depth, n)
		}
		if _, err := f.ReadAt(t.Context(), page, off-8192); err != nil {
			t.Fatal(err)
		}
		if n := s.Counters().BlocksDecoded - after.BlocksDecoded; n != 0 {
			t.Errorf("depth %d: %d more blocks decoded for the same block", depth, n)
		}
		if n := s.Counters().AheadBlocks; n != 0 {
			t.Errorf("depth %d: %d blocks read ahead", depth, n)
		}
	}
}

// A whole-file pass decodes each block of the chain once.
func TestPassDecodesEachBlockOnce(t *testing.T) {
	s, _, f, data := chain(t, 4, Options{})
	before := s.Counters()
	path := filepath.Join(t.TempDir(), "out")
	materializeTo(t, f, path, true)
	n := s.Counters().BlocksDecoded - before.BlocksDecoded
	perLink := int64(len(data)/delta.BlockSize + 2)
	if n > 5*perLink {
		t.Errorf("%d blocks decoded for 5 links of %d", n, perLink)
	}
}

func TestDamageIsCorruptAndNamesTheBlob(t *testing.T) {
	tests := map[string]func(*objstore.Record){
		"payload bit":   func(r *objstore.Record) { r.Payload[len(r.Payload)-1] ^= 4 },
		"payload start": func(r *objstore.Record) { r.Payload[0] ^= 1 },
		"payload cut":   func(r *objstore.Record) { r.Payload = r.Payload[:len(r.Payload)/2] },
		"payload empty": func(r *objstore.Record) { r.Payload = nil },
		"raw size":      func(r *objstore.Record) { r.RawSize++ },
		"huge raw size": func(r *objstore.Record) { r.RawSize = 1 << 60 },
		"negative size": func(r *objstore.Record) { r.RawSize = -1 },
		"depth":         func(r *objstore.Record) { r.Depth = 200 },
		"codec raw":     func(r *objstore.Record) { r.Codec = uint16(delta.FrameRaw) },
		"codec zstd":    func(r *objstore.Record) { r.Codec = uint16(delta.FrameZstd) },
		"base lost":     func(r *objstore.Record) { r.Base = oid.ID{} },
		"base itself":   func(r *objstore.Record) { r.Base = r.ID },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			s, b, f, _ := chain(t, 2, Options{})
			id := f.Manifest().Segments[1].Blob
			b.change(id, damage)
			s.DropCache()
			_, err := f.ReadAt(t.Context(), make([]byte, f.Size()), 0)
			wantCorrupt(t, err, id)
			_, err = s.BlobBytes(t.Context(), id)
			wantCorrupt(t, err, id)
			dst, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer dst.Close()
			wantCorrupt(t, f.Materialize(t.Context(), dst, false), id)
			var bad []oid.ID
			err = f.Verify(t.Context(), func(id oid.ID, err error) { bad = append(bad, id); wantCorrupt(t, err, id) })
			if !errors.Is(err, errs.Corrupt) || len(bad) != 1 || bad[0] != id {
				t.Errorf("verify: %v, reported %v", err, bad)
			}
			// The rest of the file is still readable.
			if _, err := f.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
				t.Errorf("header: %v", err)
			}
		})
	}
}

// Blobs of a chain that point in a circle end in an error, not in a wait.
func TestCircle(t *testing.T) {
	s, b, f, _ := chain(t, 3, Options{})
	top := f.Manifest().Segments[1].Blob
	info, err := b.Stat(top)
	if err != nil {
		t.Fatal(err)
	}
	b.change(info.Base, func(r *objstore.Record) { r.Base = top })
	s.DropCache()
	_, err = f.ReadAt(t.Context(), make([]byte, f.Size()), 0)
	wantCorrupt(t, err, info.Base)
	_, err = s.BlobBytes(t.Context(), top)
	wantCorrupt(t, err, info.Base)
}

func TestMissingBlob(t *testing.T) {
	s, b, f, _ := chain(t, 1, Options{})
	id := f.Manifest().Segments[1].Blob
	b.remove(id)
	s.DropCache()
	if _, err := f.ReadAt(t.Context(), make([]byte, f.Size()), 0); !errors.Is(err, errs.NotFound) || !strings.Contains(err.Error(), id.String()) {
		t.Errorf("read: %v", err)
	}
	n := 0
	if err := f.Verify(t.Context(), func(oid.ID, error) { n++ }); !errors.Is(err, errs.Corrupt) || n != 1 {
		t.Errorf("verify: %v, %d reports", err, n)
	}
}

// A blob whose bytes decode well but are not those of its id is found by what reads it whole.
func TestWrongBytesUnderAnID(t *testing.T) {
	s, b := newStore(t, Options{})
	data := noise(20, 100_000)
	f := mustOpen(t, s, mustIngest(t, s, data, Hint{}).Manifest)
	other := mustOpen(t, s, mustIngest(t, s, noise(21, 100_000), Hint{}).Manifest)
	id := f.Manifest().Segments[0].Blob
	from := b.recs[other.Manifest().Segments[0].Blob]
	b.change(id, func(r *objstore.Record) { r.Payload, r.RawSize, r.Codec = from.Payload, from.RawSize, from.Codec })
	s.DropCache()
	if from.RawSize != f.Manifest().Segments[0].Length {
		_, err := f.ReadAt(t.Context(), make([]byte, 10), 0)
		wantCorrupt(t, err, id)
	}
	_, err := s.BlobBytes(t.Context(), id)
	wantCorrupt(t, err, id)
	if err := f.Verify(t.Context(), func(oid.ID, error) {}); !errors.Is(err, errs.Corrupt) {
		t.Errorf("verify: %v", err)
	}
}

// A raw frame has no checksums of its own: part of it must not be given out unchecked.
func TestRawFrameIsChecked(t *testing.T) {
	for _, n := range []int{100, 100_000, 3 << 20} {
		s, b := newStore(t, Options{})
		raw := noise(22, n)
		id := oid.Sum(raw)
		rec := objstore.Record{Kind: objstore.Blob, ID: id, Codec: uint16(delta.FrameRaw), RawSize: int64(n), Payload: raw}
		if err := b.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 10)
		if err := s.readBlob(t.Context(), id, p, int64(n)-20, int64(n)); err != nil || !bytes.Equal(p, raw[n-20:n-10]) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		s.DropCache()
		b.change(id, func(r *objstore.Record) { r.Payload[0] ^= 1 })
		wantCorrupt(t, s.readBlob(t.Context(), id, p, int64(n)-20, int64(n)), id)
	}
}

// The collector moves blobs between packs under a reader that knows where they were.
func TestBlobsMoveUnderReader(t *testing.T) {
	s, b, f, data := chain(t, 2, Options{CacheBytes: 1})
	buf := make([]byte, len(data))
	for range 3 {
		if _, err := f.ReadAt(t.Context(), buf, 0); err != nil || !bytes.Equal(buf, data) {
			t.Fatalf("read: %v", err)
		}
		b.move()
	}
	checkFile(t, s, f.id, data)
}

func TestSequentialReadAhead(t *testing.T) {
	s, _ := newStore(t, Options{Workers: 2})
	data := noise(30, 24<<20)
	f := mustOpen(t, s, mustIngest(t, s, data, Hint{}).Manifest)
	got := make([]byte, 0, len(data))
	buf := make([]byte, 128<<10)
	for off := int64(0); ; {
		n, err := f.ReadAt(t.Context(), buf, off)
		got = append(got, buf[:n]...)
		off += int64(n)
		if err == io.EOF || off == f.Size() {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, data) {
		t.Fatal("bytes differ")
	}
}

// Who observes: a stream of reads opens a window, reads at random do not, and the window covers each byte once.
func TestStreams(t *testing.T) {
	var st streams
	covered := int64(128 << 10)
	for off := int64(0); off < 40<<20; off += 128 << 10 {
		ahead, _ := st.observe(off, 128<<10, maxAhead)
		from, to := ahead.from, ahead.to
		if from >= to {
			continue
		}
		if from != covered && off > 0 {
			t.Fatalf("window at %d begins at %d, the last ended at %d", off, from, covered)
		}
		if to-from > maxAhead+(128<<10) {
			t.Fatalf("window of %d bytes", to-from)
		}
		covered = to
	}
	if covered < 40<<20 {
		t.Errorf("read-ahead reached %d only", covered)
	}
	r := testRand(1)
	st = streams{}
	for range 1000 {
		if ahead, disk := st.observe(r.Int64N(1<<40), 4096, maxAhead); ahead.from < ahead.to || disk.from < disk.to {
			t.Fatal("read-ahead after a read at random")
		}
	}
}

// Many readers, a small cache, drops in between.
func TestConcurrentReaders(t *testing.T) {
	s, _, f, data := chain(t, 5, Options{CacheBytes: 600 << 10, Workers: 3})
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			r := testRand(uint64(k))
			buf := make([]byte, 100_000)
			for i := range 60 {
				off := r.Int64N(int64(len(data)))
				n, err := f.ReadAt(context.Background(), buf[:r.IntN(len(buf))], off)
				if err != nil && err != io.EOF || !bytes.Equal(buf[:n], data[off:off+int64(n)]) {
					t.Errorf("reader %d at %d: %d bytes, %v", k, off, n, err)
					return
				}
				if i%20 == 19 {
					s.DropCache()
				}
			}
		})
	}
	wg.Go(func() {
		if err := f.Verify(context.Background(), func(id oid.ID, err error) { t.Error(err) }); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	s.DropCache()
	for i := range s.blocks.shards {
		if sh := &s.blocks.shards[i]; sh.bytes != 0 || len(sh.all) != 0 || sh.lru.Len() != 0 {
			t.Errorf("shard %d keeps %d bytes, %d blocks", i, sh.bytes, len(sh.all))
		}
	}
}

// A reader that gives up does not take those down who wait for the same block.
func TestCancelledDecoderDoesNotFailOthers(t *testing.T) {
	_, b, f, data := chain(t, 2, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	started, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	base := f.Manifest().Segments[1].Blob
	b.onRead = func(id oid.ID) {
		if id == base {
			once.Do(func() { close(started); <-gate; cancel() })
		}
	}
	var wg sync.WaitGroup
	off := f.ends[0]
	wg.Go(func() {
		if _, err := f.ReadAt(ctx, make([]byte, 100), off); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled reader: %v", err)
		}
	})
	<-started
	wg.Go(func() {
		p := make([]byte, 100)
		if _, err := f.ReadAt(context.Background(), p, off); err != nil || !bytes.Equal(p, data[off:off+100]) {
			t.Errorf("waiting reader: %v", err)
		}
	})
	close(gate)
	wg.Wait()
}

func TestSparseFileStaysSparse(t *testing.T) {
	s, _ := newStore(t, Options{})
	size := int64(thinner(256<<20, 48<<20))
	r := zeros(size)
	res, err := s.Ingest(t.Context(), r, size, Hint{Path: "sparse"})
	if err != nil {
		t.Fatal(err)
	}
	if res.New > 1<<20 {
		t.Errorf("zeros cost %d bytes", res.New)
	}
	path := filepath.Join(t.TempDir(), "out")
	f := mustOpen(t, s, res.Manifest)
	materializeTo(t, f, path, true)
	st, err := os.Stat(path)
	if err != nil || st.Size() != size {
		t.Fatalf("size %d, %v", st.Size(), err)
	}
	if b := blocksOf(t, st); b > 2<<20 {
		t.Errorf("materialised zeros take %d bytes", b)
	}
}

// zeros is a file of so many zeros.
type zeros int64

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), int64(z)-off)
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func TestDamagedManifest(t *testing.T) {
	s, _ := newStore(t, Options{})
	if _, err := s.Open(t.Context(), oid.Sum([]byte("none"))); !errors.Is(err, errs.NotFound) {
		t.Errorf("open of a missing manifest: %v", err)
	}
	res := mustIngest(t, s, noise(1, 100_000), Hint{})
	blob := mustOpen(t, s, res.Manifest).Manifest().Segments[0].Blob
	if _, err := s.Open(t.Context(), blob); err == nil {
		t.Error("a blob opened as a manifest")
	}
	if _, err := s.BlobBytes(t.Context(), res.Manifest); !errors.Is(err, errs.Invalid) {
		t.Errorf("a manifest read as a blob: %v", err)
	}
}

// A blob as one zstd frame is read too, whole and in part.
func TestZstdFrame(t *testing.T) {
	s, b := newStore(t, Options{})
	raw := bytes.Repeat([]byte("coral "), 100_000)
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	id := oid.Sum(raw)
	rec := objstore.Record{Kind: objstore.Blob, ID: id, Codec: uint16(delta.FrameZstd), RawSize: int64(len(raw)), Payload: w.EncodeAll(raw, nil)}
	if err := b.Put(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if got, err := s.BlobBytes(t.Context(), id); err != nil || !bytes.Equal(got, raw) {
		t.Fatalf("whole: %v", err)
	}
	p := make([]byte, 12)
	if err := s.readBlob(t.Context(), id, p, 6000, int64(len(raw))); err != nil || string(p) != "coral coral " {
		t.Fatalf("part: %q, %v", p, err)
	}
	for _, n := range []int64{-1, 1, -100_000, 1 << 20} {
		b.change(id, func(r *objstore.Record) { r.RawSize = int64(len(raw)) + n })
		s.DropCache()
		_, err := s.BlobBytes(t.Context(), id)
		wantCorrupt(t, err, id)
	}
}
