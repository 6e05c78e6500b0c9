package content

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/lossy"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// matrices2D gives the tensors of all files two dimensions: the helper's files have vectors.
func matrices2D(s *Store, rows int64) {
	parse := s.parse
	s.parse = func(r io.ReaderAt, size int64) (*format.Layout, error) {
		l, err := parse(r, size)
		if err == nil {
			for i := range l.Tensors {
				t := &l.Tensors[i]
				t.Shape = []int64{rows, t.Shape[0] / rows}
			}
		}
		return l, err
	}
}

func approximation(p lossy.Params, bases ...oid.ID) Approximation {
	return Approximation{
		Params: p, Stays: func(oid.ID) bool { return false },
		Bases: func(_, _ string, _ dtype.Kind, k int) []oid.ID {
			if k < len(bases) {
				return []oid.ID{{}, bases[k]} // one that is not there is passed over
			}
			return nil
		},
	}
}

// TestApproximateExtents: a tensor of two extents, whose rows go over blocks and extents.
func TestApproximateExtents(t *testing.T) {
	large(t, "16 MiB tensors")
	s, b := newStore(t, Options{Workers: 1})
	matrices2D(s, 1000)
	r := testRand(1)
	old := gauss(r, dtype.F32, extentLen/4+300_000/4*4, 0.02)
	old = old[:len(old)/4000*4000]
	now := tuned(r, dtype.F32, old, 1e-4)
	before := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, old}), Hint{Path: "m"})
	after := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, now}), Hint{Path: "other"})
	var bases []oid.ID
	for _, seg := range mustOpen(t, s, after.Manifest).m.Segments {
		if !seg.Blob.IsZero() {
			bases = append(bases, seg.Blob)
		}
	}
	for _, m := range []lossy.Method{lossy.Int8, lossy.PerAxis} {
		how := approximation(lossy.Params{Method: m}, bases...)
		how.DryRun = true
		puts, hints := len(b.recs), len(b.hints)
		would, err := s.NewApproximator(how).File(t.Context(), "m", before.Manifest)
		if err != nil || len(b.recs) != puts || len(b.hints) != hints || would.Manifest != before.Manifest {
			t.Fatalf("dry run: %+v, %v; %d records more", would, err, len(b.recs)-puts)
		}
		how.DryRun = false
		got, err := s.NewApproximator(how).File(t.Context(), "m", before.Manifest)
		if err != nil || got.Manifest == before.Manifest || len(got.Tensors) != 1 || len(got.Replaced) != 2 || len(got.Bases) != 2 {
			t.Fatalf("%s: %+v, %v", m, got, err)
		}
		x := got.Tensors[0]
		if x.Bytes != int64(len(old)) || x.Now >= x.Was || x.Now != would.Tensors[0].Now || x.Errors != would.Tensors[0].Errors || x.Errors.RelativeL2() > 0.01 {
			t.Errorf("%s: %+v", m, x)
		}
		f := mustOpen(t, s, got.Manifest)
		if err := f.Verify(t.Context(), func(oid.ID, error) {}); err != nil {
			t.Error(err)
		}
		for id := range maps.Keys(blobsOf(f)) {
			if !s.Approximated(t.Context(), id) && b.recs[id].DType != uint8(dtype.Bytes) {
				t.Errorf("%s: blob %s is not marked", m, id.Short())
			}
			clear(b.hints) // as after a rebuild of the index
			if !s.Approximated(t.Context(), id) && b.recs[id].DType != uint8(dtype.Bytes) {
				t.Errorf("%s: blob %s is not told from exact ones by its blocks", m, id.Short())
			}
		}
	}
}

