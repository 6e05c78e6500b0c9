package diff

import (
	"context"
	"slices"

	"coral/delta/format/dtype"
	"coral/vcs/tensor"
)

// Kinds of a tensor's change. A tensor with more than one change has the last of these that fits, and the others show in its dtypes, shapes and names.
const (
	Equal    = "equal"
	Renamed  = "renamed" // the same bytes under another name, or in another file
	Changed  = "changed"
	Recast   = "recast"   // another dtype
	Reshaped = "reshaped" // another shape
	Added    = "added"
	Removed  = "removed"
)

// pair is two tensors that belong together, or one without a partner.
type pair struct {
	kind   string
	a, b   *entry
	values int64   // how many are compared; 0: none, nothing can be said
	part   bool    // of one side there are more
	matrix []int64 // shape of what is compared, if it is a matrix of floats
	read   bool    // it must be
	got    measured
	figs   *Figures
}

// link pairs two tensors.
func link(a, b *entry) *pair {
	p := &pair{a: a, b: b}
	a.pair, b.pair = p, p
	sameType, sameShape := a.t.DType == b.t.DType, slices.Equal(a.t.Shape, b.t.Shape)
	switch {
	case !sameShape:
		p.kind = Reshaped
	case !sameType:
		p.kind = Recast
	case same(a, b):
		p.kind = p.equalKind()
		return p
	default:
		p.kind = Changed
	}
	p.plan()
	return p
}

// equalKind is the kind of a pair of the same bytes, dtype and shape.
func (p *pair) equalKind() string {
	if p.a.t.Name == p.b.t.Name {
		return Equal
	}
	return Renamed
}

// plan decides how much of a pair can be compared.
func (p *pair) plan() {
	ta, tb := p.a.t, p.b.t
	if bomb(ta) || bomb(tb) {
		return
	}
	if valuesOf(ta) == 0 && tensor.Bytes(ta) > 0 || valuesOf(tb) == 0 && tensor.Bytes(tb) > 0 {
		p.read = ta.DType == tb.DType && tensor.Bytes(ta) == tensor.Bytes(tb)
		return
	}
	if complexKind(ta.DType) != complexKind(tb.DType) {
		return
	}
	na, nb := valuesOf(ta), valuesOf(tb)
	switch {
	case na == nb:
		p.values = na
	case len(ta.Shape) > 0 && len(ta.Shape) == len(tb.Shape) && slices.Equal(ta.Shape[1:], tb.Shape[1:]):
		p.values, p.part = min(na, nb), true // rows were added or taken away at the end, as when a vocabulary grows
	default:
		return
	}
	p.read = true
	small := tb
	if na < nb {
		small = ta
	}
	if len(tb.Shape) == 2 && len(ta.Shape) == 2 && (na != nb || slices.Equal(ta.Shape, tb.Shape)) && floatKind(ta.DType) && floatKind(tb.DType) && !complexKind(tb.DType) && !p.state() {
		p.matrix = small.Shape
	}
}

func complexKind(k dtype.Kind) bool { return k == dtype.C64 || k == dtype.C128 }

// byName pairs the tensors of two files that have the same name; of several of one name, the first with the first.
func byName(a, b *file) (out []*pair) {
	at := make(map[string][]int, len(a.tensors))
	for i := range a.tensors {
		at[a.tensors[i].t.Name] = append(at[a.tensors[i].t.Name], i)
	}
	for i := range b.tensors {
		e := &b.tensors[i]
		if list := at[e.t.Name]; len(list) > 0 {
			out = append(out, link(&a.tensors[list[0]], e))
			at[e.t.Name] = list[1:]
		}
	}
	return out
}

// rest lists the tensors of files that have no partner yet.
func rest(files []*file) (out []*entry) {
	for _, f := range files {
		for i := range f.tensors {
			if f.tensors[i].pair == nil {
				out = append(out, &f.tensors[i])
			}
		}
	}
	return out
}

// form is what tensors of the same bytes must have in common.
type form struct {
	kind  dtype.Kind
	bytes int64
}

func formOf(e *entry) form { return form{e.t.DType, tensor.Bytes(e.t)} }

// byContent pairs what is left and has the same bytes, over all files. Tensors whose content key is not known are read if there is one of their size on
// the other side. Scalars and empty tensors say nothing by being equal.
func byContent(ctx context.Context, as, bs []*entry, report func(int64)) (out []*pair, err error) {
	const least = 16 // bytes
	forms := map[form][2]bool{}
	for i, list := range [][]*entry{as, bs} {
		for _, e := range list {
			has := forms[formOf(e)]
			has[i] = true
			forms[formOf(e)] = has
		}
	}
	type bytesOf struct {
		form
		key contentKey
	}
	wanted := func(e *entry) bool {
		return formOf(e).bytes >= least && !bomb(e.t) && forms[formOf(e)] == [2]bool{true, true}
	}
	at := map[bytesOf][]*entry{}
	for _, e := range as {
		if wanted(e) {
			if err := e.hash(ctx, report); err != nil {
				return nil, err
			}
			k := bytesOf{formOf(e), e.key}
			at[k] = append(at[k], e)
		}
	}
	for _, e := range bs {
		if !wanted(e) {
			continue
		}
		if err := e.hash(ctx, report); err != nil {
			return nil, err
		}
		k := bytesOf{formOf(e), e.key}
		for i, a := range at[k] {
			if slices.Equal(a.t.Shape, e.t.Shape) {
				out = append(out, link(a, e))
				at[k] = slices.Delete(at[k], i, i+1)
				break
			}
		}
	}
	return out, nil
}

// acrossFiles pairs what is left by names that occur once on each side: shards that were cut elsewhere, a file that was moved and trained on.
func acrossFiles(as, bs []*entry) (out []*pair) {
	names := func(list []*entry) map[string]*entry {
		m := map[string]*entry{}
		for _, e := range list {
			if _, twice := m[e.t.Name]; twice {
				m[e.t.Name] = nil
				continue
			}
			m[e.t.Name] = e
		}
		return m
	}
	onlyA, onlyB := names(as), names(bs)
	for _, b := range bs {
		a := onlyA[b.t.Name]
		if a == nil || onlyB[b.t.Name] == nil || !slices.Equal(a.t.Shape, b.t.Shape) {
			continue
		}
		out = append(out, link(a, b))
	}
	return out
}

// alone makes pairs of what found no partner.
func alone(as, bs []*entry) (out []*pair) {
	for _, e := range as {
		e.pair = &pair{kind: Removed, a: e}
		out = append(out, e.pair)
	}
	for _, e := range bs {
		e.pair = &pair{kind: Added, b: e}
		out = append(out, e.pair)
	}
	return out
}

// settle gives a pair its kind now that it was read: what has no changed bit is equal.
func (p *pair) settle() {
	if p.kind == Changed && p.read && p.got.changed == 0 && !p.got.other && !p.part {
		p.kind = p.equalKind()
	}
}
