package vcs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// oneTensor returns a safetensors file of one tensor.
func oneTensor(name string, dt dtype.Kind, data []byte) string {
	head, err := json.Marshal(map[string]any{name: map[string]any{
		"dtype": dt.String(), "shape": []int{len(data) / dt.Width()}, "data_offsets": []int{0, len(data)}}})
	if err != nil {
		panic(err)
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + string(head) + string(data)
}

// castPair returns random F32 and the same in BF16.
func castPair(n int, seed uint64) (wide, half []byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		wide = binary.LittleEndian.AppendUint32(wide, math.Float32bits(float32(r.NormFloat64())))
	}
	half = make([]byte, 2*n)
	derive.Convert(half, wide, dtype.BF16, dtype.F32)
	return wide, half
}

// blobOf returns the record of a blob that must be derived.
func blobOf(t *testing.T, r *Repo, raw []byte) objstore.Info {
	t.Helper()
	info, err := r.Packs.Stat(oid.Sum(raw))
	must(t, err)
	if delta.FrameCodec(info.Codec) != delta.FrameDerived {
		t.Fatalf("frame codec %d", info.Codec)
	}
	return info
}

// The F32 file that a BF16 copy was made from goes; a collection keeps its tensor until the copy goes too.
func TestGCKeepsSources(t *testing.T) {
	r := newRepo(t)
	wide, half := castPair(100_000, 1)
	add(t, r, map[string]string{"a": "b"})
	must(t, r.CreateBranch(bg, "b", snap(t, r, "begin")))
	_, _, err := r.Add(bg, "b", writeTree(t, map[string]string{"f32": oneTensor("w", dtype.F32, wide)}), "", nil)
	must(t, err)
	_, err = r.Snapshot(bg, SnapshotOptions{Branch: "b", Message: "the source"})
	must(t, err)
	add(t, r, map[string]string{"bf16": oneTensor("x", dtype.BF16, half)})
	c := snap(t, r, "only the copy")
	must(t, r.DeleteBranch(bg, true, "b"))
	blobOf(t, r, half)
	_, err = r.GC(bg, 0, true, false)
	must(t, err)
	if !r.Packs.Has(oid.Sum(wide)) {
		t.Fatal("the source was collected")
	}
	r = reopen(t, r)
	dst := t.TempDir()
	must(t, r.Export(bg, c, "", dst, nil))
	if b, err := os.ReadFile(filepath.Join(dst, "bf16")); err != nil || string(b) != oneTensor("x", dtype.BF16, half) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFsckNamesDamagedSource(t *testing.T) {
	r := newRepo(t)
	wide, half := castPair(100_000, 2)
	add(t, r, map[string]string{"f32": oneTensor("w", dtype.F32, wide)})
	snap(t, r, "one")
	add(t, r, map[string]string{"bf16": oneTensor("x", dtype.BF16, half)})
	snap(t, r, "two")
	info := blobOf(t, r, half)
	source, err := r.Packs.Stat(info.Base)
	must(t, err)
	undo := flip(t, r, source)
	for _, full := range []bool{false, true} {
		rep := fsckOf(t, r, full)
		var names []string
		for _, d := range rep.Damaged {
			names = append(names, d.Path)
			if d.Path == "bf16" && !strings.Contains(d.Why, source.ID.Short()) {
				t.Errorf("full %v: %q does not name the source", full, d.Why)
			}
		}
		if strings.Join(names, " ") != "bf16 f32" {
			t.Errorf("full %v: damaged %q", full, names)
		}
	}
	undo()
	_, err = r.GC(bg, 0, true, false)
	if err != nil && !errors.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

// Optimize gives the sources other bases and depths; what is computed from them stays readable, and deeper than they are.
func TestOptimizeKeepsSources(t *testing.T) {
	r := newRepo(t)
	const n = 100_000
	var steps [][]byte
	w, _ := castPair(n, 3)
	for i := range uint64(3) {
		half := make([]byte, 2*n)
		derive.Convert(half, w, dtype.BF16, dtype.F32)
		add(t, r, map[string]string{"f32": oneTensor("w", dtype.F32, w)})
		snap(t, r, "wide")
		add(t, r, map[string]string{"bf16": oneTensor("x", dtype.BF16, half)})
		snap(t, r, "short")
		blobOf(t, r, half)
		steps = append(steps, w)
		step, _ := castPair(n, 4+i)
		w = combine(1, w, 1e-4, step)
	}
	soup := combine(0.5, steps[0], 0.5, steps[2])
	add(t, r, map[string]string{"soup": oneTensor("w", dtype.F32, soup)})
	snap(t, r, "soup")
	blobOf(t, r, soup)
	for range 2 {
		res, err := r.Optimize(bg, OptimizeOptions{Solo: 1})
		must(t, err)
		if res.Unreadable > 0 {
			t.Errorf("%+v", res)
		}
		if rep := fsckOf(t, r, true); len(rep.Damage)+len(rep.Damaged) > 0 {
			t.Fatalf("after optimize: %+v", rep)
		}
	}
	_, err := r.GC(bg, 0, true, false)
	must(t, err)
}

// combine returns c·x + d·y.
func combine(c float32, x []byte, d float32, y []byte) []byte {
	var out []byte
	at := func(b []byte, i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[i:])) }
	for i := 0; i < len(x); i += 4 {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(c*at(x, i))+float32(d*at(y, i))))
	}
	return out
}
