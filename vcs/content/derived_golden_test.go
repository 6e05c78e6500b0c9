package content

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
)

var update = flag.Bool("update", false, "write missing files of testdata/derived-v1; never those that exist")

// golden are recipes over two sources of 3000 elements of F32 (and one of BF16); their payloads, as the first version wrote them, are kept in testdata/derived-v1. Every later
// version must read them.
var golden = []struct {
	name  string
	dt    dtype.Kind
	piece derive.Piece
}{
	{"copy", dtype.F32, derive.Piece{Op: derive.Copy, Len: 8000, Terms: []derive.Term{{Off: 400}}}},
	{"cast-bf16", dtype.BF16, derive.Piece{Op: derive.Cast, Len: 6000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"cast-bf16-cut", dtype.BF16, derive.Piece{Op: derive.Cast, Mode: derive.Truncate, Len: 6000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"cast-f16", dtype.F16, derive.Piece{Op: derive.Cast, Len: 6000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"cast-f64", dtype.F64, derive.Piece{Op: derive.Cast, Len: 24000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"cast-via-bf16", dtype.F32, derive.Piece{Op: derive.Cast, Mode: derive.ViaBF16, Len: 12000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"cast-via-f16", dtype.F32, derive.Piece{Op: derive.Cast, Mode: derive.ViaF16, Len: 12000, Terms: []derive.Term{{DType: dtype.F32}}}},
	{"sum", dtype.F32, derive.Piece{Op: derive.Linear, Len: 12000, Terms: linearTerms(0.3, 0.7)}},
	{"sum-bf16-stepwise", dtype.BF16, derive.Piece{Op: derive.Linear, Mode: derive.Sum | derive.Stepwise, Len: 6000, Terms: linearTerms(0.3, 0.7)}},
	{"fused", dtype.F32, derive.Piece{Op: derive.Linear, Mode: derive.Fused, Len: 12000, Terms: linearTerms(0.999, 0.001)}},
	{"mean", dtype.F16, derive.Piece{Op: derive.Linear, Mode: derive.Mean, Len: 6000, Terms: linearTerms(2, 0)}},
	{"lerp", dtype.F32, derive.Piece{Op: derive.Linear, Mode: derive.Lerp, Len: 12000, Terms: linearTerms(0, 0.75)}},
	{"task", dtype.F32, derive.Piece{Op: derive.Linear, Mode: derive.Task, Len: 12000, Terms: linearTerms(0, 0.4, 0)}},
	{"task-fused", dtype.F32, derive.Piece{Op: derive.Linear, Mode: derive.TaskF, Len: 12000, Terms: linearTerms(0, 0.4, 0)}},
	{"transpose", dtype.F32, derive.Piece{Op: derive.Transpose, Rows: 60, Len: 12000, Terms: []derive.Term{{DType: dtype.F32}}}},
}

func linearTerms(coefs ...float32) (ts []derive.Term) {
	for i, c := range coefs {
		ts = append(ts, derive.Term{Source: i % 2, DType: dtype.F32, Coef: c})
	}
	return ts
}

func TestGoldenDerived(t *testing.T) {
	s, b := newStore(t, Options{})
	dir := filepath.Join("testdata", "derived-v1")
	var sources [][]byte
	var ids [][32]byte
	for i, name := range []string{"source-0.raw", "source-1.raw"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && *update {
			writeFile(t, path, gauss(testRand(uint64(i)), dtype.F32, 3000, 0.02))
		}
		raw := readFile(t, path)
		sources, ids = append(sources, raw), append(ids, oid.Sum(raw))
		rec := objstore.Record{Kind: objstore.Blob, ID: oid.Sum(raw), DType: uint8(dtype.F32), RawSize: int64(len(raw)), Payload: raw}
		if err := b.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range golden {
		path := filepath.Join(dir, g.name)
		if _, err := os.Stat(path + ".payload"); errors.Is(err, os.ErrNotExist) && *update {
			writeDerived(t, path, g.dt, g.piece, ids, sources)
		}
		raw, payload := readFile(t, path+".raw"), readFile(t, path+".payload")
		rec := objstore.Record{Kind: objstore.Blob, ID: oid.Sum(raw), Codec: uint16(delta.FrameDerived), DType: uint8(g.dt), Depth: 1, RawSize: int64(len(raw)), Base: ids[0], Payload: payload}
		if err := b.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		got, err := s.BlobBytes(t.Context(), oid.Sum(raw))
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: other bytes, or: %v", g.name, err)
		}
		if bytes.Count(payload, ids[0][:]) != 1 {
			t.Errorf("%s: the payload does not name the source", g.name)
		}
	}
}

// writeDerived makes a payload whose blob differs from what the recipe gives in one byte of a hundred.
func writeDerived(t *testing.T, path string, dt dtype.Kind, p derive.Piece, ids [][32]byte, sources [][]byte) {
	t.Helper()
	n := 1
	for _, term := range p.Terms {
		n = max(n, term.Source+1)
	}
	r, err := derive.New(dt, ids[:n], []derive.Piece{p})
	if err != nil {
		t.Fatal(err)
	}
	var in [][]byte
	for _, need := range r.Needs(nil, 0, r.Len()) {
		in = append(in, sources[need.Source][need.Off:need.Off+need.Len])
	}
	base := make([]byte, r.Len())
	if err := r.Eval(base, 0, in); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(base)
	for i := 50; i < len(raw); i += 800 {
		raw[i] ^= 1
	}
	payload, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, res, err := delta.NewEncoder().Encode(payload, raw, base, dt)
	if err != nil || !res.UsesBase {
		t.Fatalf("%s: uses base %v: %v", path, res.UsesBase, err)
	}
	writeFile(t, path+".raw", raw)
	writeFile(t, path+".payload", payload)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
