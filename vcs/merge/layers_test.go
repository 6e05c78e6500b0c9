package merge

import "testing"

func TestLayerOf(t *testing.T) {
	for name, want := range map[string]struct {
		list string
		i    int
	}{
		"model.layers.31.mlp.weight": {"model.layers", 31}, "h.0.attn": {"h", 0}, "encoder.block.2.layer.1.x": {"encoder.block", 2}, "x.007.y": {"x", 7}, ".3.": {"", 3},
		"embed": {"-", 0}, "layers.1": {"-", 0}, "0.weight": {"-", 0}, "a.99999999999999999999.b": {"-", 0}, "a.1048576.b": {"-", 0}, "": {"-", 0},
	} {
		list, i, ok := layerOf(name)
		if ok != (want.list != "-") || ok && (list != want.list || i != want.i) {
			t.Errorf("%q: %q, %d, %v", name, list, i, ok)
		}
	}
	l := layers{"h": 5, "one": 1}
	for name, want := range map[string]float64{"h.0.x": 0, "h.1.x": 0.25, "h.4.x": 1, "h.9.x": 1, "one.0.x": 1, "none.0.x": 1, "embed": 0} {
		if got := l.place(name); got != want {
			t.Errorf("%q is at %v, want %v", name, got, want)
		}
	}
}
