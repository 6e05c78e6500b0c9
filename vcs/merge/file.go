package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/merge/method"
	"coral/vcs/object"
)

// plan is how one file is made.
type plan struct {
	path    string
	base    *version // nil: none
	sides   []*version
	actions []action
	relaid  bool // tensors come, go, or change kind or shape: the file is laid out anew
}

type verb uint8

const (
	keep    verb = iota
	take         // from another side
	compute      // by spec
	drop
)

// action is what becomes of one tensor.
type action struct {
	verb verb
	name string
	side int // of take
	spec method.Spec
	out  *object.Tensor // the tensor as it will be: on ours, or where it is taken from; nil to drop
	flat bool           // of computed and taken ones: in the order of bytes, which is the same on all sides
	done bool           // another action has made its bytes
}

// content merges a file tensor by tensor; done is false if it is not one on all sides.
func (m *merger) content(ctx context.Context, path string, base *object.Entry, sides []*object.Entry) (e *object.Entry, done bool, err error) {
	p := &plan{path: path}
	for _, s := range sides {
		v, err := m.version(ctx, s)
		if err != nil {
			return nil, false, fmt.Errorf("merge %s: %w", path, err)
		}
		if v == nil {
			return nil, false, nil
		}
		p.sides = append(p.sides, v)
	}
	if base != nil && base.Kind == object.File {
		if p.base, err = m.version(ctx, base); err != nil {
			return nil, false, fmt.Errorf("merge %s: %w", path, err)
		}
	}
	if err := m.plan(ctx, p); err != nil {
		return nil, false, fmt.Errorf("merge %s: %w", path, err)
	}
	f := p.summary()
	out := *sides[0]
	out.Mode = mode(base, sides)
	if f.Taken+f.Computed+f.Added+f.Removed == 0 {
		return &out, true, nil
	}
	m.report(f)
	if !m.make {
		m.res.Bytes += p.sides[0].Size
		return &out, true, nil
	}
	if out.ID, out.Size, err = m.write(ctx, p, sides[0].ID); err != nil {
		return nil, false, fmt.Errorf("merge %s: %w", path, err)
	}
	for _, s := range sides[1:] {
		if s.MTime.After(out.MTime) {
			out.MTime = s.MTime
		}
	}
	return &out, true, nil
}

