package object

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// memBackend is a record store in memory.
type memBackend struct {
	mu   sync.Mutex
	recs map[oid.ID]objstore.Record
	gets int
	puts int
}

func newMem() *memBackend { return &memBackend{recs: map[oid.ID]objstore.Record{}} }

func (m *memBackend) Get(ctx context.Context, id oid.ID) (objstore.Info, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	r, ok := m.recs[id]
	if !ok {
		return objstore.Info{}, nil, errs.NotFound
	}
	return objstore.Info{Kind: r.Kind, ID: id, Codec: r.Codec, RawSize: r.RawSize, Stored: int64(len(r.Payload))}, append([]byte{}, r.Payload...), nil
}

func (m *memBackend) Put(ctx context.Context, rec objstore.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	rec.Payload = append([]byte{}, rec.Payload...)
	m.recs[rec.ID] = rec
	return nil
}

func (m *memBackend) Has(id oid.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.recs[id]
	return ok
}

func sampleManifest() *Manifest {
	return &Manifest{
		Size: 20, Hash: oid.Sum([]byte("whole")), Format: "safetensors",
		Segments: []Segment{{Length: 4, Inline: []byte("head")}, {Length: 16, Blob: oid.Sum([]byte("blob"))}},
		Tensors: []Tensor{
			{Name: "a.weight", DType: dtype.F32, Shape: []int64{2, 2}, Offset: 4, Length: 16},
			{Name: "t\xff", DType: dtype.F32, Shape: []int64{2, 2}, Offset: 4, Length: 16, Stride: []int64{1, 2}},
			{Name: "scalar", DType: dtype.I64, Offset: 12, Length: 8},
		},
	}
}

func sampleTree() *Tree {
	return &Tree{Entries: []Entry{
		{Name: "a\xfe", Kind: File, Mode: 0o644, MTime: time.Unix(1700000000, 123456789).UTC(), Size: 20, ID: oid.Sum([]byte("m"))},
		{Name: "dir", Kind: Dir, Mode: 0o2755, ID: oid.Sum([]byte("t"))},
		{Name: "epoch", Kind: File, Mode: 0, MTime: time.Unix(0, 0).UTC(), ID: oid.Sum([]byte("n"))},
		{Name: "link", Kind: Symlink, Mode: 0o777, MTime: time.Unix(-5, 1).UTC(), Size: 7, Target: "../x\xff/y"},
		{Name: "undated", Kind: File, Mode: 0o600, Size: 1 << 60, ID: oid.Sum([]byte("n"))},
	}}
}

func sampleCommit() *Commit {
	return &Commit{
		Tree: oid.Sum([]byte("t")), Parents: []oid.ID{oid.Sum([]byte("p")), oid.Sum([]byte("q"))},
		Author: "Ann <ann@example.org>", Time: time.Unix(1700000001, 5).UTC(), Message: "step 500\n\nmore ✓",
		Metrics: map[string]float64{"loss": 0.41, "nan": math.NaN(), "up": math.Inf(1), "down": math.Inf(-1), "third": 1.0 / 3, "negzero": math.Copysign(0, -1)},
		Labels:  map[string]string{"run": "a", "empty": ""},
	}
}

func sampleTag() *Tag {
	return &Tag{Target: oid.Sum([]byte("c")), Tagger: "Bob <b@c>", Time: time.Unix(1, 2).UTC(), Message: "release"}
}

func samples() []any {
	return []any{
		sampleManifest(), &Manifest{Hash: oid.Sum(nil), Format: "opaque", Segments: []Segment{}},
		sampleTree(), &Tree{Entries: []Entry{}},
		sampleCommit(), &Commit{Tree: oid.Sum([]byte("t")), Time: time.Unix(0, 0).UTC()},
		sampleTag(), &Tag{Target: oid.Sum(nil)},
	}
}

// same compares two objects, taking every NaN for equal.
func same(a, b any) bool {
	if ca, ok := a.(*Commit); ok {
		cb, ok := b.(*Commit)
		if !ok || len(ca.Metrics) != len(cb.Metrics) {
			return false
		}
		for k, x := range ca.Metrics {
			y, ok := cb.Metrics[k]
			if !ok || math.Float64bits(x) != math.Float64bits(y) && !(math.IsNaN(x) && math.IsNaN(y)) {
				return false
			}
		}
		va, vb := *ca, *cb
		va.Metrics, vb.Metrics = nil, nil
		return reflect.DeepEqual(va, vb)
	}
	return reflect.DeepEqual(a, b)
}

