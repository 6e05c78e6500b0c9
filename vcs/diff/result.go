package diff

import (
	"math"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/internal/natural"
	"coral/internal/oid"
)

// File is one file that differs.
type File struct {
	Kind    string
	Path    string
	OldPath string // of a renamed one
	Size    int64
	OldSize int64
	ID      oid.ID // of the new side, if it is stored
	Format  string // of the new side, else of the old one
	Total   Total
}

// Tensor is one tensor that is not equal.
type Tensor struct {
	Kind     string
	Name     string
	OldName  string // if it is another
	Path     string
	OldPath  string // if it is another
	DType    string
	OldDType string
	Shape    []int64
	OldShape []int64
	Bytes    int64
	Figures  *Figures // nil if nothing was compared
	Part     bool     // only the rows that both have were compared
	Notes    []string
	Failed   []string // conditions that hold
}

// Result is what differs. Tensors are in order of how much they changed, the most first.
type Result struct {
	Files        []File
	Tensors      []Tensor
	Layers       []*Layer
	Total        Total // of weights
	StateTensors int   // optimizer states that Total leaves out; it is of these if there is nothing else
	Bytes        int64 // of the new side's tensors in Total
	EqBytes      int64 // of these, of equal ones
	Notes        []string
	Failed       int // tensors for which a condition holds
	Read         int64
}

// result puts everything together.
func (r *run) result() *Result {
	res := &Result{Read: r.done.Load()}
	byFile := map[*file]*Total{}
	slices.SortStableFunc(r.pairs, func(a, b *pair) int { // a fixed order for sums: matching went by maps of names
		return strings.Compare(a.String(), b.String())
	})
	state := onlyState(r.pairs)
	for _, p := range r.pairs {
		if state || !p.state() {
			res.Total.add(p)
		} else {
			res.StateTensors++
		}
		for _, e := range []*entry{p.b, p.a} {
			if e == nil {
				continue
			}
			if byFile[e.file] == nil {
				byFile[e.file] = &Total{}
			}
			byFile[e.file].add(p)
			break
		}
	}
	res.Total.finish()
	res.Bytes, res.EqBytes = res.Total.bytes, res.Total.eqb
	res.Layers = layers(r.pairs)
	for _, p := range r.files {
		res.Files = append(res.Files, p.file(byFile))
	}
	for _, p := range r.pairs {
		if p.kind != Equal {
			t := p.tensor(r.opts.FailOn)
			if len(t.Failed) > 0 {
				res.Failed++
			}
			res.Tensors = append(res.Tensors, t)
		}
	}
	slices.SortStableFunc(res.Tensors, mostChanged)
	res.Notes = notes(r.pairs)
	return res
}

// onlyState reports that there is nothing but states of optimizers.
func onlyState(pairs []*pair) bool {
	return !slices.ContainsFunc(pairs, func(p *pair) bool { return !p.state() })
}

func (p *fileChange) file(totals map[*file]*Total) File {
	f := File{Kind: p.kind, Path: p.path()}
	if p.a != nil {
		f.OldSize = p.a.Size
		if p.a.Path != f.Path {
			f.OldPath = p.a.Path
		}
	}
	if p.b != nil {
		f.Size, f.ID = p.b.Size, p.b.ID
	}
	f.Format = format.Opaque
	for _, o := range []*file{p.fa, p.fb} {
		if o == nil {
			continue
		}
		f.Format = o.f.Format
		if t := totals[o]; t != nil {
			t.finish()
			f.Total = *t
		}
	}
	if p.fb != nil && p.fa != nil && totals[p.fa] != nil { // tensors that only the old file has are counted there
		t := *totals[p.fa]
		if n := totals[p.fb]; n != nil {
			t = *n
			t.Counts.Removed += totals[p.fa].Counts.Removed
			t.Counts.Tensors += totals[p.fa].Counts.Removed
		}
		f.Total = t
	}
	return f
}

func (p *pair) tensor(conds []Condition) Tensor {
	t := Tensor{Kind: p.kind, Figures: p.figs, Part: p.part}
	if p.a != nil {
		t.Name, t.Path, t.DType, t.Shape, t.Bytes = p.a.t.Name, p.a.file.node.Path, p.a.t.DType.String(), p.a.t.Shape, p.a.t.Length
	}
	if p.b != nil {
		old := t
		t.Name, t.Path, t.DType, t.Shape, t.Bytes = p.b.t.Name, p.b.file.node.Path, p.b.t.DType.String(), p.b.t.Shape, p.b.t.Length
		if p.a != nil {
			if old.Name != t.Name {
				t.OldName = old.Name
			}
			if p.a.file.partner != p.b.file {
				t.OldPath = old.Path
			}
			if old.DType != t.DType {
				t.OldDType = old.DType
			}
			if !slices.Equal(old.Shape, t.Shape) {
				t.OldShape = append([]int64{}, old.Shape...)
			}
		}
	}
	t.Shape = append([]int64{}, t.Shape...)
	if t.Figures != nil {
		for _, c := range conds {
			if c.Holds(t.Figures) {
				t.Failed = append(t.Failed, c.String())
			}
		}
	}
	t.Notes = p.notes()
	return t
}

// mostChanged sorts by what a person wants to see first: numbers that broke, what moved furthest, then what has no figures.
func mostChanged(a, b Tensor) int {
	weight := func(t *Tensor) (class int, v float64) {
		f := t.Figures
		switch {
		case f == nil:
			return 2, 0
		case f.NaN > f.OldNaN || f.Inf > f.OldInf:
			return 0, float64(f.NaN + f.Inf)
		case math.IsNaN(float64(f.RelL2)):
			return 1, float64(f.Changed)
		}
		return 1, float64(f.RelL2)
	}
	ca, va := weight(&a)
	cb, vb := weight(&b)
	switch {
	case ca != cb:
		return ca - cb
	case va != vb && va > vb:
		return -1
	case va != vb:
		return 1
	}
	if c := natural.Total(a.Path, b.Path); c != 0 {
		return c
	}
	return natural.Total(a.Name, b.Name)
}
