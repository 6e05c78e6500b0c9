package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"coral/delta"
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

func TestRoundTrip(t *testing.T) {
	r := testRand(1)
	model := safetensors(
		tensor{"wte", dtype.F32, gauss(r, dtype.F32, 300_000, 0.02)},
		tensor{"h.0.bias", dtype.F32, gauss(r, dtype.F32, 33, 0.02)},
		tensor{"h.0.ln", dtype.BF16, gauss(r, dtype.BF16, 900, 1)},
		tensor{"h.0.w", dtype.BF16, gauss(r, dtype.BF16, 500_001, 0.02)},
		tensor{"step", dtype.I64, make([]byte, 8)},
	)
	tests := map[string][]byte{
		"empty":         {},
		"one byte":      {7},
		"inline":        noise(1, object.MaxInline),
		"inline + 1":    noise(2, object.MaxInline+1),
		"small text":    []byte(strings.Repeat("{\"a\": 1}\n", 3000)),
		"small buffer":  noise(3, smallFile),
		"over it":       noise(4, smallFile+1),
		"opaque":        noise(5, 3<<20+11),
		"zeros":         make([]byte, 5<<20+3),
		"model":         model,
		"model, cut":    model[:len(model)-7],
		"model and on":  append(bytes.Clone(model), noise(6, 2<<20)...),
		"header only":   model[:8],
		"almost header": model[:40],
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := newStore(t, Options{Workers: 3})
			s.parse = jsonLayout
			res := mustIngest(t, s, data, Hint{Path: name})
			checkFile(t, s, res.Manifest, data)
			again := mustIngest(t, s, data, Hint{Path: name, Prev: res.Manifest})
			if again.Manifest != res.Manifest || again.New != 0 {
				t.Errorf("second ingest: manifest %s (first %s), %d new bytes", again.Manifest.Short(), res.Manifest.Short(), again.New)
			}
			for _, r := range b.blobs() {
				if got, err := s.BlobBytes(t.Context(), r.ID); err != nil || oid.Sum(got) != r.ID {
					t.Errorf("blob %s: %v", r.ID.Short(), err)
				}
			}
		})
	}
}

// Every offset and length around segment and block borders.
func TestReadAtBorders(t *testing.T) {
	s, _ := newStore(t, Options{})
	data := noise(9, 700_000)
	fixedLayout(s, &format.Layout{Format: format.NPZ, Payloads: []format.Payload{
		{Offset: 100, Length: 200_000, DType: dtype.F32, Name: "a"},
		{Offset: 200_100, Length: 600, DType: dtype.U8, Name: "b"},
		{Offset: 200_800, Length: 300_000, DType: dtype.BF16, Name: "c"},
	}})
	f := mustOpen(t, s, mustIngest(t, s, data, Hint{}).Manifest)
	var offs []int64
	for at := int64(0); at < int64(len(data)); at += 64 << 10 {
		offs = append(offs, at)
	}
	offs = append(offs, 100, 200_100, 200_700, 200_800, 500_800, int64(len(data)))
	buf := make([]byte, 200_000)
	for _, o := range offs {
		for _, d := range []int64{-1, 0, 1} {
			for _, n := range []int64{0, 1, 2, 4096, 130_000} {
				off := o + d
				p := buf[:n]
				got, err := f.ReadAt(t.Context(), p, off)
				switch {
				case off < 0:
					if !errors.Is(err, errs.Invalid) && n > 0 {
						t.Fatalf("read at %d: %v", off, err)
					}
					continue
				case n == 0:
					if got != 0 || err != nil {
						t.Fatalf("empty read at %d: %d, %v", off, got, err)
					}
					continue
				}
				want := data[min(off, int64(len(data))):min(off+n, int64(len(data)))]
				var wantErr error
				if int64(len(want)) < n {
					wantErr = io.EOF
				}
				if !bytes.Equal(p[:got], want) || err != wantErr {
					t.Fatalf("read %d at %d: %d bytes, %v", n, off, got, err)
				}
			}
		}
	}
}

