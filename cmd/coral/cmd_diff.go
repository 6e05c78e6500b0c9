package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
	"coral/vcs/diff"
)

func newDiffCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "What differs between two versions, tensor by tensor",
		Long: `Compare two commits, branches, live trees, files or directories: which files and tensors were added, removed, renamed, reshaped, recast (another
dtype) or changed, and how far. FROM is HEAD's commit if it is not given, TO the live tree of the current branch.
A side is REV, REV:PATH, :PATH or branches/NAME[:PATH] (live trees), or a path of the disk outside the repository; a name goes before a path: write ./NAME then.

Tensors are in order of relative L2, ‖new − old‖ / ‖old‖. changed is the share of elements whose bits differ, ulp the median distance in floats of the dtype. NaN and
infinities are counted and left out of the other figures. Tensors that are stored as the same blobs are not read. Totals are of the tensors that differ;
coral compare has them of everything.`,
		Example: `  coral diff
  coral diff main~1 main --tensor '*.attention.*'
  coral diff v1:model.safetensors ~/downloads/model.safetensors --stat
  coral diff main~1 main --fail-on 'cos<0.9' --fail-on 'nan>0'
  coral diff main merged --soup`,
	}, printDiff)
}

func printDiff(p *printer, req service.Request, r service.DiffResult) error {
	o := req.(*service.DiffRequest)
	if len(r.Files) == 0 && len(r.Tensors) == 0 {
		return nil // as git says nothing where nothing differs
	}
	p.diffFiles(r.Files, o.Stat)
	if o.Stat {
		if len(r.Files) > 1 {
			p.line("%s%s", sumLine(&r.Total), stateLine(&r))
		}
		return nil
	}
	p.tensorChanges(&r, o.N)
	p.layers(r.Layers)
	p.diffNotes(&r)
	return nil
}

// diffFiles writes one line a file.
func (p *printer) diffFiles(files []service.DiffFile, stat bool) {
	rows := [][]string{}
	for _, f := range files {
		name := safe(f.Path)
		if f.OldPath != "" {
			name = safe(f.OldPath) + " -> " + name
		}
		row := []string{f.Kind + ":", name, sizeChange(&f)}
		if stat && f.Counts.Tensors > 0 {
			row = append(row, sumLine(&f.DiffTotal))
		}
		rows = append(rows, row)
	}
	p.table(rows)
}

func sizeChange(f *service.DiffFile) string {
	switch {
	case f.Kind == "deleted":
		return size(f.OldSize)
	case f.Kind == "added" || f.OldSize == f.Size:
		return size(f.Size)
	}
	return size(f.OldSize) + " -> " + size(f.Size)
}

// sumLine is "3 of 12 tensors changed, 1 added; cosine 0.99999, rel L2 1.2e-03".
func sumLine(t *service.DiffTotal) string {
	c := t.Counts
	parts := []string{}
	for _, k := range []struct {
		n    int
		what string
	}{{c.Changed, "changed"}, {c.Recast, "recast"}, {c.Reshaped, "reshaped"}, {c.Renamed, "renamed"}, {c.Added, "added"}, {c.Removed, "removed"}} {
		if k.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k.n, k.what))
		}
	}
	s := count(int64(c.Tensors), "tensor") + ": "
	if len(parts) == 0 {
		s += "all equal"
	} else {
		s += strings.Join(parts, ", ")
	}
	if f := t.Figures; f != nil && c.Changed+c.Recast+c.Reshaped > 0 && !math.IsNaN(float64(f.Cosine)) {
		s += fmt.Sprintf("; cosine %s, rel L2 %s", cosine(f.Cosine), small(f.RelL2))
	}
	return s
}

