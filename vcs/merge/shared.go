package merge

import (
	"cmp"
	"context"
	"slices"

	"coral/vcs/object"
)

// shared looks at tensors of ours that share bytes, tied weights and views. If one of them changes, one must hold the bytes of all: what becomes of it becomes of the
// others, which must be the same views of it on all sides, or the same tensor as it. Then the bytes are made once.
func (m *merger) shared(ctx context.Context, p *plan) error {
	order := make([]int, 0, len(p.actions))
	for i := range p.actions {
		if a := &p.actions[i]; a.out != nil && a.out.Length > 0 {
			order = append(order, i)
		}
	}
	at := func(i int) *object.Tensor { return p.sides[0].get(p.actions[i].name) }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(at(i).Offset, at(j).Offset) })
	for len(order) > 0 { // tensors that touch each other's bytes, directly or by way of others
		end := at(order[0]).Offset + at(order[0]).Length
		n := 1
		for n < len(order) && at(order[n]).Offset < end {
			end = max(end, at(order[n]).Offset+at(order[n]).Length)
			n++
		}
		if n > 1 {
			if err := m.group(ctx, p, order[:n]); err != nil {
				return err
			}
		}
		order = order[n:]
	}
	return nil
}

// group checks tensors that share bytes.
func (m *merger) group(ctx context.Context, p *plan, group []int) error {
	if !slices.ContainsFunc(group, func(i int) bool { return p.actions[i].verb != keep }) {
		return nil
	}
	cover := group[0] // the longest that begins first
	for _, i := range group {
		if x, c := p.actions[i].out, p.actions[cover].out; x.Offset == c.Offset && x.Length > c.Length {
			cover = i
		}
	}
	a := &p.actions[cover]
	for _, i := range group {
		b := &p.actions[i]
		if i == cover {
			continue
		}
		same := p.viewed(a, b)
		if !same {
			var err error
			if same, err = m.alike(ctx, p, a, b); err != nil {
				return err
			}
		}
		if !same || a.verb == keep && b.verb != keep {
			m.conflict(p.path, b.name, "it shares bytes with %s and would not any more", a.name)
			return nil
		}
		b.done = true
	}
	return nil
}

// viewed reports whether b lies in a, and in the same way on all sides that have tensors of these names.
func (p *plan) viewed(a, b *action) bool {
	x, y := p.sides[0].get(a.name), p.sides[0].get(b.name)
	if y.Offset < x.Offset || y.Offset+y.Length > x.Offset+x.Length {
		return false
	}
	for _, v := range append([]*version{p.base}, p.sides...) {
		if v == nil {
			continue
		}
		c, d := v.get(a.name), v.get(b.name)
		if c == nil || d == nil || d.Offset-c.Offset != y.Offset-x.Offset || d.DType != y.DType || !sameShape(d, y) || !slices.Equal(d.Stride, y.Stride) ||
			c.DType != x.DType || !sameShape(c, x) || !slices.Equal(c.Stride, x.Stride) {
			return false
		}
	}
	return true
}

// alike reports whether two tensors that lie in the same place of ours become the same.
func (m *merger) alike(ctx context.Context, p *plan, a, b *action) (bool, error) {
	x, y := p.sides[0].get(a.name), p.sides[0].get(b.name)
	if x.Offset != y.Offset || x.Length != y.Length || x.DType != y.DType || !sameShape(x, y) || !slices.Equal(x.Stride, y.Stride) {
		return false, nil
	}
	if a.verb != b.verb || a.side != b.side || !a.spec.Equal(b.spec) {
		return false, nil
	}
	for _, v := range append([]*version{p.base}, p.sides...) {
		if same, err := m.equalTensors(ctx, v, v.get(a.name), v, v.get(b.name)); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}
