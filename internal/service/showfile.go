package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/convert"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// TensorInfo is one row of a file's tensor table. JSON names are a promise.
type TensorInfo struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Bytes  int64   `json:"bytes"`
	*TensorStored
	Stats *TensorStats `json:"stats,omitempty"`
}

// TensorStored is how a tensor of a stored file is stored. JSON names are a promise.
type TensorStored struct {
	Stored  int64        `json:"stored_bytes"`
	How     string       `json:"how"` // "raw", "zstd", "solo", "delta", "derived", "inline", "mixed"
	Formula string       `json:"formula,omitempty"`
	Depth   int          `json:"depth"`
	Blob    oid.ID       `json:"blob,omitzero"` // the first
	Blobs   int          `json:"blobs"`
	Shared  bool         `json:"shared,omitempty"` // the blobs hold more than this tensor
	Bases   []TensorBase `json:"bases,omitempty"`
}

// TensorBase is what a tensor is stored as a delta of, or computed from. JSON names are a promise.
type TensorBase struct {
	Blob   oid.ID       `json:"blob"`
	Path   control.Text `json:"path,omitempty"` // "" if no file that has it was found
	Commit oid.ID       `json:"commit,omitzero"`
	Branch string       `json:"branch,omitempty"`
	Tensor string       `json:"tensor,omitempty"`
}

// TensorStats is what the values of a tensor are like; mean and so on are of the finite ones. JSON names are a promise.
type TensorStats struct {
	Count int64 `json:"count"`
	Zeros int64 `json:"zeros"`
	NaN   int64 `json:"nan"`
	Inf   int64 `json:"inf"`
	Mean  Float `json:"mean"`
	Std   Float `json:"std"`
	RMS   Float `json:"rms"`
	Min   Float `json:"min"`
	Max   Float `json:"max"`
}