// tensorChanges writes the table of tensors.
func (p *printer) tensorChanges(r *service.DiffResult, n int) {
	if len(r.Tensors) == 0 {
		return
	}
	most := len(r.Tensors)
	if n < 0 {
		most = min(most, service.DefaultRows)
	}
	p.line("")
	several := len(r.Files) > 1
	rows := [][]string{{"cosine", "rel L2", "max |d|", "changed", "ulp", "", "tensor"}}
	left := r.Omitted
	shown := 0
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if shown >= most && len(t.Failed) == 0 {
			left++
			continue
		}
		shown++
		rows = append(rows, append(figureCells(t.Figures), t.Kind, tensorCell(t, several)))
	}
	if noFigures(rows[1:]) {
		for i, row := range rows {
			rows[i] = row[5:]
		}
		p.table(rows[1:])
	} else {
		p.table(rows, 0, 1, 2, 3, 4)
	}
	if left > 0 {
		p.line("and %s (-n 0 shows all)", count(int64(left), "more tensor"))
	}
}

// noFigures reports that nothing was compared: tensors were added and removed only.
func noFigures(rows [][]string) bool {
	for _, r := range rows {
		if strings.Join(r[:5], "") != "" {
			return false
		}
	}
	return true
}

func tensorCell(t *service.DiffTensor, several bool) string {
	name := safe(t.Name)
	if several {
		name = safe(t.Path) + ":" + name
	}
	if t.OldName != "" || t.OldPath != "" {
		from := safe(t.OldName)
		if from == "" {
			from = safe(t.Name)
		}
		if t.OldPath != "" {
			from = safe(t.OldPath) + ":" + from
		}
		name = from + " -> " + name
	}
	if t.OldDType != "" {
		name += "  " + t.OldDType + " -> " + t.DType
	}
	if t.OldShape != nil {
		name += "  " + shape(t.OldShape) + " -> " + shape(t.Shape)
	}
	if len(t.Notes) > 0 {
		name += "  (" + strings.Join(t.Notes, "; ") + ")"
	}
	for _, f := range t.Failed {
		name += "  ! " + f
	}
	return name
}

// figureCells are cosine, relative L2, max, share changed and ulps; empty where there are none.
func figureCells(f *diff.Figures) []string {
	if f == nil {
		return []string{"", "", "", "", ""}
	}
	ulp := ""
	if f.ULP != nil {
		ulp = strconv.FormatInt(*f.ULP, 10)
	}
	if f.Opaque {
		return []string{"", "", "", percent(f.Changed), ""}
	}
	return []string{cosine(f.Cosine), small(f.RelL2), small(f.MaxAbs), percent(f.Changed), ulp}
}

func cosine(n diff.Number) string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	return strconv.FormatFloat(float64(n), 'f', 8, 64)
}

func small(n diff.Number) string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	return strconv.FormatFloat(float64(n), 'e', 2, 64)
}

func percent(n diff.Number) string {
	v := float64(n) * 100
	if v > 0 && v < 0.01 {
		return "<0.01 %"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " %"
}

// layers writes the totals of layers, if there are at least two.
func (p *printer) layers(list []service.DiffLayer) {
	rows := [][]string{{"cosine", "rel L2", "max |d|", "changed", "tensors", "layer"}}
	for _, l := range list {
		c := l.Counts
		if c.Changed+c.Recast+c.Reshaped == 0 {
			continue
		}
		name := safe(l.Name)
		if l.Dir != "" {
			name = safe(l.Dir) + ": " + name
		}
		rows = append(rows, append(figureCells(l.Figures)[:4], fmt.Sprintf("%d of %d", c.Differ(), c.Tensors), name))
	}
	if len(rows) > 2 {
		p.line("")
		p.table(rows, 0, 1, 2, 3, 4)
	}
}

// diffNotes writes the sum and what it looks like.
func (p *printer) diffNotes(r *service.DiffResult) {
	if r.Total.Counts.Tensors == 0 {
		return
	}
	p.line("")
	p.line("%s%s", sumLine(&r.Total), stateLine(r))
	if f := r.Total.Figures; f != nil && f.NaN+f.Inf+f.OldNaN+f.OldInf > 0 {
		p.line("not finite: NaN %d -> %d, infinite %d -> %d", f.OldNaN, f.NaN, f.OldInf, f.Inf)
	}
	for _, n := range r.Notes {
		p.line("%s", safe(n))
	}
}

// stateLine says that the total leaves something out.
func stateLine(r *service.DiffResult) string {
	if r.StateTensors == 0 {
		return ""
	}
	return fmt.Sprintf(" (without %s of optimizers)", count(int64(r.StateTensors), "state tensor"))
}
