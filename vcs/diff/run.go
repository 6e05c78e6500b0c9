package diff

import (
	"context"
	"fmt"
	"math"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"coral/delta/format"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// Options of Run. Old and New are needed.
type Options struct {
	Old, New Tree
	Paths    []string // globs of files: see Glob
	Tensors  []string // globs of tensor names, * matches dots too
	Whole    bool     // equal files and tensors count in: their elements are read once, so that the figures of totals are of everything
	Single   bool     // tensors without a partner are read too, for their NaN and Inf
	FailOn   []Condition
	Workers  int // 0: as many as processors
	Progress func(done, total int64, what string)
}

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

// fileChange is a filePair with its opened files.
type fileChange struct {
	filePair
	fa, fb *file
}

func (p *fileChange) path() string {
	if p.b != nil {
		return p.b.Path
	}
	return p.a.Path
}

type run struct {
	ctx   context.Context
	opts  *Options
	files []*fileChange
	open  []*file
	pairs []*pair

	done  atomic.Int64
	total int64
	mu    sync.Mutex // serialises Progress
}

// Run compares two trees. It reads, and changes nothing. A damaged file ends it with errs.Corrupt, a file that changes under it with errs.Busy.
func Run(ctx context.Context, opts Options) (res *Result, err error) {
	r := &run{ctx: ctx, opts: &opts}
	defer func() {
		for _, f := range r.open {
			if cerr := f.c.Close(); err == nil && cerr != nil {
				res, err = nil, cerr
			}
		}
	}()
	if err := r.pairFiles(); err != nil {
		return nil, err
	}
	if err := r.pairTensors(); err != nil {
		return nil, err
	}
	if err := r.measure(); err != nil {
		return nil, err
	}
	if err := r.settleFiles(ctx); err != nil {
		return nil, err
	}
	return r.result(), nil
}

func (r *run) report(n int64) {
	done := r.done.Add(n)
	if r.opts.Progress != nil && r.mu.TryLock() { // a report that comes while another is made is left out
		r.opts.Progress(done, r.total, "")
		r.mu.Unlock()
	}
}

// pairFiles walks both sides, finds renames and reads the tensor tables.
func (r *run) pairFiles() error {
	keep, err := Glob(r.opts.Paths)
	if err != nil {
		return err
	}
	tensors, err := tensorGlob(r.opts.Tensors)
	if err != nil {
		return err
	}
	w := &walker{ctx: r.ctx, a: r.opts.Old, b: r.opts.New, whole: r.opts.Whole, keep: keep}
	if err := w.run(); err != nil {
		return err
	}
	for _, p := range w.out {
		r.files = append(r.files, &fileChange{filePair: p})
	}
	if err := r.renames(); err != nil {
		return err
	}
	var rows [2]int
	load := func(t Tree, n *Node, old bool) (*file, error) {
		if n == nil || n.Kind != object.File {
			return nil, nil
		}
		f, err := open(r.ctx, t, n, old, tensors)
		if err != nil {
			return nil, err
		}
		r.open = append(r.open, f)
		side := 0
		if old {
			side = 1
		}
		if rows[side] += len(f.tensors); rows[side] > MaxTensors {
			return nil, fmt.Errorf("more than %d tensors in files that differ: narrow it by a path: %w", MaxTensors, errs.TooLarge)
		}
		return f, nil
	}
	for _, p := range r.files {
		if p.kind == FileMode && !r.opts.Whole {
			continue
		}
		if p.fa, err = load(r.opts.Old, p.a, true); err != nil {
			return err
		}
		if p.fb, err = load(r.opts.New, p.b, false); err != nil {
			return err
		}
	}
	r.converted()
	return nil
}

// tensorGlob is Glob for names of tensors, which have dots where paths have slashes: a slash in one is as good as any character.
func tensorGlob(globs []string) (func(string) bool, error) {
	for _, g := range globs {
		if _, err := path.Match(g, ""); err != nil {
			return nil, fmt.Errorf("glob %q: %w", g, errs.Invalid)
		}
	}
	if len(globs) == 0 {
		return nil, nil
	}
	plain := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	return func(name string) bool {
		for _, g := range globs {
			if ok, _ := path.Match(plain(g), plain(name)); ok { // the pattern was found good
				return true
			}
		}
		return false
	}, nil
}

// pairTensors matches the tensors of paired files, and what is left over all files.
func (r *run) pairTensors() error {
	var as, bs []*file
	for _, p := range r.files {
		if p.fa != nil && p.fb != nil {
			p.fa.partner, p.fb.partner = p.fb, p.fa
			r.pairs = append(r.pairs, byName(p.fa, p.fb)...)
		}
		if p.fa != nil {
			as = append(as, p.fa)
		}
		if p.fb != nil {
			bs = append(bs, p.fb)
		}
	}
	found, err := byContent(r.ctx, rest(as), rest(bs), r.report)
	if err != nil {
		return err
	}
	r.pairs = append(r.pairs, found...)
	r.pairs = append(r.pairs, acrossFiles(rest(as), rest(bs))...)
	r.pairs = append(r.pairs, alone(rest(as), rest(bs))...)
	return nil
}

// wants reports whether a pair must be read, and how many bytes that takes.
func (r *run) wants(p *pair) int64 {
	switch {
	case p.a == nil || p.b == nil:
		e := p.a
		if e == nil {
			e = p.b
		}
		if r.opts.Single && p.b != nil && valuesOf(e.t) > 0 && !bomb(e.t) {
			return e.t.Length
		}
		return 0
	case p.read:
		return p.a.t.Length + p.b.t.Length
	case r.opts.Whole && (p.kind == Equal || p.kind == Renamed) && valuesOf(p.b.t) > 0 && !bomb(p.b.t):
		return p.b.t.Length
	}
	return 0
}

// measure reads what must be read, several pairs at a time; the largest first, so that the last worker is not left alone with one.
func (r *run) measure() error {
	type job struct {
		p     *pair
		bytes int64
	}
	var jobs []job
	for _, p := range r.pairs {
		if n := r.wants(p); n > 0 {
			jobs = append(jobs, job{p, n})
			r.total += n
		}
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return int(max(-1, min(1, b.bytes-a.bytes))) })
	r.total += r.done.Load()
	workers := r.opts.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g, ctx := errgroup.WithContext(r.ctx)
	var next atomic.Int64
	for range min(workers, len(jobs)) {
		g.Go(func() error {
			w := newWorker(ctx, r.report)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return nil
				}
				p := jobs[i].p
				if err := w.measure(p); err != nil {
					return fmt.Errorf("compare %s: %w", p, err)
				}
				if !r.opts.Whole && (p.kind == Equal || p.kind == Renamed) {
					p.got, p.figs = measured{}, nil // totals must not depend on whether it could be told without reading
				}
			}
		})
	}
	return g.Wait()
}

func (p *pair) String() string {
	if p.b != nil {
		return p.b.String()
	}
	return p.a.String()
}

// measure fills in what reading p gives.
func (w *worker) measure(p *pair) (err error) {
	switch {
	case p.a == nil:
		p.got, err = w.single(p.b.operand())
		p.figs = p.got.figures()
	case p.kind == Equal || p.kind == Renamed:
		p.got, err = w.single(p.b.operand())
	default:
		a, b := p.a.operand(), p.b.operand()
		if p.got, err = w.pair(a, b, p.values, p.matrix); err != nil {
			return err
		}
		if g := p.got.rank; g.rank > 0 {
			rank, sure, err := w.confirm(a, b, p.matrix, g)
			if err != nil {
				return err
			}
			p.got.rank.rank, p.got.rank.sampled = rank, !sure
		}
		p.figs = p.got.figures()
		p.settle()
	}
	return err
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
	if c := natural(a.Path, b.Path); c != 0 {
		return c
	}
	return natural(a.Name, b.Name)
}
