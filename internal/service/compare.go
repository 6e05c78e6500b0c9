package service

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/diff"
)

// maxRows bounds the tensors of a result: a reply has to fit one message of the socket.
const maxRows = 1 << 17

// DiffRequest is `coral diff`, and `coral compare` but for the sides it takes by default.
type DiffRequest struct {
	From    Side     `json:"from"`
	To      Side     `json:"to"`
	Paths   []string `json:"paths,omitempty"`
	Tensors []string `json:"tensors,omitempty"`
	FailOn  []string `json:"fail_on,omitempty"`
	N       int      `json:"n"` // rows of tensors; negative: as many as a result can have, of which text shows DefaultRows
	Stat    bool     `json:"stat,omitempty"`
	Soup    bool     `json:"soup,omitempty"`
	SoupOf  []Side   `json:"soup_of,omitempty"`
}

// DefaultRows is how many tensors are shown as text, if nobody says.
const DefaultRows = 30

// Flags implements Request.
func (r *DiffRequest) Flags(f *pflag.FlagSet) {
	f.StringArrayVar(&r.Paths, "path", nil, "only files whose path (without a slash: whose name) matches this `glob`; repeatable")
	f.StringArrayVar(&r.Tensors, "tensor", nil, "only tensors whose name matches this `glob`; repeatable")
	f.StringArrayVar(&r.FailOn, "fail-on", nil, "exit 3 if a tensor has this: cos<0.9, rel_l2>1e-2, max_abs>1, changed>50%, ulp>8, nan>0, inf>0 (`condition`); repeatable")
	f.IntVarP(&r.N, "max-count", "n", -1, "show the `n` tensors that changed most, 0 all (default 30, with --json all)")
	f.BoolVar(&r.Stat, "stat", false, "one line a file")
	f.BoolVar(&r.Soup, "soup", false, "say if the new side is an average of the old one, its parents and the heads of branches (at most 8)")
	f.Var((*sideList)(&r.SoupOf), "soup-of", "say if it is an average of this side and others; repeatable, and before those of --soup")
}

// SetArgs implements Request.
func (r *DiffRequest) SetArgs(args []string) error {
	r.From.Text, r.To.Text = control.Text(arg(args, 0)), control.Text(arg(args, 1))
	return r.check("diff", args)
}

func (r *DiffRequest) check(op string, args []string) error {
	for _, c := range r.FailOn {
		if _, err := diff.ParseCondition(c); err != nil {
			return control.Usagef("%s: --fail-on: %v", op, err)
		}
	}
	for _, list := range [][]string{r.Paths, r.Tensors} {
		if _, err := diff.Glob(list); err != nil {
			return control.Usagef("%s: %v", op, err)
		}
	}
	if err := refuseEmpty(op, args); err != nil {
		return err
	}
	return atMost(op, args, 2)
}

// Access implements Request.
func (r *DiffRequest) Access() Access { return Reads }

// Localize implements Localizer.
func (r *DiffRequest) Localize() error {
	for _, d := range []*Side{&r.From, &r.To} {
		if err := d.localize(); err != nil {
			return err
		}
	}
	for i := range r.SoupOf {
		if err := r.SoupOf[i].localize(); err != nil {
			return err
		}
	}
	return nil
}

// CompareRequest is `coral compare`.
type CompareRequest struct{ DiffRequest }

// SetArgs implements Request.
func (r *CompareRequest) SetArgs(args []string) error {
	if len(args) == 0 {
		return control.Usagef("compare: name a commit, branch, file or directory, or two")
	}
	r.From.Text, r.To.Text = control.Text(arg(args, 0)), control.Text(arg(args, 1))
	return r.check("compare", args)
}

// SideInfo is what a side of a comparison turned out to be. JSON names are a promise.
type SideInfo struct {
	Name   control.Text `json:"name"`
	Commit oid.ID       `json:"commit,omitzero"`
	Branch string       `json:"branch,omitempty"` // whose live tree it is
	Disk   control.Text `json:"disk,omitempty"`   // path of the disk
}

