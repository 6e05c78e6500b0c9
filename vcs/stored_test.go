package vcs

import (
	"encoding/binary"
	"slices"
	"testing"

	"coral/delta/format/dtype"
	"coral/internal/oid"
)

// TestStoredTensors: what is solo, a delta of what and derived from what is said, and named by the nearest file that has it.
func TestStoredTensors(t *testing.T) {
	r := newRepo(t)
	wide, half := castPair(100_000, 3)
	next := slices.Clone(wide)
	for i := 0; i < len(next); i += 40 { // one element of ten, by one unit in the last place
		binary.LittleEndian.PutUint32(next[i:], binary.LittleEndian.Uint32(next[i:])+1)
	}
	add(t, r, map[string]string{"m": oneTensor("w", dtype.F32, wide)})
	first := snap(t, r, "first")
	add(t, r, map[string]string{"m": oneTensor("w", dtype.F32, next), "half": oneTensor("h", dtype.BF16, half), "small": oneTensor("s", dtype.F32, wide[:16])})
	second := snap(t, r, "second")
	tree := func(id oid.ID) oid.ID {
		c, err := r.Objects.Commit(bg, id)
		must(t, err)
		return c.Tree
	}
	for _, c := range []struct {
		commit oid.ID
		path   string
		how    string
		base   string
		name   string
	}{{first, "m", "solo", "", ""}, {second, "m", "delta", "m", "w"}, {second, "half", "derived", "m", "w"}, {second, "small", "inline", "", ""}} {
		e, err := r.Lookup(bg, tree(c.commit), c.path)
		must(t, err)
		m, err := r.Objects.Manifest(bg, e.ID)
		must(t, err)
		list, total, err := r.StoredTensors(bg, m)
		must(t, err)
		got := list[0]
		if len(list) != 1 || got.How != c.how || total != got.Bytes || (got.Depth > 0) != (c.base != "") || (got.Formula == "cast") != (c.how == "derived") {
			t.Errorf("%s: %+v, %d in all; want %s", c.path, got, total, c.how)
			continue
		}
		wanted := map[oid.ID]bool{}
		for _, b := range got.Bases {
			wanted[b] = true
		}
		names, err := r.BlobPlaces(bg, wanted, c.commit)
		must(t, err)
		for _, p := range names {
			if p.Path != c.base || p.Tensor != c.name || p.Commit != first {
				t.Errorf("%s: base %+v, want %s", c.path, p, c.base)
			}
		}
		if (c.base != "") != (len(names) == 1) {
			t.Errorf("%s: bases %v", c.path, names)
		}
	}
	versions, err := r.TensorHistory(bg, second, "m", "w", 0)
	must(t, err)
	if len(versions) != 2 || versions[0].Commit != second || versions[1].Commit != first {
		t.Errorf("versions %+v", versions)
	}
	if list, err := r.TensorHistory(bg, second, "m", "none", 0); err != nil || list != nil {
		t.Errorf("of no tensor: %v, %v", list, err)
	}
	paths, err := r.FindTensor(bg, tree(second), "w", 5)
	must(t, err)
	if !slices.Equal(paths, []string{"m"}) {
		t.Errorf("w is in %v", paths)
	}
}

func TestLayer(t *testing.T) {
	for name, want := range map[string][2]string{
		"encoder.layer.0.output.dense.weight": {"encoder.layer.0", "output.dense.weight"}, "blk.12.attn_q.weight": {"blk.12", "attn_q.weight"},
		"pooler.dense.bias": {"pooler", "dense.bias"}, "w": {"w", ""}, "state.3.exp_avg": {"state.3", "exp_avg"}, "0": {"0", ""}, "": {"", ""},
	} {
		if layer, kind := Layer(name); layer != want[0] || kind != want[1] {
			t.Errorf("%q: %q, %q", name, layer, kind)
		}
	}
}
