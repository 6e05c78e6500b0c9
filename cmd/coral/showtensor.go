package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coral/internal/service"
)

// maxLayers is how many layers the text lists.
const maxLayers = 40

// tensors writes a file's tensor table and its totals.
func (p *printer) tensors(f *service.FileInfo) {
	if f.Why != "" {
		p.line("Tensors: none; %s", f.Why)
	}
	if len(f.List) == 0 {
		return
	}
	p.line("")
	stored := slices.ContainsFunc(f.List, func(t service.TensorInfo) bool { return t.TensorStored != nil })
	stats := slices.ContainsFunc(f.List, func(t service.TensorInfo) bool { return t.Stats != nil })
	head, right := []string{"tensor", "dtype", "shape", "bytes"}, []int{3}
	if stored {
		right = append(right, 4)
		head = append(head, "stored", "how")
	}
	if stats {
		for _, h := range []string{"mean", "std", "min", "max", "zeros", "NaN", "Inf"} {
			right = append(right, len(head))
			head = append(head, h)
		}
	}
	rows := [][]string{head}
	var total int64
	for i := range f.List {
		t := &f.List[i]
		total += t.Bytes
		row := []string{safe(t.Name), t.DType, shape(t.Shape), strconv.FormatInt(t.Bytes, 10)}
		if stored {
			row = append(row, storedCells(t)...)
		}
		if stats {
			row = append(row, statCells(t.Stats)...)
		}
		rows = append(rows, row)
	}
	p.table(rows, right...)
	if f.Tensors > len(f.List) {
		p.line("%d of %s, %s", len(f.List), count(int64(f.Tensors), "tensor"), size(total))
	} else {
		p.line("%s, %s", count(int64(len(f.List)), "tensor"), size(total))
	}
	p.totals("dtype", f.DTypes)
	if len(f.Layers) > 1 {
		p.totals("layer", f.Layers)
	}
}

// storedCells are the columns of how a tensor is stored.
func storedCells(t *service.TensorInfo) []string {
	if t.TensorStored == nil {
		return []string{"", ""}
	}
	return []string{strconv.FormatInt(t.Stored, 10), how(t)}
}

// how is "delta of path@commit, depth 2", and of the base's tensor the name if it differs.
func how(t *service.TensorInfo) string {
	s := t.How
	if t.Formula != "" {
		s += " (" + t.Formula + ")"
	}
	var bases []string
	for _, b := range t.Bases {
		bases = append(bases, baseName(t.Name, &b))
	}
	slices.Sort(bases)
	bases = slices.Compact(bases)
	word := " of "
	if t.How == "derived" {
		word = " from "
	}
	switch {
	case len(bases) > 4:
		s += word + strings.Join(bases[:4], ", ") + ", …"
	case len(bases) > 0:
		s += word + strings.Join(bases, ", ")
	}
	if t.Depth > 0 {
		s += ", depth " + strconv.Itoa(t.Depth)
	}
	if t.Shared {
		s += ", shared"
	}
	return s
}

func baseName(tensor string, b *service.TensorBase) string {
	if b.Path == "" {
		return short(b.Blob)
	}
	s := where(service.SimilarPlace{Path: b.Path, Commit: b.Commit, Branch: b.Branch})
	if b.Tensor != tensor && b.Tensor != "" {
		s += " " + safe(b.Tensor)
	}
	return s
}

func statCells(s *service.TensorStats) []string {
	if s == nil {
		return []string{"", "", "", "", "", "", ""}
	}
	out := []string{"", "", "", ""}
	if s.Count > s.NaN+s.Inf {
		out = []string{number(s.Mean), number(s.Std), number(s.Min), number(s.Max)}
	}
	return append(out, strconv.FormatInt(s.Zeros, 10), strconv.FormatInt(s.NaN, 10), strconv.FormatInt(s.Inf, 10))
}

// number is a statistic to five digits.
func number(f service.Float) string { return strconv.FormatFloat(float64(f), 'g', 5, 64) }

// totals writes sums by what they are of.
func (p *printer) totals(what string, list []service.TensorTotal) {
	p.line("")
	stored := slices.ContainsFunc(list, func(t service.TensorTotal) bool { return t.Stored > 0 })
	rows := [][]string{{what, "tensors", "bytes"}}
	if stored {
		rows[0] = append(rows[0], "stored")
	}
	for i, t := range list {
		if i == maxLayers {
			rows = append(rows, []string{fmt.Sprintf("… %d more", len(list)-i)})
			break
		}
		row := []string{safe(t.Name), strconv.Itoa(t.Tensors), size(t.Bytes)}
		if stored {
			row = append(row, size(t.Stored))
		}
		rows = append(rows, row)
	}
	p.table(rows, 1, 2, 3)
}

// tensor writes one tensor in full.
func (p *printer) tensor(path string, t *service.TensorDetail) {
	p.line("%s", safe(t.Name))
	p.line("File:    %s", safe(path))
	p.line("DType:   %s %s", t.DType, shape(t.Shape))
	p.line("Size:    %s, %s (%d bytes)", count(t.Elements, "element"), size(t.Bytes), t.Bytes)
	if t.TensorStored != nil {
		p.line("Stored:  %s (%s), %s", size(t.Stored), share(t.Stored, t.Bytes), how(&t.TensorInfo))
		if !t.Blob.IsZero() {
			p.line("Blob:    %s%s", t.Blob, more(t.Blobs-1))
		}
	}
	if s := t.Stats; s != nil {
		c := statCells(s)
		p.line("Mean:    %s", c[0])
		p.line("Std:     %s", c[1])
		p.line("Min:     %s", c[2])
		p.line("Max:     %s", c[3])
		p.line("RMS:     %s", number(s.RMS))
		p.line("Zeros:   %d (%s)", s.Zeros, share(s.Zeros, s.Count))
		p.line("NaN:     %d", s.NaN)
		p.line("Inf:     %d", s.Inf)
	}
	if t.Histogram != nil {
		p.line("")
		p.histogram(t.Histogram)
	}
	if len(t.History) == 0 {
		return
	}
	p.line("")
	rows := [][]string{{"commit", "time", "change", "dtype", "subject"}}
	for _, h := range t.History {
		change := ""
		if h.Change != nil {
			change = number(*h.Change)
		}
		rows = append(rows, []string{short(h.Commit), h.Time.In(p.loc).Format("2006-01-02 15:04"), change, h.DType, safe(h.Subject)})
	}
	p.table(rows, 2)
	if t.More {
		p.line("… and older ones")
	}
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// bar pieces: eighths of a cell.
var eighths = []rune("▏▎▍▌▋▊▉█")

// histogram writes one bin a line.
func (p *printer) histogram(h *service.Histogram) {
	const width = 50
	most := slices.Max(h.Counts)
	rows := [][]string{}
	step := (float64(h.High) - float64(h.Low)) / float64(len(h.Counts))
	for i, n := range h.Counts {
		if step == 0 && n == 0 {
			continue // all values are the same: one bin tells it
		}
		units := 0
		if most > 0 {
			units = int(float64(n) / float64(most) * width * 8)
		}
		if n > 0 {
			units = max(units, 1)
		}
		bar := strings.Repeat("█", units/8)
		if r := units % 8; r > 0 {
			bar += string(eighths[r-1])
		}
		rows = append(rows, []string{strconv.FormatFloat(float64(h.Low)+step*float64(i), 'g', 4, 64), strconv.FormatInt(n, 10), bar})
	}
	p.table(rows, 0, 1)
}