// version opens a file; nil if it has no tensors.
func (m *merger) version(ctx context.Context, e *object.Entry) (*version, error) {
	man, err := m.store.Manifest(ctx, e.ID)
	if err != nil || len(man.Tensors) == 0 {
		return nil, err
	}
	src, err := m.store.Source(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	return newVersion(src, man), nil
}

func (p *plan) summary() File {
	f := File{Path: p.path, Action: "merged"}
	for i := range p.actions {
		switch a := &p.actions[i]; {
		case a.verb == take && p.sides[0].get(a.name) == nil:
			f.Added++
		case a.verb == take:
			f.Taken++
		case a.verb == compute:
			f.Computed++
		case a.verb == drop:
			f.Removed++
		}
	}
	return f
}

// plan decides all tensors: ours in their order, then those that others have.
func (m *merger) plan(ctx context.Context, p *plan) error {
	seen := map[string]bool{}
	for _, v := range p.sides {
		for i := range v.Tensors {
			name := v.Tensors[i].Name
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, w := range p.sides {
				if at, ok := w.index[name]; ok && at < 0 {
					m.conflict(p.path, name, "there are several tensors of this name")
					return nil
				}
			}
			if err := m.decide(ctx, p, name); err != nil {
				return err
			}
		}
	}
	return m.fit(ctx, p)
}

// decide adds the action for one name.
func (m *merger) decide(ctx context.Context, p *plan, name string) error {
	base := p.base.get(name)
	ts := make([]*object.Tensor, len(p.sides))
	everywhere, equal := true, true
	var err error
	for i, v := range p.sides {
		ts[i] = v.get(name)
		everywhere = everywhere && ts[i] != nil
		if i > 0 && equal {
			if equal, err = m.equalTensors(ctx, p.sides[0], ts[0], v, ts[i]); err != nil {
				return err
			}
		}
	}
	spec, err := m.spec(p, name)
	if err != nil {
		return err
	}
	if equal && !(m.All && spec.Computes() && !spec.KeepsEqual()) {
		p.takeFrom(name, ts, 0)
		return nil
	}
	if !m.All || !everywhere {
		changed, agree := -1, true
		for i, v := range p.sides {
			same, err := m.equalTensors(ctx, p.base, base, v, ts[i])
			if err != nil {
				return err
			}
			if same {
				continue
			}
			if changed < 0 {
				changed = i
			} else if agree {
				if agree, err = m.equalTensors(ctx, p.sides[changed], ts[changed], v, ts[i]); err != nil {
					return err
				}
			}
		}
		if agree {
			p.takeFrom(name, ts, changed)
			return nil
		}
	}
	m.resolve(p, name, base, ts, spec)
	return nil
}

// takeFrom takes the tensor of a side, or its absence.
func (p *plan) takeFrom(name string, ts []*object.Tensor, side int) {
	a := action{name: name, side: side, out: ts[side]}
	switch {
	case ts[side] == nil && ts[0] == nil:
		return
	case ts[side] == nil:
		a.verb, p.relaid = drop, true
	case side != 0:
		a.verb = take
		if reshapes(ts[0], a.out) {
			p.relaid = true
		} else {
			a.flat = !contiguous(ts[0]) && slices.Equal(ts[0].Stride, a.out.Stride)
			a.out = ts[0]
		}
	}
	p.actions = append(p.actions, a)
}

// reshapes reports whether a tensor does not fit in the place of ours; nil is none.
func reshapes(ours, t *object.Tensor) bool {
	return ours == nil || ours.DType != t.DType || !sameShape(ours, t)
}

// resolve decides what several sides changed.
func (m *merger) resolve(p *plan, name string, base *object.Tensor, ts []*object.Tensor, spec method.Spec) {
	choice := spec.Method
	why := "changed on several sides"
	if spec.Computes() {
		if why = obstacle(spec, base, ts); why == "" {
			a := action{verb: compute, name: name, spec: spec, out: ts[0]}
			a.flat = !contiguous(ts[0])
			p.actions = append(p.actions, a)
			return
		}
		choice = m.Fallback
	}
	switch choice {
	case method.Ours:
		p.takeFrom(name, ts, 0)
	case method.Theirs:
		p.takeFrom(name, ts, 1)
	default:
		m.conflict(p.path, name, "%s", why)
	}
}

// obstacle says why values cannot be computed; "" if they can.
func obstacle(spec method.Spec, base *object.Tensor, ts []*object.Tensor) string {
	for _, t := range ts {
		if t == nil {
			return "deleted on one side and changed on another"
		}
	}
	all := ts
	if spec.NeedsBase() {
		if base == nil {
			return "not in the base, which " + spec.Method + " needs"
		}
		all = append(slices.Clone(ts), base)
	}
	for _, t := range all {
		switch {
		case !sameShape(t, ts[0]):
			return fmt.Sprintf("the shapes differ: %v and %v", ts[0].Shape, t.Shape)
		case !floats(t.DType):
			return fmt.Sprintf("elements of kind %s are not computed with", t.DType)
		case !contiguous(ts[0]) && (t.DType.Width() != ts[0].DType.Width() || !slices.Equal(t.Stride, ts[0].Stride)):
			return "the strides differ, and ours is not contiguous"
		}
	}
	return ""
}

// floats reports whether a kind has values that a mean of makes sense.
func floats(k dtype.Kind) bool {
	return values.Supported(k) && (k.Float() || k == dtype.F8E4M3 || k == dtype.F8E5M2)
}

// fit looks whether the container of ours can hold the result.
func (m *merger) fit(ctx context.Context, p *plan) error {
	ours := p.sides[0]
	if p.relaid && ours.Format != format.Safetensors {
		for i := range p.actions {
			a := &p.actions[i]
			if a.verb == drop || a.verb == take && reshapes(ours.get(a.name), a.out) {
				m.conflict(p.path, a.name, "the tensors of a %s file cannot be added, removed or reshaped", ours.Format)
			}
		}
		return nil
	}
	if p.relaid {
		if _, _, err := p.layout(at{ctx, ours}); errors.Is(err, errs.Invalid) || errors.Is(err, format.ErrDamaged) {
			m.conflict(p.path, "", "the result cannot be a safetensors file: %v", err)
		} else if err != nil {
			return err
		}
		return nil
	}
	for i := range p.actions {
		if a := &p.actions[i]; a.verb == take && !a.flat && !contiguous(a.out) {
			m.conflict(p.path, a.name, "the strides differ, and ours is not contiguous")
		}
	}
	if err := m.shared(ctx, p); err != nil {
		return err
	}
	return m.checkArchive(ctx, p)
}
