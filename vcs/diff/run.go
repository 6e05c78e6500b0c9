package diff

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"coral/internal/errs"
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