func TestManifestOfModel(t *testing.T) {
	s, b := newStore(t, Options{})
	s.parse = jsonLayout
	r := testRand(2)
	w := gauss(r, dtype.F32, 50_000, 1)
	data := safetensors(tensor{"a", dtype.F32, w}, tensor{"tied", dtype.F32, w}, tensor{"tiny", dtype.F32, gauss(r, dtype.F32, 10, 1)}, tensor{"b", dtype.BF16, gauss(r, dtype.BF16, 2000, 1)})
	m := mustOpen(t, s, mustIngest(t, s, data, Hint{}).Manifest).Manifest()
	if m.Format != format.Safetensors || len(m.Tensors) != 4 || m.Tensors[1].Name != "tied" {
		t.Fatalf("format %q, tensors %+v", m.Format, m.Tensors)
	}
	// header inline, a, tied, tiny inline, b
	if len(m.Segments) != 5 || m.Segments[1].Blob != oid.Sum(w) || m.Segments[2].Blob != m.Segments[1].Blob || len(m.Segments[3].Inline) != 40 {
		t.Fatalf("segments %+v", m.Segments)
	}
	if n := len(b.blobs()); n != 2 {
		t.Errorf("%d blobs stored, want 2", n)
	}
	// The same tensor in another container, elsewhere in the file.
	fixedLayout(s, &format.Layout{Format: format.NPY, Payloads: []format.Payload{{Offset: 128, Length: int64(len(w)), DType: dtype.F32, Name: "x"}}})
	res := mustIngest(t, s, append(noise(3, 128), w...), Hint{})
	if res.New != 0 || len(b.blobs()) != 2 {
		t.Errorf("same tensor in another container cost %d bytes", res.New)
	}
}

// A hundred thousand scalars are not a hundred thousand blobs, nor do medium ones make a huge manifest.
func TestManyTinyTensors(t *testing.T) {
	s, b := newStore(t, Options{})
	l := &format.Layout{Format: format.TorchZip}
	n := thinner(100_000, 5000)
	for i := range int64(n) {
		l.Payloads = append(l.Payloads, format.Payload{Offset: i * 100, Length: 4, DType: dtype.F32, Name: fmt.Sprintf("state.%d.step", i)})
	}
	fixedLayout(s, l)
	data := noise(4, n*100)
	res := mustIngest(t, s, data, Hint{})
	checkFile(t, s, res.Manifest, data)
	if got := len(b.blobs()); got > 1000 {
		t.Errorf("%d blobs", got)
	}
	l.Payloads = l.Payloads[:0]
	for i := range int64(n / 5) {
		l.Payloads = append(l.Payloads, format.Payload{Offset: 10 + i*1100, Length: 1000, DType: dtype.F32, Name: fmt.Sprintf("p.%d", i)})
	}
	data = noise(5, n/5*1100)
	res = mustIngest(t, s, data, Hint{})
	checkFile(t, s, res.Manifest, data)
}

func TestPlanCoversFile(t *testing.T) {
	r := testRand(3)
	for round := range 300 {
		l := &format.Layout{Format: format.GGUF}
		at := int64(0)
		for range r.IntN(40) {
			at += []int64{0, 1, 100, object.MaxInline, object.MaxInline + 1, 1 << 20, 1<<20 + 1}[r.IntN(7)]
			n := []int64{1, minPayload - 1, minPayload, 5000, extentLen, extentLen + 1, 3 * extentLen}[r.IntN(7)]
			l.Payloads = append(l.Payloads, format.Payload{Offset: at, Length: n})
			at += n
		}
		size := at + []int64{0, 1, 5000, 2 << 20}[r.IntN(4)]
		end := int64(0)
		for _, p := range planFile(l, size) {
			if p.off != end || p.n <= 0 {
				t.Fatalf("round %d: piece at %d of %d bytes, want at %d", round, p.off, p.n, end)
			}
			if p.kind == inlinePiece && p.n > object.MaxInline || p.kind != chunkedPiece && p.n > delta.MaxBlob {
				t.Fatalf("round %d: kind %d of %d bytes", round, p.kind, p.n)
			}
			end += p.n
		}
		if end != size {
			t.Fatalf("round %d: pieces end at %d of %d", round, end, size)
		}
	}
}

// A layout as large as parsers allow makes a manifest that can still be stored.
func TestPlanIsBounded(t *testing.T) {
	l := &format.Layout{}
	const n = 1 << 20
	for i := range int64(n) {
		l.Payloads = append(l.Payloads, format.Payload{Offset: i * 2000, Length: 1000})
	}
	pieces := planFile(l, n*2000)
	if len(pieces) > maxPieces+n*2000/extentLen {
		t.Fatalf("%d pieces", len(pieces))
	}
	if got := len(planFile(nil, 1<<62)); got != 1 {
		t.Fatalf("opaque file: %d pieces", got)
	}
}