func TestRoundTrip(t *testing.T) {
	for _, v := range samples() {
		kind, b, err := Encode(v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		gotKind, got, err := Decode(b)
		if err != nil || gotKind != kind || !same(v, got) {
			t.Errorf("%T: decoded %s %+v, %v; want %+v", v, gotKind, got, err, v)
		}
	}
}

func TestStoreRoundTrip(t *testing.T) {
	ctx := context.Background()
	mem := newMem()
	s := NewStore(mem, 0)
	mid, err1 := s.PutManifest(ctx, sampleManifest())
	tid, err2 := s.PutTree(ctx, sampleTree())
	cid, err3 := s.PutCommit(ctx, sampleCommit())
	gid, err4 := s.PutTag(ctx, sampleTag())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		m, err1 := s.Manifest(ctx, mid)
		tr, err2 := s.Tree(ctx, tid)
		c, err3 := s.Commit(ctx, cid)
		g, err4 := s.Tag(ctx, gid)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if !same(m, sampleManifest()) || !same(tr, sampleTree()) || !same(c, sampleCommit()) || !same(g, sampleTag()) {
			t.Errorf("round %d: differs from what was put", round)
		}
		s.DropCache()
	}
	if k, v, err := s.Any(ctx, tid); err != nil || k != objstore.Tree || !same(v, sampleTree()) {
		t.Errorf("Any(tree) = %s, %v", k, err)
	}
	if _, err := s.Commit(ctx, tid); !errors.Is(err, errs.Invalid) {
		t.Errorf("Commit(a tree) = %v, want errs.Invalid", err)
	}
	if _, err := s.Tree(ctx, oid.Sum([]byte("absent"))); !errors.Is(err, errs.NotFound) {
		t.Errorf("Tree(absent) = %v, want errs.NotFound", err)
	}
	puts := mem.puts
	if _, err := s.PutTree(ctx, sampleTree()); err != nil || mem.puts != puts {
		t.Errorf("a tree that is there was put again (%v)", err)
	}
}