// DiffTotal is what tensors have together: of a file, a layer, or all. JSON names are a promise.
type DiffTotal struct {
	Counts  diff.Counts   `json:"counts"` // of tensors
	Figures *diff.Figures `json:"figures,omitempty"`
}

// DiffFile is one file that differs. JSON names are a promise.
type DiffFile struct {
	Path    control.Text `json:"path"`
	Kind    string       `json:"kind"` // "added", "deleted", "modified", "renamed", "mode", "type"; of compare also "equal"
	OldPath control.Text `json:"old_path,omitempty"`
	Size    int64        `json:"size"`
	OldSize int64        `json:"old_size,omitempty"`
	ID      oid.ID       `json:"id,omitzero"`
	Format  string       `json:"format,omitempty"`
	DiffTotal
}

// DiffTensor is one tensor that differs. JSON names are a promise.
type DiffTensor struct {
	Name     string        `json:"name"`
	Path     control.Text  `json:"path"`
	Kind     string        `json:"kind"` // "changed", "recast", "reshaped", "renamed", "added", "removed"
	OldName  string        `json:"old_name,omitempty"`
	OldPath  control.Text  `json:"old_path,omitempty"`
	DType    string        `json:"dtype"`
	OldDType string        `json:"old_dtype,omitempty"`
	Shape    []int64       `json:"shape"`
	OldShape []int64       `json:"old_shape,omitempty"`
	Bytes    int64         `json:"bytes"`
	Figures  *diff.Figures `json:"figures,omitempty"`
	Part     bool          `json:"part,omitempty"` // only the first rows, which both have, were compared
	Notes    []string      `json:"notes,omitempty"`
	Failed   []string      `json:"failed,omitempty"`
}

// DiffLayer is the total of a layer. JSON names are a promise.
type DiffLayer struct {
	Dir  control.Text `json:"dir,omitempty"`
	Name string       `json:"name"`
	DiffTotal
}

// DiffResult is the result of diff and compare. JSON names are a promise.
type DiffResult struct {
	From         SideInfo         `json:"from"`
	To           SideInfo         `json:"to"`
	Files        []DiffFile       `json:"files"`
	Tensors      []DiffTensor     `json:"tensors"` // what changed most first
	Omitted      int              `json:"omitted,omitempty"`
	Layers       []DiffLayer      `json:"layers"`
	Total        DiffTotal        `json:"total"`                   // of weights; of optimizer states if there is nothing else
	Shared       *SharedBytes     `json:"shared,omitempty"`        // of compare
	Soup         *diff.SoupResult `json:"soup,omitempty"`          // if it was asked for
	StateTensors int              `json:"state_tensors,omitempty"` // optimizer states that Total leaves out
	Notes        []string         `json:"notes,omitempty"`
	Failed       int              `json:"failed,omitempty"` // tensors for which a condition of fail_on holds
	Read         int64            `json:"read_bytes"`
	Seconds      float64          `json:"seconds"`
}

// Violated says which tensors have what --fail-on looks for; nil if none. It is errs.Conflict.
func (r DiffResult) Violated() error {
	if r.Failed == 0 {
		return nil
	}
	return failedOn(r.Tensors, r.Failed)
}

func (s *Service) diffCommand(ctx context.Context, r *DiffRequest, p Progress) (*DiffResult, error) {
	from, to := s.headSide, s.liveSide
	if r.From.Text != "" {
		from = func(ctx context.Context, op string) (diff.Tree, SideInfo, error) { return s.side(ctx, op, r.From) }
	}
	if r.To.Text != "" {
		to = func(ctx context.Context, op string) (diff.Tree, SideInfo, error) { return s.side(ctx, op, r.To) }
	}
	return s.compareSides(ctx, "diff", r, p, from, to)
}

