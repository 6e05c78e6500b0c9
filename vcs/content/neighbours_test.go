package content

import (
	"fmt"
	"testing"

	"coral/delta/format/dtype"
	"coral/delta/similar"
	"coral/internal/oid"
	"coral/internal/vfs"
	index "coral/vcs/similar"
)

// withIndex returns a store with an index of similar tensors, in memory.
func withIndex(t *testing.T) (*Store, *memBackend, *index.Index) {
	t.Helper()
	x := index.Open("/", index.Options{FS: vfs.NewMem()})
	t.Cleanup(func() { _ = x.Close() })
	s, b := newStore(t, Options{Neighbours: x})
	s.parse = jsonLayout
	return s, b, x
}

// checkpoint is a file of layers under names that rename makes.
func checkpoint(layers [][]byte, dt dtype.Kind, rename func(i int) string) []byte {
	var ts []tensor
	for i, l := range layers {
		ts = append(ts, tensor{rename(i), dt, l})
	}
	return safetensors(ts...)
}

// TestRenamedFineTune stores a fine-tune under other names for file and tensors, in another order: it costs what it does with its names.
func TestRenamedFineTune(t *testing.T) {
	for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16} {
		r := testRand(5)
		var base, tune [][]byte
		for range 6 {
			l := gauss(r, dt, 50_000, 0.02)
			base, tune = append(base, l), append(tune, tuned(r, dt, l, 1e-4))
		}
		plain := func(i int) string { return fmt.Sprintf("layer.%d.weight", i) }
		other := func(i int) string { return fmt.Sprintf("h%d", (i*5+2)%6) }
		reversed := [][]byte{tune[5], tune[4], tune[3], tune[2], tune[1], tune[0]}

		s, _, _ := withIndex(t)
		mustIngest(t, s, checkpoint(base, dt, plain), Hint{Path: "base.safetensors"})
		named := mustIngest(t, s, checkpoint(tune, dt, plain), Hint{Path: "tune.safetensors"})

		s, b, _ := withIndex(t)
		mustIngest(t, s, checkpoint(base, dt, plain), Hint{Path: "base.safetensors"})
		data := checkpoint(reversed, dt, other)
		renamed := mustIngest(t, s, data, Hint{Path: "x.bin"})
		if renamed.New > named.New+named.New/100 || s.Counters().DeltasStored != 6 {
			t.Errorf("%s: renamed %d bytes in %d deltas, with its names %d", dt, renamed.New, s.Counters().DeltasStored, named.New)
		}
		checkFile(t, s, renamed.Manifest, data)
		if len(b.blobs()) < 12 {
			t.Errorf("%s: %d blobs", dt, len(b.blobs()))
		}
	}
}

// TestMisleadingName has another model's tensor under the same name and shape: the neighbour is found even so.
func TestMisleadingName(t *testing.T) {
	r := testRand(6)
	a, b := gauss(r, dtype.F32, 50_000, 0.02), gauss(r, dtype.F32, 50_000, 0.02)
	s, back, _ := withIndex(t)
	first := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, a}), Hint{Path: "a"})
	mustIngest(t, s, safetensors(tensor{"w", dtype.F32, b}), Hint{Path: "b"})
	third := mustIngest(t, s, safetensors(tensor{"w", dtype.F32, tuned(r, dtype.F32, a, 1e-4)}), Hint{Path: "c"})
	blob := func(id oid.ID) oid.ID { return mustOpen(t, s, id).Manifest().Segments[1].Blob }
	if info, err := back.Stat(blob(third.Manifest)); err != nil || info.Base != blob(first.Manifest) {
		t.Errorf("base %v, want %v (%v)", info.Base, blob(first.Manifest), err)
	}
}

// TestWhatIsIndexed: weights that are long enough, once.
func TestWhatIsIndexed(t *testing.T) {
	r := testRand(7)
	s, _, x := withIndex(t)
	data := safetensors(
		tensor{"w", dtype.F32, gauss(r, dtype.F32, 5000, 1)},
		tensor{"exp_avg", dtype.F32, gauss(r, dtype.F32, 5000, 1)},
		tensor{"short", dtype.F32, gauss(r, dtype.F32, similar.MinBytes/4-1, 1)},
		tensor{"constant", dtype.F32, make([]byte, 20000)},
	)
	mustIngest(t, s, data, Hint{Path: "a"})
	mustIngest(t, s, data, Hint{Path: "b"})
	if x.Len() != 1 {
		t.Errorf("%d records, want 1", x.Len())
	}
}

// gone answers with blobs that are not there.
type gone struct{}

func (gone) Candidates(*similar.Sketch, int) []oid.ID { return []oid.ID{{1}, {2}, {3}} }
func (gone) Add(oid.ID, *similar.Sketch)              {}

func TestNeighboursGone(t *testing.T) {
	s, _ := newStore(t, Options{Neighbours: gone{}})
	s.parse = jsonLayout
	data := safetensors(tensor{"w", dtype.F32, gauss(testRand(8), dtype.F32, 50_000, 0.02)})
	checkFile(t, s, mustIngest(t, s, data, Hint{Path: "a"}).Manifest, data)
}