func TestBlobIsNoObject(t *testing.T) {
	ctx := context.Background()
	mem := newMem()
	s := NewStore(mem, 0)
	raw := []byte("plain bytes")
	id := oid.Sum(raw)
	if err := mem.Put(ctx, objstore.Record{Kind: objstore.Blob, ID: id, RawSize: int64(len(raw)), Payload: raw}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Any(ctx, id); !errors.Is(err, errs.Invalid) {
		t.Errorf("Any(blob) = %v, want errs.Invalid", err)
	}
	// A file that holds the very bytes of a tree must not get the tree's id.
	_, enc, err := Encode(sampleTree())
	if err != nil {
		t.Fatal(err)
	}
	if oid.Sum(enc) == Sum(enc) {
		t.Error("a blob with the bytes of an object has the object's id")
	}
}

func TestDamageOnRead(t *testing.T) {
	ctx := context.Background()
	mem := newMem()
	s := NewStore(mem, 0)
	big := &Tree{}
	for i := range 200 {
		big.Entries = append(big.Entries, Entry{Name: fmt.Sprintf("layer-%04d", i), Kind: File, Mode: 0o644, Size: 9, ID: oid.Sum([]byte("same"))})
	}
	id, err := s.PutTree(ctx, big)
	if err != nil {
		t.Fatal(err)
	}
	good := mem.recs[id]
	if delta.FrameCodec(good.Codec) != delta.FrameZstd || len(good.Payload) >= int(good.RawSize) {
		t.Fatalf("codec %d, %d of %d bytes: want zstd", good.Codec, len(good.Payload), good.RawSize)
	}
	_, other, err := Encode(sampleTree())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(r *objstore.Record){
		"flipped":        func(r *objstore.Record) { r.Payload[len(r.Payload)/2] ^= 4 },
		"cut":            func(r *objstore.Record) { r.Payload = r.Payload[:len(r.Payload)-3] },
		"empty":          func(r *objstore.Record) { r.Payload = nil },
		"size too small": func(r *objstore.Record) { r.RawSize-- },
		"size too large": func(r *objstore.Record) { r.RawSize++ },
		"size negative":  func(r *objstore.Record) { r.RawSize = -1 },
		"size huge":      func(r *objstore.Record) { r.RawSize = math.MaxInt64 },
		"raw":            func(r *objstore.Record) { r.Codec = uint16(delta.FrameRaw) },
		"another tree": func(r *objstore.Record) {
			r.Codec, r.Payload, r.RawSize = uint16(delta.FrameRaw), other, int64(len(other))
		},
		"another kind": func(r *objstore.Record) { r.Kind = objstore.Commit },
	}
	for name, damage := range tests {
		r := good
		r.Payload = append([]byte{}, good.Payload...)
		damage(&r)
		mem.recs[id] = r
		s.DropCache()
		_, err := s.Tree(ctx, id)
		var ce *errs.CorruptError
		if !errors.As(err, &ce) || !strings.Contains(err.Error(), id.Short()) {
			t.Errorf("%s: %v, want a CorruptError that names %s", name, err, id.Short())
		}
	}
	r := good
	r.Codec = 77
	mem.recs[id] = r
	s.DropCache()
	if _, err := s.Tree(ctx, id); !errors.Is(err, errs.Unsupported) {
		t.Errorf("codec 77: %v, want errs.Unsupported", err)
	}
}

func TestVersions(t *testing.T) {
	_, b, err := Encode(sampleTag())
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte{}, b...)
	newer[1] = 2
	if _, _, err := Decode(newer); !errors.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "tag of version 2") {
		t.Errorf("version 2: %v", err)
	}
	for _, kind := range []byte{0, 1, 6, 255} {
		newer[0], newer[1] = kind, 1
		if _, _, err := Decode(newer); !errors.Is(err, errs.Unsupported) {
			t.Errorf("kind %d: %v, want errs.Unsupported", kind, err)
		}
	}
	for n := range b {
		if _, _, err := Decode(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(b))
		}
	}
	if _, _, err := Decode(append(b, 0)); !errors.Is(err, errs.Corrupt) {
		t.Errorf("trailing byte: %v", err)
	}
}

