package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/natural"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// Float is a number that in JSON is a string where JSON has none: "NaN", "+Inf", "-Inf".
type Float float64

// MarshalJSON implements json.Marshaler.
func (f Float) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return json.Marshal(strconv.FormatFloat(float64(f), 'g', -1, 64))
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Float) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("%s is no number: %w", b, errs.Invalid)
	}
	*f = Float(v)
	return nil
}

// histogramBins are those of a histogram.
const histogramBins = 32

// detail shows one tensor in full: the one called name, or the only one of the file.
func (v *viewer) detail(ctx context.Context, res *ShowResult, name string, bases map[oid.ID]vcs.BlobPlace) error {
	i := slices.IndexFunc(v.f.Tensors, func(t object.Tensor) bool { return t.Name == name })
	if name == "" && len(v.f.Tensors) == 1 {
		i = 0
	}
	switch {
	case v.f.why != nil:
		return v.f.why
	case name == "" && i < 0:
		return control.Usagef("name a tensor of the file: a histogram is of one")
	case i < 0:
		return fmt.Errorf("tensor %q: %w", name, errs.NotFound)
	}
	t := &v.f.Tensors[i]
	row, err := v.row(ctx, i, bases, true)
	if err != nil {
		return err
	}
	d := &TensorDetail{TensorInfo: row, Elements: 1}
	for _, n := range t.Shape {
		d.Elements *= n
	}
	if s := row.Stats; s != nil && s.Count > s.NaN+s.Inf {
		d.Histogram = &Histogram{Low: s.Min, High: s.Max}
		if d.Histogram.Counts, err = v.f.Histogram(ctx, t, float64(s.Min), float64(s.Max), histogramBins); err != nil {
			return err
		}
	}
	res.Tensor = d
	return v.history(ctx, d)
}

// history adds the versions of the tensor in commits.
func (v *viewer) history(ctx context.Context, d *TensorDetail) error {
	if v.at == nil {
		return nil
	}
	from := v.at.commit
	if v.at.tree != nil {
		b, err := v.s.repo.Refs.Branch(v.at.branch)
		if err != nil {
			return err
		}
		from = b.ID
	}
	ask := v.r.N
	if ask > 0 {
		ask++ // to know whether there are more, and what the last one changed
	}
	list, err := v.s.repo.TensorHistory(ctx, from, v.at.target.Path, d.Name, ask)
	if err != nil {
		return err
	}
	d.More = ask > 0 && len(list) == ask
	for i, tv := range list {
		if ask > 0 && i == v.r.N {
			break
		}
		c, err := v.s.repo.Objects.Commit(ctx, tv.Commit)
		if err != nil {
			return err
		}
		subject, _, _ := strings.Cut(c.Message, "\n")
		out := TensorVersion{Commit: tv.Commit, Time: c.Time.UTC(), Subject: subject, DType: tv.Tensor.DType.String(), Shape: shapeOf(tv.Tensor)}
		if v.r.Stats && i+1 < len(list) {
			if out.Change, err = v.changed(ctx, tv, list[i+1]); err != nil {
				return err
			}
		}
		d.History = append(d.History, out)
	}
	return nil
}

// changed compares two versions; nil where they cannot be.
func (v *viewer) changed(ctx context.Context, is, was vcs.TensorVersion) (*Float, error) {
	if !slices.Equal(is.Tensor.Shape, was.Tensor.Shape) || !tensor.Numbers(is.Tensor.DType) || !tensor.Numbers(was.Tensor.DType) {
		return nil, nil
	}
	files := [2]*tensor.File{}
	for i, tv := range []vcs.TensorVersion{is, was} {
		c, err := v.s.repo.Content.Open(ctx, tv.Manifest)
		if err != nil {
			return nil, err
		}
		files[i] = tensor.FromManifest(c, c.Manifest())
	}
	x, err := tensor.Change(ctx, files[0], is.Tensor, files[1], was.Tensor)
	if err != nil {
		return nil, err
	}
	f := Float(x)
	return &f, nil
}

// Heatmap has a value for each layer and kind of tensor that the file has. JSON names are a promise.
type Heatmap struct {
	Of      string       `json:"of"` // "rms", or "relative_l2": the change from another file
	Against control.Text `json:"against,omitempty"`
	Layers  []string     `json:"layers"` // rows, in file order, numbers as numbers
	Kinds   []string     `json:"kinds"`  // columns
	Values  [][]*Float   `json:"values"` // null where there is no such tensor, or nothing to compare it with
}

