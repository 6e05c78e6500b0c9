package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newSimilarCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "similar FILE | TENSOR",
		Short: "Stored tensors that resemble those of a file, and its likely parent",
		Long: `Find stored tensors that resemble those of a file, whatever they are called, and the stored files that the file was most likely made from.
FILE is a path on disk, or REV:PATH, :PATH or branches/NAME:PATH in the repository; TENSOR is one of these, a colon, and a tensor's name.
Candidates come from an index of fingerprints; for the best ones the cosine is computed from all elements. Tensors are similar from a correlation
(the cosine after the means are taken away) of --threshold on. Tensors shorter than 16 KiB and Adam's first moments are not indexed.
An index that is missing or damaged is made again from what is stored, and always with --rebuild.`,
		Example: `  coral similar ~/downloads/model.safetensors
  coral similar main:model.safetensors:encoder.layer.0.output.dense.weight -n 10
  coral similar --rebuild`,
	}, printSimilar)
}

func printSimilar(p *printer, req service.Request, r service.SimilarResult) error {
	if r.Rebuilt {
		p.line("indexed %s", count(r.Indexed, "tensor"))
	}
	if r.Partial {
		p.line("the index of similar tensors is not complete, and this repository is read-only")
	}
	if r.File == "" {
		return nil
	}
	if len(r.Files) == 0 {
		p.line("nothing that is stored resembles it at %v or more", req.(*service.SimilarRequest).Threshold)
	}
	p.similarFiles(r.Files, lookedFor(r.Tensors))
	rows := [][]string{{"tensor", "dtype", "shape", "cosine", "correlation", "nearest"}}
	skipped := map[string]int64{}
	for _, t := range r.Tensors {
		row := []string{safe(t.Name), t.DType, shape(t.Shape)}
		if t.Skipped != "" {
			skipped[t.Skipped]++
			continue
		}
		if len(t.Matches) == 0 {
			rows = append(rows, append(row, "", "", "(none)"))
		}
		for _, m := range t.Matches {
			rows = append(rows, append(row, figure(m.Cosine, m.Identical), figure(m.Correlation, m.Identical), nearest(&t, &m)))
			row = []string{"", "", ""}
		}
	}
	if len(rows) > 1 {
		p.line("")
		p.table(rows, 3, 4)
	}
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		p.line("not looked for: %s, %s", count(skipped[why], "tensor"), why)
	}
	return nil
}

// lookedFor is how many tensors could have a match.
func lookedFor(list []service.SimilarTensor) (n int) {
	for _, t := range list {
		if t.Skipped == "" {
			n++
		}
	}
	return n
}

// similarFiles writes the likely parents.
func (p *printer) similarFiles(list []service.SimilarFile, of int) {
	rows := [][]string{}
	for i, f := range list {
		what := ""
		if i == 0 {
			what = "likely parent:"
		}
		rows = append(rows, []string{what, where(f.SimilarPlace), fmt.Sprintf("%d of %s", f.Tensors, count(int64(of), "tensor")),
			fmt.Sprintf("%.1f %% of the bytes", f.Share*100), "correlation " + figure(f.Correlation, false)})
	}
	p.table(rows)
}

// figure is a cosine to eight digits: the checkpoints of a run differ in the seventh.
func figure(v float64, identical bool) string {
	if identical {
		return "identical"
	}
	return strconv.FormatFloat(v, 'f', 8, 64)
}

// where is path@commit, or path@branches/NAME for a live tree.
func where(p service.SimilarPlace) string {
	at := "branches/" + p.Branch
	if !p.Commit.IsZero() {
		at = short(p.Commit)
	}
	return safe(p.Path) + "@" + at
}

// nearest names a match: its place, and of its name, dtype and shape what differs.
func nearest(t *service.SimilarTensor, m *service.SimilarMatch) string {
	s := where(m.SimilarPlace)
	if m.Name != t.Name {
		s += "  " + safe(m.Name)
	}
	if m.DType != t.DType {
		s += "  " + m.DType
	}
	if got := shape(m.Shape); got != shape(t.Shape) {
		s += "  " + got
	}
	return s
}