// TensorTotal sums the tensors of one dtype or layer. JSON names are a promise.
type TensorTotal struct {
	Name    string `json:"name"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
	Stored  int64  `json:"stored_bytes,omitempty"` // blobs that tensors share count once
}

// viewer makes the result of one `coral show` of a file.
type viewer struct {
	s    *Service // nil without a repository
	r    *ShowRequest
	p    Progress
	at   *located // nil for a file of the disk
	f    *opened
	m    *object.Manifest // of a stored file
	how  []vcs.StoredTensor
	done int64 // bytes read
}

// disk shows a file of the disk.
func (v *viewer) disk(ctx context.Context, path string) (res *ShowResult, err error) {
	defer func() {
		if err != nil {
			res, err = nil, fmt.Errorf("show %s: %w", path, err)
		}
	}()
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if v.f, err = openTensors(ctx, path); err != nil {
		return nil, err
	}
	defer func() { _ = v.f.close() }() // it was only read
	when := fi.ModTime().UTC()
	info := EntryInfo{Name: control.Text(filepath.Base(path)), Kind: "file", Mode: fmt.Sprintf("%04o", fi.Mode().Perm()), MTime: &when, Size: v.f.Size}
	res = &ShowResult{Path: control.Text(path), File: &FileInfo{EntryInfo: info}}
	return res, v.fill(ctx, res, v.r.Tensor)
}

// stored shows a located file.
func (v *viewer) stored(ctx context.Context, res *ShowResult, name string) (err error) {
	l := v.at
	res.File = &FileInfo{EntryInfo: entryInfo(l.entry, l.state.Dirty)}
	if l.entry.Kind != object.File {
		return nil
	}
	if !l.entry.ID.IsZero() {
		if v.m, err = v.s.repo.Objects.Manifest(ctx, l.entry.ID); err != nil {
			return err
		}
		res.File.Hash, res.File.Format, res.File.Segments = v.m.Hash, v.m.Format, len(v.m.Segments)
	}
	if v.f, err = v.s.tensors(ctx, l); err != nil {
		return err
	}
	defer func() { _ = v.f.close() }() // it was only read
	if v.m != nil && (l.state.Dirty || len(v.m.Tensors) == 0) {
		v.m = nil // what is open is not what is stored, or was parsed just now
	}
	if v.m != nil {
		var stored int64
		if v.how, stored, err = v.s.repo.StoredTensors(ctx, v.m); err != nil {
			return err
		}
		res.File.Stored = &stored
	}
	return v.fill(ctx, res, name)
}

// fill fills in what the tensors tell.
func (v *viewer) fill(ctx context.Context, res *ShowResult, name string) error {
	f := res.File
	f.Format, f.Tensors = v.f.Format, len(v.f.Tensors)
	if convert.Damaged(v.f.why) {
		f.Why = control.OneLine(v.f.why.Error())
	} else if v.f.why != nil && f.Size > 0 && namedAsWeights(string(f.Name)) {
		f.Why = "its name is that of a file of weights, its bytes are of no format that is known"
	}
	var bases map[oid.ID]vcs.BlobPlace
	var err error
	if v.how != nil {
		if bases, err = v.bases(ctx, name); err != nil {
			return err
		}
	}
	if name != "" || v.r.Histogram {
		return v.detail(ctx, res, name, bases)
	}
	if v.r.Heatmap || v.r.Against != "" {
		res.Heatmap, err = v.heatmap(ctx)
		return err
	}
	for i := range v.f.Tensors {
		row, err := v.row(ctx, i, bases, v.r.Stats)
		if err != nil {
			return err
		}
		f.List = append(f.List, row)
	}
	f.DTypes = v.totals(func(t *object.Tensor) string { return t.DType.String() })
	f.Layers = v.totals(func(t *object.Tensor) string { layer, _ := vcs.Layer(t.Name); return layer })
	order := tensorOrders[cmp.Or(v.r.Sort, "file")]
	slices.SortStableFunc(f.List, func(a, b TensorInfo) int { return order(&a, &b) })
	if v.r.Reverse {
		slices.Reverse(f.List)
	}
	if n := v.r.N; n > 0 && n < len(f.List) {
		f.List = f.List[:n]
	}
	return nil
}

// tensorOrders are the values of --sort: names upwards, sizes and statistics downwards.
var tensorOrders = map[string]func(a, b *TensorInfo) int{
	"":      func(a, b *TensorInfo) int { return 0 },
	"file":  func(a, b *TensorInfo) int { return 0 },
	"name":  func(a, b *TensorInfo) int { return cmp.Compare(a.Name, b.Name) },
	"dtype": func(a, b *TensorInfo) int { return cmp.Compare(a.DType, b.DType) },
	"bytes": func(a, b *TensorInfo) int { return cmp.Compare(b.Bytes, a.Bytes) },
	"stored": downward(func(t *TensorInfo) float64 {
		if t.TensorStored == nil {
			return 0
		}
		return float64(t.Stored)
	}),
	"ratio": downward(func(t *TensorInfo) float64 {
		if t.TensorStored == nil || t.Bytes == 0 {
			return 0
		}
		return float64(t.Stored) / float64(t.Bytes)
	}),
	"depth": downward(func(t *TensorInfo) float64 {
		if t.TensorStored == nil {
			return 0
		}
		return float64(t.Depth)
	}),
	"mean":  statistic(func(s *TensorStats) float64 { return float64(s.Mean) }),
	"std":   statistic(func(s *TensorStats) float64 { return float64(s.Std) }),
	"rms":   statistic(func(s *TensorStats) float64 { return float64(s.RMS) }),
	"min":   statistic(func(s *TensorStats) float64 { return float64(s.Min) }),
	"max":   statistic(func(s *TensorStats) float64 { return float64(s.Max) }),
	"zeros": statistic(func(s *TensorStats) float64 { return float64(s.Zeros) }),
}

func downward(key func(*TensorInfo) float64) func(a, b *TensorInfo) int {
	return func(a, b *TensorInfo) int { return cmp.Compare(key(b), key(a)) }
}

// statistic orders by one, downwards; tensors without come last.
func statistic(key func(*TensorStats) float64) func(a, b *TensorInfo) int {
	return func(a, b *TensorInfo) int {
		switch {
		case a.Stats == nil || b.Stats == nil:
			return cmp.Compare(boolInt(a.Stats == nil), boolInt(b.Stats == nil))
		}
		return cmp.Compare(key(b.Stats), key(a.Stats))
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bases finds the names of what the tensors, or the one called name, are stored as deltas of.
func (v *viewer) bases(ctx context.Context, name string) (map[oid.ID]vcs.BlobPlace, error) {
	wanted := map[oid.ID]bool{}
	for i := range v.how {
		if name == "" || v.f.Tensors[i].Name == name {
			for _, id := range v.how[i].Bases {
				wanted[id] = true
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	return v.s.repo.BlobPlaces(ctx, wanted, v.at.commit)
}

// row describes tensor i.
func (v *viewer) row(ctx context.Context, i int, bases map[oid.ID]vcs.BlobPlace, stats bool) (TensorInfo, error) {
	t := &v.f.Tensors[i]
	row := TensorInfo{Name: t.Name, DType: t.DType.String(), Shape: shapeOf(t), Offset: t.Offset, Bytes: t.Length}
	if v.how != nil {
		h := &v.how[i]
		row.TensorStored = &TensorStored{Stored: h.Bytes, How: h.How, Formula: h.Formula, Depth: h.Depth, Blobs: len(h.Blobs), Shared: h.Shared}
		if len(h.Blobs) > 0 {
			row.Blob = h.Blobs[0]
		}
		for _, id := range h.Bases {
			b := bases[id]
			row.Bases = append(row.Bases, TensorBase{Blob: id, Path: control.Text(b.Path), Commit: b.Commit, Branch: b.Branch, Tensor: b.Tensor})
		}
	}
	if !stats {
		return row, nil
	}
	sum, err := v.summary(ctx, v.f.File, t)
	if sum != nil {
		row.Stats = &TensorStats{Count: sum.Count, Zeros: sum.Zeros, NaN: sum.NaN, Inf: sum.Inf, Mean: Float(sum.Mean), Std: Float(sum.Std), RMS: Float(sum.RMS), Min: Float(sum.Min), Max: Float(sum.Max)}
	}
	return row, err
}

// summary reads a tensor; nil if its elements are no numbers.
func (v *viewer) summary(ctx context.Context, f *tensor.File, t *object.Tensor) (*tensor.Summary, error) {
	if !tensor.Numbers(t.DType) {
		return nil, nil
	}
	v.done += t.Length
	v.p(control.Progress{Step: "read", Done: v.done, Unit: "bytes", What: t.Name})
	s, err := f.Summarize(ctx, t)
	if errors.Is(err, errs.Invalid) || errors.Is(err, errs.Unsupported) {
		return nil, nil // blocks that are not whole, in a damaged file
	}
	return &s, err
}

// totals sums by what key says, the largest first.
func (v *viewer) totals(key func(*object.Tensor) string) []TensorTotal {
	index := map[string]int{}
	seen := map[oid.ID]bool{}
	var out []TensorTotal
	for i := range v.f.Tensors {
		t := &v.f.Tensors[i]
		k := key(t)
		n, ok := index[k]
		if !ok {
			n = len(out)
			index[k] = n
			out = append(out, TensorTotal{Name: k})
		}
		out[n].Tensors++
		out[n].Bytes += t.Length
		if v.how == nil {
			continue
		}
		for _, id := range v.how[i].Blobs {
			if info, err := v.s.repo.Packs.Stat(id); err == nil && !seen[id] { // it was there a moment ago
				seen[id] = true
				out[n].Stored += info.Stored
			}
		}
	}
	slices.SortStableFunc(out, func(a, b TensorTotal) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return out
}

// TensorDetail is one tensor in full. JSON names are a promise.
type TensorDetail struct {
	TensorInfo
	Elements  int64           `json:"elements"`
	Histogram *Histogram      `json:"histogram,omitempty"`
	History   []TensorVersion `json:"history,omitempty"` // along first parents, the newest first
	More      bool            `json:"more,omitempty"`    // there are older versions than -n shows
}

// Histogram counts finite values in bins of equal width. JSON names are a promise.
type Histogram struct {
	Low    Float   `json:"low"`
	High   Float   `json:"high"`
	Counts []int64 `json:"counts"`
}

// TensorVersion is a commit that brought a version of a tensor. JSON names are a promise.
type TensorVersion struct {
	Commit  oid.ID    `json:"commit"`
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
	DType   string    `json:"dtype"`
	Shape   []int64   `json:"shape"`
	Change  *Float    `json:"relative_l2,omitempty"` // ‖this − the one before‖ / ‖the one before‖; of --stats
}