// maxHeatmap bounds the cells of a heat map.
const maxHeatmap = 1 << 20

func (v *viewer) heatmap(ctx context.Context) (*Heatmap, error) {
	if v.f.why != nil {
		return nil, v.f.why
	}
	h := &Heatmap{Of: "rms", Layers: []string{}, Kinds: []string{}, Values: [][]*Float{}}
	var other *opened
	if v.r.Against != "" {
		var err error
		if other, err = v.against(ctx, h); err != nil {
			return nil, err
		}
		defer func() { _ = other.close() }() // it was only read
	}
	rows, cols := map[string]int{}, map[string]int{}
	type cell struct {
		row, col int
		value    *Float
	}
	var cells []cell
	for i := range v.f.Tensors {
		t := &v.f.Tensors[i]
		x, err := v.heat(ctx, t, other)
		if err != nil {
			return nil, err
		}
		layer, kind := vcs.Layer(t.Name)
		if _, ok := rows[layer]; !ok {
			rows[layer] = len(rows)
			h.Layers = append(h.Layers, layer)
		}
		if _, ok := cols[kind]; !ok {
			cols[kind] = len(cols)
			h.Kinds = append(h.Kinds, kind)
		}
		cells = append(cells, cell{rows[layer], cols[kind], x})
	}
	if len(rows)*len(cols) > maxHeatmap {
		return nil, fmt.Errorf("%d layers by %d kinds of tensors: too many for a heat map: %w", len(rows), len(cols), errs.TooLarge)
	}
	place := make([]int, len(h.Layers)) // of each row when sorted
	order := make([]int, len(h.Layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return natural.Compare(h.Layers[a], h.Layers[b]) })
	sorted := make([]string, len(order))
	for to, from := range order {
		place[from], sorted[to] = to, h.Layers[from]
	}
	h.Layers = sorted
	for range h.Layers {
		h.Values = append(h.Values, make([]*Float, len(h.Kinds)))
	}
	for _, c := range cells {
		h.Values[place[c.row]][c.col] = c.value
	}
	return h, nil
}

// heat returns the value of one cell: the root mean square, or the change from the tensor of the same name in other.
func (v *viewer) heat(ctx context.Context, t *object.Tensor, other *opened) (*Float, error) {
	if !tensor.Numbers(t.DType) {
		return nil, nil
	}
	var x Float
	if other == nil {
		s, err := v.summary(ctx, v.f.File, t)
		if err != nil || s == nil || s.Finite() == 0 {
			return nil, err
		}
		x = Float(s.RMS)
		return &x, nil
	}
	was, ok := other.Find(t.Name)
	if !ok || !slices.Equal(was.Shape, t.Shape) || !tensor.Numbers(was.DType) {
		return nil, nil
	}
	v.done += t.Length
	v.p(control.Progress{Step: "compare", Done: v.done, Unit: "bytes", What: t.Name})
	d, err := tensor.Change(ctx, v.f.File, t, other.File, was)
	if errors.Is(err, errs.Invalid) {
		return nil, nil
	}
	x = Float(d)
	return &x, err
}

// against opens what a heat map is compared with: a file of the disk, REV:PATH, or the same path in REV.
func (v *viewer) against(ctx context.Context, h *Heatmap) (*opened, error) {
	h.Of, h.Against = "relative_l2", v.r.Against
	name := string(v.r.Against)
	f, err := func() (*opened, error) {
		if filepath.IsAbs(name) {
			if v.s != nil {
				if l, err := v.s.locateDisk(ctx, "show", name); err != nil {
					return nil, err
				} else if l != nil {
					return v.s.tensors(ctx, l)
				}
			}
			return openTensors(ctx, name)
		}
		if v.s == nil {
			return nil, fmt.Errorf("no such file: %w", errs.NotFound)
		}
		t, err := ParseTarget("show", name)
		if err != nil {
			return nil, err
		}
		if !t.HasPath || t.Live && t.Path == "" {
			if v.at == nil {
				return nil, control.Usagef("a file of the disk is compared with another, or with REV:PATH")
			}
			t.Path, t.HasPath = v.at.target.Path, true
		}
		l, err := v.s.locate(ctx, "", t)
		if err != nil {
			return nil, err
		}
		return v.s.tensors(ctx, l)
	}()
	if err == nil && f.why != nil {
		err = errors.Join(f.why, f.close())
	}
	if err != nil {
		return nil, fmt.Errorf("against %s: %w", name, err)
	}
	return f, nil
}
