package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/objstore"
	"coral/vcs/object"
)

// memBackend is a record store in a map, with hooks for damage.
type memBackend struct {
	mu    sync.Mutex
	recs  map[oid.ID]objstore.Record
	hints map[string][]byte
	pack  uint64 // of all records; changed by move
	puts  map[oid.ID]int

	onPut  func(objstore.Record) error
	onRead func(id oid.ID)
}

func newMemBackend() *memBackend {
	return &memBackend{recs: map[oid.ID]objstore.Record{}, hints: map[string][]byte{}, puts: map[oid.ID]int{}}
}

func (b *memBackend) info(id oid.ID) (objstore.Info, []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.recs[id]
	if !ok {
		return objstore.Info{}, nil, fmt.Errorf("record %s: %w", id, errs.NotFound)
	}
	return objstore.Info{
		Kind: r.Kind, ID: r.ID, Codec: r.Codec, DType: r.DType, Depth: r.Depth, RawSize: r.RawSize,
		Stored: int64(len(r.Payload)), Base: r.Base, Pack: b.pack,
	}, r.Payload, nil
}

func (b *memBackend) Stat(id oid.ID) (objstore.Info, error) {
	i, _, err := b.info(id)
	return i, err
}

func (b *memBackend) Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error) {
	i, p, err := b.info(id)
	return i, bytes.Clone(p), err
}

func (b *memBackend) ReadPayload(ctx context.Context, info objstore.Info, p []byte, off int64) error {
	now, payload, err := b.info(info.ID)
	if err != nil {
		return err
	}
	if now.Pack != info.Pack {
		return fmt.Errorf("pack %d: %w", info.Pack, errs.NotFound)
	}
	if b.onRead != nil {
		b.onRead(info.ID)
	}
	if off < 0 || off+int64(len(p)) > int64(len(payload)) {
		return fmt.Errorf("record %s: read past the end: %w", info.ID, errs.Corrupt)
	}
	copy(p, payload[off:])
	return nil
}

func (b *memBackend) Put(ctx context.Context, r objstore.Record) error {
	if b.onPut != nil {
		if err := b.onPut(r); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts[r.ID]++
	if _, ok := b.recs[r.ID]; !ok {
		r.Payload = bytes.Clone(r.Payload)
		b.recs[r.ID] = r
	}
	return nil
}

func (b *memBackend) Sync(context.Context) error { return nil }

func (b *memBackend) Has(id oid.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.recs[id]
	return ok
}

func (b *memBackend) Hint(key []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hints[string(key)]
}

func (b *memBackend) SetHint(key, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hints[string(key)] = bytes.Clone(value)
}

// change replaces a record by what fn makes of it.
func (b *memBackend) change(id oid.ID, fn func(*objstore.Record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.recs[id]
	r.Payload = bytes.Clone(r.Payload)
	fn(&r)
	b.recs[id] = r
}

func (b *memBackend) remove(id oid.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.recs, id)
}

// move puts all records into another pack, as the collector does.
func (b *memBackend) move() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pack++
}

func (b *memBackend) blobs() []objstore.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []objstore.Record
	for r := range maps.Values(b.recs) {
		if r.Kind == objstore.Blob {
			out = append(out, r)
		}
	}
	return out
}

// large skips a test of large files in short runs, and under the race detector, which takes minutes for them: there they are computed by the same
// goroutines as the small files of the other tests. `make race` runs all of them without it.
func large(t *testing.T, what string) {
	t.Helper()
	if testing.Short() || race.Enabled {
		t.Skip(what)
	}
}

// thinner returns n, or fewer under the race detector.
func thinner(n, racing int) int {
	if race.Enabled {
		return racing
	}
	return n
}

func newStore(t testing.TB, opts Options) (*Store, *memBackend) {
	t.Helper()
	b := newMemBackend()
	s := New(b, object.NewStore(b, 0), opts)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, b
}

type tensor struct {
	name string
	dt   dtype.Kind
	data []byte
}

// safetensors writes a file of that format.
func safetensors(ts ...tensor) []byte {
	type row struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	head := []byte("{")
	at := int64(0)
	for i, t := range ts {
		if i > 0 {
			head = append(head, ',')
		}
		end := at + int64(len(t.data))
		k, _ := json.Marshal(t.name)
		v, _ := json.Marshal(row{t.dt.String(), []int{len(t.data) / t.dt.Width()}, [2]int64{at, end}})
		head = append(append(append(head, k...), ':'), v...)
		at = end
	}
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	out = append(out, head...)
	for _, t := range ts {
		out = append(out, t.data...)
	}
	return out
}

// testRand is a seeded source.
func testRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 77)) }

// gauss returns n normal numbers of kind F32 or BF16.
func gauss(r *rand.Rand, dt dtype.Kind, n int, sigma float64) []byte {
	out := make([]byte, 0, n*dt.Width())
	for range n {
		out = appendFloat(out, dt, float32(r.NormFloat64()*sigma))
	}
	return out
}