func (s *Service) compare(ctx context.Context, r *CompareRequest, p Progress) (*DiffResult, error) {
	to := s.headSide
	if r.To.Text != "" {
		to = func(ctx context.Context, op string) (diff.Tree, SideInfo, error) { return s.side(ctx, op, r.To) }
	}
	from := func(ctx context.Context, op string) (diff.Tree, SideInfo, error) { return s.side(ctx, op, r.From) }
	return s.compareSides(ctx, "compare", &r.DiffRequest, p, from, to)
}

type openSide func(ctx context.Context, op string) (diff.Tree, SideInfo, error)

func (s *Service) compareSides(ctx context.Context, op string, r *DiffRequest, p Progress, from, to openSide) (*DiffResult, error) {
	start := time.Now()
	opts := diff.Options{Paths: r.Paths, Tensors: r.Tensors, Whole: op == "compare", Progress: func(done, total int64, what string) {
		p(control.Progress{Step: "compare", Done: done, Total: total, Unit: "bytes", What: what})
	}}
	for _, text := range r.FailOn {
		c, err := diff.ParseCondition(text)
		if err != nil {
			return nil, control.Usagef("%s: --fail-on: %v", op, err) // of a request that came by the socket
		}
		opts.FailOn = append(opts.FailOn, c)
		opts.Single = opts.Single || c.Metric == "nan" || c.Metric == "inf"
	}
	res := &DiffResult{}
	var err error
	if opts.Old, res.From, err = from(ctx, op); err != nil {
		return nil, err
	}
	if opts.New, res.To, err = to(ctx, op); err != nil {
		return nil, err
	}
	found, err := diff.Run(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	res.fill(found, r.N)
	if op == "compare" && s.repo != nil {
		if res.Shared, err = sharedBytes(ctx, s.repo.Objects, opts.Old, opts.New, found); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	if r.Soup || len(r.SoupOf) > 0 {
		if err := s.soup(ctx, op, r, res, opts.Old, opts.New); err != nil {
			return nil, err
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// fill converts what was found. With n > 0 only the n tensors that changed most are kept, and those that failed.
func (res *DiffResult) fill(found *diff.Result, n int) {
	res.Files, res.Tensors, res.Layers = []DiffFile{}, []DiffTensor{}, []DiffLayer{}
	for _, f := range found.Files {
		res.Files = append(res.Files, DiffFile{
			Path: control.Text(f.Path), Kind: f.Kind, OldPath: control.Text(f.OldPath), Size: f.Size, OldSize: f.OldSize, ID: f.ID, Format: f.Format, DiffTotal: diffTotal(&f.Total),
		})
	}
	most := maxRows
	if n > 0 {
		most = min(most, n)
	}
	for i, t := range found.Tensors {
		if i >= most && (len(t.Failed) == 0 || len(res.Tensors) >= maxRows) {
			res.Omitted++
			continue
		}
		res.Tensors = append(res.Tensors, DiffTensor{
			Name: t.Name, Path: control.Text(t.Path), Kind: t.Kind, OldName: t.OldName, OldPath: control.Text(t.OldPath), DType: t.DType, OldDType: t.OldDType, Shape: t.Shape,
			OldShape: t.OldShape, Bytes: t.Bytes, Figures: t.Figures, Part: t.Part, Notes: t.Notes, Failed: t.Failed,
		})
	}
	for _, l := range found.Layers {
		if len(res.Layers) < maxRows {
			res.Layers = append(res.Layers, DiffLayer{Dir: control.Text(l.Dir), Name: l.Name, DiffTotal: diffTotal(&l.Total)})
		}
	}
	res.Total, res.Notes, res.Failed, res.Read = diffTotal(&found.Total), found.Notes, found.Failed, found.Read
	res.StateTensors = found.StateTensors
}

func diffTotal(t *diff.Total) DiffTotal { return DiffTotal{t.Counts, t.Figures} }