func TestRefusesInvalid(t *testing.T) {
	id := oid.Sum(nil)
	file := func(name string) Entry { return Entry{Name: name, Kind: File, ID: id} }
	inline := func(n int) Segment { return Segment{Length: int64(n), Inline: make([]byte, n)} }
	tests := map[string]any{
		"unsorted":             &Tree{Entries: []Entry{file("b"), file("a")}},
		"twice":                &Tree{Entries: []Entry{file("a"), file("a")}},
		"no name":              &Tree{Entries: []Entry{file("")}},
		"dot":                  &Tree{Entries: []Entry{file(".")}},
		"dotdot":               &Tree{Entries: []Entry{file("..")}},
		"slash":                &Tree{Entries: []Entry{file("a/b")}},
		"nul":                  &Tree{Entries: []Entry{file("a\x00")}},
		"type bits":            &Tree{Entries: []Entry{{Name: "a", Kind: File, ID: id, Mode: 0o100644}}},
		"file without id":      &Tree{Entries: []Entry{{Name: "a", Kind: File}}},
		"negative size":        &Tree{Entries: []Entry{{Name: "a", Kind: File, ID: id, Size: -1}}},
		"dir with size":        &Tree{Entries: []Entry{{Name: "a", Kind: Dir, ID: id, Size: 1}}},
		"dir with time":        &Tree{Entries: []Entry{{Name: "a", Kind: Dir, ID: id, MTime: time.Unix(1, 0)}}},
		"link without target":  &Tree{Entries: []Entry{{Name: "a", Kind: Symlink}}},
		"link with wrong size": &Tree{Entries: []Entry{{Name: "a", Kind: Symlink, Target: "xy", Size: 1}}},
		"kind 9":               &Tree{Entries: []Entry{{Name: "a", Kind: 9, ID: id}}},
		"gap":                  &Manifest{Size: 5, Segments: []Segment{inline(4)}},
		"over":                 &Manifest{Size: 5, Segments: []Segment{inline(6)}},
		"empty segment":        &Manifest{Size: 0, Segments: []Segment{inline(0)}},
		"long inline":          &Manifest{Size: MaxInline + 1, Segments: []Segment{inline(MaxInline + 1)}},
		"inline length":        &Manifest{Size: 9, Segments: []Segment{{Length: 9, Inline: []byte("x")}}},
		"both":                 &Manifest{Size: 1, Segments: []Segment{{Length: 1, Blob: id, Inline: []byte("x")}}},
		"overflow": &Manifest{Size: 10, Segments: []Segment{
			{Length: math.MaxInt64, Blob: id}, {Length: math.MaxInt64, Blob: id}, {Length: 12, Blob: id}}},
		"negative segment": &Manifest{Size: 1, Segments: []Segment{{Length: -1, Blob: id}, {Length: 2, Blob: id}}},
		"negative file":    &Manifest{Size: -1},
		"tensor outside":   &Manifest{Size: 1, Segments: []Segment{inline(1)}, Tensors: []Tensor{{Name: "a", Offset: 1, Length: 1}}},
		"tensor overflow":  &Manifest{Size: 1, Segments: []Segment{inline(1)}, Tensors: []Tensor{{Name: "a", Offset: 1, Length: math.MaxInt64}}},
		"dims":             &Manifest{Tensors: []Tensor{{Shape: make([]int64, MaxDims+1)}}},
		"dim":              &Manifest{Tensors: []Tensor{{Shape: []int64{-1}}}},
		"no tree":          &Commit{},
		"zero parent":      &Commit{Tree: id, Parents: []oid.ID{{}}},
		"parents":          &Commit{Tree: id, Parents: make([]oid.ID, MaxParents+1)},
		"not utf-8":        &Commit{Tree: id, Message: "\xff"},
		"no metric name":   &Commit{Tree: id, Metrics: map[string]float64{"": 1}},
		"label":            &Commit{Tree: id, Labels: map[string]string{"a": strings.Repeat("x", MaxText+1)}},
		"no target":        &Tag{},
	}
	for name, v := range tests {
		if _, _, err := Encode(v); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want errs.Invalid", name, err)
		}
	}
	if _, _, err := Encode(&Tree{Entries: []Entry{file(strings.Repeat("n", 256))}}); !errors.Is(err, errs.NameTooLong) {
		t.Errorf("long name: %v", err)
	}
}

func TestTimesAreClamped(t *testing.T) {
	for _, tc := range []struct{ in, want time.Time }{
		{time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), maxTime},
		{time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC), minTime},
		{time.Time{}, time.Time{}},
		{time.Unix(0, math.MinInt64), minTime}, // the mark of "none" is not a time
	} {
		if got := timeOf(nanos(tc.in)); !got.Equal(tc.want) {
			t.Errorf("%s comes back as %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestFind(t *testing.T) {
	tr := sampleTree()
	for _, e := range tr.Entries {
		if got, ok := tr.Find(e.Name); !ok || got != e {
			t.Errorf("Find(%q) = %v, %v", e.Name, got, ok)
		}
	}
	for _, name := range []string{"", "a", "zzz", "lin"} {
		if _, ok := tr.Find(name); ok {
			t.Errorf("Find(%q) finds something", name)
		}
	}
}

func tree10k() *Tree {
	t := &Tree{}
	for i := range 10000 {
		id := oid.Sum([]byte{byte(i), byte(i >> 8)})
		t.Entries = append(t.Entries, Entry{Name: fmt.Sprintf("checkpoint-%06d.safetensors", i), Kind: File, Mode: 0o644, MTime: time.Unix(1700000000+int64(i), 77), Size: int64(i) << 12, ID: id})
	}
	return t
}

func BenchmarkEncodeTree10k(b *testing.B) {
	t := tree10k()
	for b.Loop() {
		if _, _, err := Encode(t); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTree10k(b *testing.B) {
	_, enc, err := Encode(tree10k())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutTree10k(b *testing.B) {
	s, t := NewStore(struct{ Backend }{newMem()}, 0), tree10k()
	for b.Loop() {
		if _, err := s.PutTree(context.Background(), t); err != nil {
			b.Fatal(err)
		}
	}
}