func appendFloat(out []byte, dt dtype.Kind, v float32) []byte {
	if dt == dtype.BF16 {
		return binary.LittleEndian.AppendUint16(out, uint16((math.Float32bits(v)+0x8000)>>16))
	}
	return binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
}

// tuned returns data after a small step, as fine-tuning makes one: every number moves by about step.
func tuned(r *rand.Rand, dt dtype.Kind, data []byte, step float64) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i += dt.Width() {
		var v float32
		if dt == dtype.BF16 {
			v = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[i:])) << 16)
		} else {
			v = math.Float32frombits(binary.LittleEndian.Uint32(data[i:]))
		}
		out = appendFloat(out, dt, v+float32(r.NormFloat64()*step))
	}
	return out
}

// noise returns n random bytes.
func noise(seed uint64, n int) []byte {
	r := testRand(seed)
	out := make([]byte, 0, n+8)
	for len(out) < n {
		out = binary.LittleEndian.AppendUint64(out, r.Uint64())
	}
	return out[:n]
}

func mustIngest(t testing.TB, s *Store, data []byte, hint Hint) IngestResult {
	t.Helper()
	res, err := s.Ingest(t.Context(), bytes.NewReader(data), int64(len(data)), hint)
	if err != nil {
		t.Fatal(err)
	}
	if res.Size != int64(len(data)) {
		t.Fatalf("ingested %d bytes of %d", res.Size, len(data))
	}
	return res
}

func mustOpen(t testing.TB, s *Store, id oid.ID) *File {
	t.Helper()
	f, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checkFile compares every way to read a file with data.
func checkFile(t testing.TB, s *Store, id oid.ID, data []byte) {
	t.Helper()
	f := mustOpen(t, s, id)
	m := f.Manifest()
	if f.Size() != int64(len(data)) || m.Hash != oid.Sum(data) {
		t.Fatalf("manifest of %d bytes, hash %s; want %d, %s", f.Size(), m.Hash, len(data), oid.Sum(data))
	}
	got := make([]byte, len(data)+1)
	n, err := f.ReadAt(t.Context(), got, 0)
	if n != len(data) || err != io.EOF || !bytes.Equal(got[:n], data) {
		t.Fatalf("read %d bytes, %v; equal: %v", n, err, bytes.Equal(got[:n], data))
	}
	if err := f.Verify(t.Context(), func(id oid.ID, err error) { t.Errorf("verify: blob %s: %v", id, err) }); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("what was there before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verify := range []bool{false, true} {
		materializeTo(t, f, path, verify)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("materialize (verify %v): %v, equal: %v", verify, err, bytes.Equal(got, data))
		}
	}
}

func materializeTo(t testing.TB, f *File, path string, verify bool) {
	t.Helper()
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := f.Materialize(t.Context(), dst, verify); err != nil {
		t.Fatal(err)
	}
}

// fixedLayout makes the store see payloads (offset, length pairs) in every file.
func fixedLayout(s *Store, l *format.Layout) {
	s.parse = func(io.ReaderAt, int64) (*format.Layout, error) {
		if l == nil {
			return nil, format.ErrUnknown
		}
		return l, nil
	}
}

// jsonLayout parses what safetensors wrote, so that most tests do not depend on the parsers.
func jsonLayout(r io.ReaderAt, size int64) (*format.Layout, error) {
	var n [8]byte
	if _, err := r.ReadAt(n[:], 0); err != nil {
		return nil, format.ErrUnknown
	}
	hn := int64(binary.LittleEndian.Uint64(n[:]))
	if hn <= 0 || hn > size-8 || hn > 1<<24 {
		return nil, format.ErrUnknown
	}
	head := make([]byte, hn)
	if _, err := r.ReadAt(head, 8); err != nil {
		return nil, err
	}
	var rows map[string]struct {
		DType   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	if json.Unmarshal(head, &rows) != nil {
		return nil, format.ErrUnknown
	}
	l := &format.Layout{Format: format.Safetensors}
	for name, r := range rows {
		dt, _ := dtype.Parse(r.DType)
		off, n := 8+hn+r.Offsets[0], r.Offsets[1]-r.Offsets[0]
		if n > 0 {
			l.Payloads = append(l.Payloads, format.Payload{Offset: off, Length: n, DType: dt, Name: name})
		}
		l.Tensors = append(l.Tensors, format.Tensor{Name: name, DType: dt, Shape: r.Shape, Offset: off, Length: n})
	}
	slices.SortFunc(l.Payloads, func(a, b format.Payload) int { return int(a.Offset - b.Offset) })
	slices.SortFunc(l.Tensors, func(a, b format.Tensor) int { return int(a.Offset - b.Offset) })
	return l, l.Check(size)
}

func wantCorrupt(t testing.TB, err error, id oid.ID) {
	t.Helper()
	if !errors.Is(err, errs.Corrupt) || !bytes.Contains([]byte(err.Error()), []byte(id.String())) {
		t.Fatalf("error %v: want errs.Corrupt naming %s", err, id)
	}
}