// TestApproximateDamage: what cannot be read is an error, and a base that cannot is passed over.
func TestApproximateDamage(t *testing.T) {
	s, b := newStore(t, Options{})
	matrices2D(s, 100)
	r := testRand(1)
	old := gauss(r, dtype.F32, 100*256, 0.02)
	now := tuned(r, dtype.F32, old, 1e-4)
	base := mustIngest(t, s, safetensors(tensor{"v", dtype.F32, now}), Hint{Path: "other"})
	file := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, old}), Hint{Path: "m"})
	baseBlob, blob := oid.Sum(now), oid.Sum(old)
	how := approximation(lossy.Params{Method: lossy.Int8}, baseBlob)
	b.change(baseBlob, func(rec *objstore.Record) { rec.Payload[len(rec.Payload)/2] ^= 1 })
	s.DropCache()
	got, err := s.NewApproximator(how).File(t.Context(), "m", file.Manifest)
	if err != nil || len(got.Tensors) != 1 || len(got.Bases) != 0 {
		t.Errorf("with a damaged base: %+v, %v", got, err)
	}
	if _, err := mustOpen(t, s, base.Manifest).ReadAt(t.Context(), make([]byte, 4), 200); err == nil {
		t.Log("the first block of the base is whole")
	}
	b.change(blob, func(rec *objstore.Record) { rec.Payload[len(rec.Payload)/2] ^= 1 })
	s.DropCache()
	if got, err := s.NewApproximator(how).File(t.Context(), "m", file.Manifest); !errors.Is(err, errs.Corrupt) {
		t.Errorf("damaged file: %+v, %v", got, err)
	}
	b.onPut = func(objstore.Record) error { return errs.NoSpace }
	other := mustIngestAll(t, s, b, safetensors(tensor{"w", dtype.F32, tuned(r, dtype.F32, old, 1e-3)}))
	if _, err := s.NewApproximator(approximation(lossy.Params{Method: lossy.Int8})).File(t.Context(), "m", other); !errors.Is(err, errs.NoSpace) {
		t.Errorf("full disk: %v", err)
	}
}

// mustIngestAll ingests although puts fail.
func mustIngestAll(t *testing.T, s *Store, b *memBackend, data []byte) oid.ID {
	t.Helper()
	onPut := b.onPut
	b.onPut = nil
	defer func() { b.onPut = onPut }()
	return mustIngest(t, s, data, Hint{Path: "m"}).Manifest
}

// TestApproximateOpaque: a file without tensors, and one whose tensors all stay, are left alone.
func TestApproximateOpaque(t *testing.T) {
	s, _ := newStore(t, Options{})
	matrices2D(s, 100)
	text := mustIngest(t, s, bytes.Repeat([]byte("text"), 1000), Hint{Path: "t"}).Manifest
	w := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, gauss(testRand(1), dtype.F32, 25600, 1)}, tensor{"i", dtype.I64, noise(1, 800)}), Hint{Path: "w"}).Manifest
	how := approximation(lossy.Params{Method: lossy.Int8})
	how.Stays = func(oid.ID) bool { return true }
	for _, id := range []oid.ID{text, w} {
		got, err := s.NewApproximator(how).File(t.Context(), "f", id)
		if err != nil || got.Manifest != id || len(got.Tensors) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		if id == w && (len(got.Exact) != 2 || got.Exact[0].Why != WhyStays || got.Exact[1].Why != WhyKind) {
			t.Errorf("left: %+v", got.Exact)
		}
	}
	how = approximation(lossy.Params{Method: lossy.PerAxis})
	if got, err := s.NewApproximator(how).File(t.Context(), "f", w); err != nil || got.Exact[0].Why != WhyBase {
		t.Errorf("per axis without base: %+v, %v", got, err)
	}
}

func blobsOf(f *File) map[oid.ID]bool {
	ids := map[oid.ID]bool{}
	for _, seg := range f.m.Segments {
		if !seg.Blob.IsZero() {
			ids[seg.Blob] = true
		}
	}
	return ids
}

func TestOptimizerState(t *testing.T) {
	for name, want := range map[string]bool{
		"state.3.exp_avg": true, "optimizer.state.3.momentum_buffer": true, "optimizer/vars/7": true, "optimizer_weights/adam/dense/kernel_momentum": true,
		"opt_state.0.mu.Dense_0.kernel": true, "optimizer_state_dict.single_partition_of_fp32_groups.0": true,
		"layers/dense/vars/0": false, "params.Dense_0.kernel": false, "state.3.weight": false, "my_optimizer.weight": false, "": false,
	} {
		if got := isOptimizerState(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
