package content

import (
	"bytes"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// diskBackend notes what it is asked to prefetch.
type diskBackend struct {
	*memBackend
	mu    sync.Mutex
	asked map[oid.ID][]span
}

func (b *diskBackend) Prefetch(info objstore.Info, off, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked[info.ID] = append(b.asked[info.ID], span{off, off + n})
}

// missing returns how many stored bytes of the blob nobody asked for.
func (b *diskBackend) missing(info objstore.Info) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make([]bool, info.Stored)
	for _, w := range b.asked[info.ID] {
		for i := w.from; i < min(w.to, info.Stored); i++ {
			seen[i] = true
		}
	}
	n := 0
	for _, ok := range seen {
		if !ok {
			n++
		}
	}
	return n
}

// onDisk makes a chain of files of 2 MB on a backend that can prefetch, and returns the deepest.
func onDisk(t *testing.T, depth int) (*diskBackend, *File, []byte) {
	t.Helper()
	writer, mem := newStore(t, Options{})
	writer.parse = jsonLayout
	w := gauss(testRand(7), dtype.F32, 500_000, 0.02)
	var data []byte
	var res IngestResult
	for i := range depth + 1 {
		data = safetensors(tensor{"w", dtype.F32, w})
		res = mustIngest(t, writer, data, Hint{Path: "model.safetensors", Prev: res.Manifest})
		w = sparseStep(w, i)
	}
	b := &diskBackend{memBackend: mem, asked: map[oid.ID][]span{}}
	s := New(b, object.NewStore(b, 0), Options{})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, mustOpen(t, s, res.Manifest), data
}

// wantAsked waits until the disk was asked for all that is stored of the file and of the bases under it.
func wantAsked(t *testing.T, b *diskBackend, f *File) {
	t.Helper()
	links := 0
	for _, seg := range f.m.Segments {
		for id := seg.Blob; !id.IsZero(); links++ {
			info, err := b.Stat(id)
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); b.missing(info) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("blob %s of depth %d: %d of %d stored bytes were not asked for", id.Short(), info.Depth, b.missing(info), info.Stored)
				}
			}
			id = info.Base
		}
	}
	if links < 4 {
		t.Fatalf("%d blobs, want a chain", links)
	}
}

func TestSequentialReadAsksTheDisk(t *testing.T) {
	b, f, data := onDisk(t, 3)
	buf := make([]byte, 1<<20)
	for off := int64(0); off < f.Size(); {
		n, err := f.ReadAt(t.Context(), buf, off)
		if err != nil && err != io.EOF || !bytes.Equal(buf[:n], data[off:off+int64(n)]) {
			t.Fatalf("read at %d: %v", off, err)
		}
		off += int64(n)
	}
	wantAsked(t, b, f)
}

func TestMaterializeAsksTheDisk(t *testing.T) {
	b, f, _ := onDisk(t, 3)
	materializeTo(t, f, filepath.Join(t.TempDir(), "out"), true)
	wantAsked(t, b, f)
}

// Reads here and there make the disk read the block in every link at once, and not what nobody wants.
func TestRandomReadAsksForItsChain(t *testing.T) {
	b, f, _ := onDisk(t, 2)
	r := testRand(4)
	buf := make([]byte, 4096)
	for _, off := range []int64{0, f.Size() / 2, f.Size() - 4096, r.Int64N(f.Size() - 4096)} {
		if _, err := f.ReadAt(t.Context(), buf, off); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	total := int64(0)
	for _, spans := range b.asked {
		for _, w := range spans {
			total += w.to - w.from
		}
	}
	if most := int64(4 * 3 * (delta.BlockSize + 2*headerGuess)); len(b.asked) < 3 || total > most {
		t.Errorf("%d bytes of %d blobs were asked for, want at most %d of 3 or more", total, len(b.asked), most)
	}
}