// changing gives different bytes whenever a range is read again.
type changing struct {
	mu    sync.Mutex
	data  []byte
	reads int
	seen  []byte // what the last read of each byte gave
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	n := copy(p, c.data[min(off, int64(len(c.data))):])
	copy(c.seen[off:], p[:n])
	for i := range c.data[off : off+int64(n)] {
		c.data[off+int64(i)] ^= byte(c.reads)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestChangedWhileReading(t *testing.T) {
	for _, n := range []int{100, 100_000, 3 << 20} {
		for _, typed := range []bool{false, true} {
			s, _ := newStore(t, Options{})
			var l *format.Layout
			if typed {
				l = &format.Layout{Format: format.GGUF, Payloads: []format.Payload{{Offset: 10, Length: int64(n) - 20, DType: dtype.F32, Name: "a"}}}
			}
			s.parse = func(r io.ReaderAt, size int64) (*format.Layout, error) {
				var p [64]byte // a parser reads too
				if _, err := r.ReadAt(p[:], 0); err != nil || l == nil {
					return nil, format.ErrUnknown
				}
				return l, nil
			}
			c := &changing{data: noise(7, n), seen: make([]byte, n)}
			res, err := s.Ingest(t.Context(), c, int64(n), Hint{})
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, s, res.Manifest, c.seen)
		}
	}
}

func TestShortRead(t *testing.T) {
	for _, n := range []int64{100, 300_000, 5 << 20} {
		s, _ := newStore(t, Options{})
		_, err := s.Ingest(t.Context(), bytes.NewReader(make([]byte, n-1)), n, Hint{Path: "shrunk.bin"})
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "shrunk.bin") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	s, _ := newStore(t, Options{})
	if _, err := s.Ingest(t.Context(), bytes.NewReader(nil), -1, Hint{}); !errors.Is(err, errs.Invalid) {
		t.Errorf("negative size: %v", err)
	}
}

func TestPutErrorAndCancel(t *testing.T) {
	boom := errors.New("boom")
	s, b := newStore(t, Options{Workers: 2})
	size := thinner(20<<20, 8<<20)
	data := noise(11, size)
	var n atomic.Int64
	b.onPut = func(r objstore.Record) error {
		if n.Add(1) == 20 {
			return boom
		}
		return nil
	}
	if _, err := s.Ingest(t.Context(), bytes.NewReader(data), int64(len(data)), Hint{}); !errors.Is(err, boom) {
		t.Fatalf("ingest with a failing put: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.onPut = func(r objstore.Record) error { cancel(); return nil }
	if _, err := s.Ingest(ctx, bytes.NewReader(noise(12, size)), int64(size), Hint{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled ingest: %v", err)
	}
	b.onPut = nil
	if s.raw.out != 0 || s.enc.out != 0 || len(s.flights.ids) != 0 || len(s.slots) != 2 {
		t.Errorf("left behind: raw %d, enc %d, flights %d, slots %d", s.raw.out, s.enc.out, len(s.flights.ids), len(s.slots))
	}
	checkFile(t, s, mustIngest(t, s, data, Hint{}).Manifest, data)

	f := mustOpen(t, s, mustIngest(t, s, data, Hint{}).Manifest)
	s.DropCache()
	if _, err := f.ReadAt(ctx, make([]byte, 100), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a cancelled context: %v", err)
	}
	if err := f.Verify(ctx, func(oid.ID, error) { t.Error("cancelled verify reports damage") }); !errors.Is(err, context.Canceled) {
		t.Errorf("verify with a cancelled context: %v", err)
	}
}

// Every blob is encoded once, however many ingests bring it at the same time.
func TestConcurrentIngestSharesWork(t *testing.T) {
	s, b := newStore(t, Options{Workers: 4})
	s.parse = jsonLayout
	r := testRand(5)
	var ts []tensor
	for i := range 12 {
		ts = append(ts, tensor{fmt.Sprintf("t%d", i), dtype.F32, gauss(r, dtype.F32, 60_000, 1)})
	}
	var wg sync.WaitGroup
	for k := range 6 {
		wg.Go(func() {
			mine := append(bytes.Clone(safetensors(ts[k:]...)), byte(k))
			res, err := s.Ingest(context.Background(), bytes.NewReader(mine), int64(len(mine)), Hint{})
			if err != nil {
				t.Error(err)
				return
			}
			f, err := s.Open(context.Background(), res.Manifest)
			if err != nil {
				t.Error(err)
				return
			}
			got := make([]byte, len(mine))
			if _, err := f.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, mine) {
				t.Errorf("file %d: %v", k, err)
			}
		})
	}
	wg.Wait()
	for id, n := range b.puts {
		if n != 1 && b.recs[id].Kind == objstore.Blob {
			t.Errorf("blob %s put %d times", id.Short(), n)
		}
	}
}
