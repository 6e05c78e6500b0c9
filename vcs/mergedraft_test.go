package vcs

import (
	"os"
	"path/filepath"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
)

// TestMergeDraft: a draft has the files that the merge commits, and leaves the repository and the directory beside it as they were.
func TestMergeDraft(t *testing.T) {
	r := newRepo(t)
	fork(t, r, map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"a": ramp(700, 1), "b": ramp(300, 1)}), "d/text": "1", "d/e/only": "1"}, map[string]map[string]string{
		"main": {"m.safetensors": mergeWeights(map[string][]float32{"a": ramp(700, 2), "b": ramp(300, 1)})},
		"b":    {"m.safetensors": mergeWeights(map[string][]float32{"a": ramp(700, 5), "b": ramp(300, 4)}), "d/text": "2"},
	})
	head := snapHead(t, r, "main")
	packs := func() map[string]int64 {
		list, err := filepath.Glob(filepath.Join(r.Dir, "packs", "*"))
		must(t, err)
		out := map[string]int64{}
		for _, p := range list {
			fi, err := os.Stat(p)
			must(t, err)
			out[p] = fi.Size()
		}
		return out
	}
	before := packs()
	scratch := t.TempDir()
	o := MergeOptions{Models: []string{"main", "b"}, Strategy: strategy(t, "average"), Dir: filepath.Join(scratch, "draft")}
	res, err := r.Merge(bg, o)
	must(t, err)
	if !res.Commit.IsZero() || !res.Tree.IsZero() || snapHead(t, r, "main") != head || res.Computed != 2 {
		t.Errorf("%+v", res)
	}
	if after := packs(); len(after) != len(before) {
		t.Errorf("packs %v, were %v", after, before)
	} else {
		for p, n := range after {
			if before[p] != n {
				t.Errorf("%s has %d bytes, had %d", p, n, before[p])
			}
		}
	}
	if list, err := os.ReadDir(scratch); err != nil || len(list) != 1 {
		t.Errorf("beside the draft: %v, %v", list, err)
	}
	_, err = r.Merge(bg, o)
	wantErr(t, err, errs.NotEmpty, "draft")
	one := o
	one.Models, one.Dir = []string{"b"}, filepath.Join(scratch, "one")
	must2(t)(r.Merge(bg, one))
	o.Dir = ""
	must2(t)(r.Merge(bg, o))
	for rev, dir := range map[string]string{"main": "draft", "b": "one"} {
		for _, name := range []string{"m.safetensors", "d/text", "d/e/only"} {
			got, err := os.ReadFile(filepath.Join(scratch, dir, name))
			must(t, err)
			if string(got) != fileOf(t, r, rev, name) {
				t.Errorf("%s of %s differs", name, dir)
			}
		}
	}
	for _, was := range []oid.ID{head, {}} {
		o.Head = &was
		_, err = r.Merge(bg, o)
		wantErr(t, err, errs.Conflict, "has moved")
	}
}
