package content

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// fileBackend keeps payloads in a file, so that only the content store's own memory is measured.
type fileBackend struct {
	*memBackend
	f    *os.File
	mu   sync.Mutex
	end  int64
	at   map[oid.ID]int64
	seen func()
}

func (b *fileBackend) Put(ctx context.Context, r objstore.Record) error {
	b.seen()
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Kind != objstore.Blob {
		return b.memBackend.Put(ctx, r)
	}
	if _, err := b.f.WriteAt(r.Payload, b.end); err != nil {
		return err
	}
	b.at[r.ID] = b.end
	b.end += int64(len(r.Payload))
	stored := int64(len(r.Payload))
	r.Payload = binary.LittleEndian.AppendUint64(nil, uint64(stored))
	return b.memBackend.Put(ctx, r)
}

func (b *fileBackend) Stat(id oid.ID) (objstore.Info, error) {
	info, p, err := b.info(id)
	if err == nil && info.Kind == objstore.Blob {
		info.Stored = int64(binary.LittleEndian.Uint64(p))
	}
	return info, err
}

func (b *fileBackend) ReadPayload(ctx context.Context, info objstore.Info, p []byte, off int64) error {
	b.seen()
	b.mu.Lock()
	at := b.at[info.ID]
	b.mu.Unlock()
	_, err := b.f.ReadAt(p, at+off)
	return err
}

// weights is a file of F32 numbers that are computed when read. With step they are a little off.
type weights struct {
	size int64
	step bool
	seen func()
}

func (w weights) ReadAt(p []byte, off int64) (int, error) {
	w.seen()
	n := min(int64(len(p)), w.size-off)
	for i := int64(0); i < n; {
		word := uint64(off+i) / 4
		h := word * 0x9e3779b97f4a7c15
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		v := uint32(h>>32)&0x807f0000 | (116+uint32(h>>8)&7)<<23 // sign, 7 bits of mantissa, one of 8 exponents: BF16 in F32
		if w.step && word%16 == 0 {
			v ^= 1 << 16
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], v)
		i += int64(copy(p[i:n], b[(off+i)%4:]))
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// A file of large tensors goes in and comes out in bounded memory. The daemon's bound is 400 MiB with everything; this
// measures the heap of the content store alone, garbage included.
func TestMemoryIsBounded(t *testing.T) {
	large(t, "a file of 1 GiB")
	const size, limit = 1 << 30, 330 << 20
	var peak, calls atomic.Uint64
	seen := func() {
		if calls.Add(1)%64 != 0 {
			return
		}
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		for old := peak.Load(); ms.HeapInuse > old && !peak.CompareAndSwap(old, ms.HeapInuse); old = peak.Load() {
		}
	}
	runtime.GC()
	f, err := os.Create(filepath.Join(t.TempDir(), "packs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := &fileBackend{memBackend: newMemBackend(), f: f, at: map[oid.ID]int64{}, seen: seen}
	s := New(b, object.NewStore(b, 0), Options{})
	defer s.Close()
	layout := func(size int64) *format.Layout {
		l := &format.Layout{Format: format.Safetensors}
		for i := range int64(2) {
			n := size / 2
			l.Payloads = append(l.Payloads, format.Payload{Offset: i * n, Length: n, DType: dtype.F32, Name: fmt.Sprint("w", i)})
			l.Tensors = append(l.Tensors, format.Tensor{Offset: i * n, Length: n, DType: dtype.F32, Name: fmt.Sprint("w", i), Shape: []int64{n / 4}})
		}
		return l
	}
	fixedLayout(s, layout(size))
	res, err := s.Ingest(t.Context(), weights{size: size, seen: seen}, size, Hint{Path: "large"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak heap %d MiB after a new file; stored %.3f", peak.Load()>>20, float64(res.New)/size)
	const small = 128 << 20
	fixedLayout(s, layout(small))
	res2, err := s.Ingest(t.Context(), weights{size: small, step: true, seen: seen}, small, Hint{Path: "large", Prev: res.Manifest})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak heap %d MiB after deltas; stored %.3f", peak.Load()>>20, float64(res2.New)/small)
	for _, id := range []oid.ID{res.Manifest, res2.Manifest} {
		fl := mustOpen(t, s, id)
		if err := fl.Verify(t.Context(), func(id oid.ID, err error) { t.Error(id, err) }); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		for off := int64(0); off < 128<<20; off += int64(len(buf)) {
			if _, err := fl.ReadAt(t.Context(), buf, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("peak heap %d MiB after reading", peak.Load()>>20)
	if peak.Load() > limit {
		t.Errorf("peak heap %d MiB, limit %d", peak.Load()>>20, limit>>20)
	}
}
