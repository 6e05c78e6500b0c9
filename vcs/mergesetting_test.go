package vcs

import (
	"encoding/json"
	"testing"

	"coral/internal/errs"
	"coral/vcs/merge/method"
)

// TestMergeSettings: layers are those of all files of a directory, a gradient goes over them, and a filter picks tensors; all is in the recipe.
func TestMergeSettings(t *testing.T) {
	r := newRepo(t)
	shard := func(v float32, names ...string) string {
		w := map[string][]float32{}
		for _, n := range names {
			w[n] = ramp(300, v)
		}
		return mergeWeights(w)
	}
	files := func(v float32) map[string]string {
		return map[string]string{"1.safetensors": shard(v, "h.0.w", "h.1.w", "h.1.bias", "embed"), "2.safetensors": shard(v, "h.2.w", "h.4.w"), "other.safetensors": shard(v, "h.1.w")}
	}
	fork(t, r, map[string]string{"x": "1"}, map[string]map[string]string{"main": files(0), "b": files(8)})
	o := MergeOptions{
		Models: []string{"main", "b"}, Strategy: strategy(t, "linear:weights=1/1,normalize=false"), Layers: 5,
		Settings: []method.Setting{{Param: "weights", Side: 2, Cases: []method.Case{{Filter: "bias", Value: "0.125"}, {Gradient: []float64{1, 2, 0}}}}},
	}
	res, err := r.Merge(bg, o)
	must(t, err)
	must(t, res.Err())
	for name, want := range map[string]string{
		"1.safetensors": mergeWeights(map[string][]float32{"h.0.w": ramp(300, 8), "h.1.w": ramp(300, 12), "h.1.bias": ramp(300, 1), "embed": ramp(300, 8)}),
		"2.safetensors": mergeWeights(map[string][]float32{"h.2.w": ramp(300, 16), "h.4.w": ramp(300, 0)}),
	} {
		if fileOf(t, r, "main", name) != want {
			t.Errorf("%s is not as the gradient says", name)
		}
	}
	c, err := r.Objects.Commit(bg, res.Commit)
	must(t, err)
	var rec MergeRecipe
	must(t, json.Unmarshal([]byte(c.Labels[LabelMerge]), &rec))
	if rec.Layers != 5 || len(rec.Settings) != 1 || rec.Settings[0].Side != 2 || len(rec.Settings[0].Cases) != 2 || rec.Settings[0].Cases[1].Gradient[1] != 2 {
		t.Errorf("%+v", rec)
	}
	o.Layers = 4
	_, err = r.Merge(bg, o)
	wantErr(t, err, errs.Invalid, "another number")
	o.Layers = 0
	o.Settings[0].Cases = o.Settings[0].Cases[:1]
	_, err = r.Merge(bg, o)
	wantErr(t, err, errs.Invalid, "no case of weights of side 2")
}
