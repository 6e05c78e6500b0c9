package diff

import (
	"path"
	"slices"
	"strings"

	"coral/internal/natural"
)

// Counts of tensors by what became of them. JSON names are a promise.
type Counts struct {
	Tensors  int `json:"tensors"` // of both sides, a pair counted once
	Equal    int `json:"equal"`
	Changed  int `json:"changed"`
	Recast   int `json:"recast,omitempty"`
	Reshaped int `json:"reshaped,omitempty"`
	Renamed  int `json:"renamed,omitempty"`
	Added    int `json:"added,omitempty"`
	Removed  int `json:"removed,omitempty"`
}

func (c *Counts) add(kind string) {
	c.Tensors++
	switch kind {
	case Equal:
		c.Equal++
	case Changed:
		c.Changed++
	case Recast:
		c.Recast++
	case Reshaped:
		c.Reshaped++
	case Renamed:
		c.Renamed++
	case Added:
		c.Added++
	case Removed:
		c.Removed++
	}
}

// Differ is how many are not equal.
func (c *Counts) Differ() int { return c.Tensors - c.Equal }

// Total is what the pairs of a layer, a file or a run have together. Shares and NaN counts are of all elements of paired tensors; cosine, relative L2 and
// sparsities are of those that were read: equal tensors are, only if the run was told to.
type Total struct {
	Counts  Counts
	Figures *Figures // nil if no elements were paired
	sums    sums
	equal   int64 // elements of pairs that were not read
	bytes   int64 // of the new side's tensors
	eqb     int64 // of these, of pairs that are equal or renamed
}

func (t *Total) add(p *pair) {
	t.Counts.add(p.kind)
	if p.b != nil {
		t.bytes += p.b.t.Length
		if p.kind == Equal || p.kind == Renamed {
			t.eqb += p.b.t.Length
		}
	}
	switch {
	case p.a == nil || p.b == nil:
		t.sums.nanB, t.sums.infB = t.sums.nanB+p.got.nanB, t.sums.infB+p.got.infB // counted only if they were read
	case p.got.numbers:
		t.sums.merge(&p.got.sums)
	case p.kind == Equal || p.kind == Renamed:
		t.equal += valuesOf(p.b.t)
	}
}

func (t *Total) finish() {
	all := t.sums.n + t.equal
	if all == 0 {
		return
	}
	t.Figures = t.sums.figures()
	t.Figures.Elements, t.Figures.Changed = all, Number(float64(t.sums.changed)/float64(all))
}

// layerOf is the name of the layer that a tensor belongs to: up to and with the first number in it, else without its last part. An optimizer's state, whose numbers
// are not layers, is taken together by what it is: optimizer.state.*.exp_avg.
func layerOf(name string) string {
	if prefix, last, ok := optimizerState(name); ok {
		return prefix + "*." + last
	}
	at := 0
	for part := range strings.SplitSeq(name, ".") {
		end := at + len(part)
		if number(part) && at > 0 {
			return name[:end]
		}
		at = end + 1
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[:i]
	}
	return name
}

// optimizerState divides a name of the form of PyTorch's optimizers, [prefix.]state.N.what. Such tensors are momenta and step counts: they are compared one by
// one, but in the total of weights they would drown everything.
func optimizerState(name string) (prefix, what string, ok bool) {
	parts := strings.Split(name, ".")
	n := len(parts)
	if n < 3 || parts[n-3] != "state" || !number(parts[n-2]) {
		return "", "", false
	}
	return strings.Join(parts[:n-2], ".") + ".", parts[n-1], true
}

func number(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// state reports a pair of an optimizer's state.
func (p *pair) state() bool {
	e := p.b
	if e == nil {
		e = p.a
	}
	_, _, ok := optimizerState(e.t.Name)
	return ok
}

// layerKey keeps the layers of different models apart: models lie in directories of their own.
type layerKey struct{ dir, name string }

func keyOfLayer(p *pair) layerKey {
	e := p.b
	if e == nil {
		e = p.a
	}
	dir := path.Dir(e.file.node.Path)
	if dir == "." {
		dir = ""
	}
	return layerKey{dir, layerOf(e.t.Name)}
}

func compareLayers(a, b layerKey) int {
	if c := natural.Total(a.dir, b.dir); c != 0 {
		return c
	}
	return natural.Total(a.name, b.name)
}

// Layer is the total of one layer.
type Layer struct {
	Dir  string
	Name string
	Total
}

func layers(pairs []*pair) []*Layer {
	at := map[layerKey]*Layer{}
	var keys []layerKey
	for _, p := range pairs {
		k := keyOfLayer(p)
		if at[k] == nil {
			at[k] = &Layer{Dir: k.dir, Name: k.name}
			keys = append(keys, k)
		}
		at[k].Total.add(p)
	}
	slices.SortFunc(keys, compareLayers)
	out := make([]*Layer, len(keys))
	for i, k := range keys {
		at[k].finish()
		out[i] = at[k]
	}
	return out
}
