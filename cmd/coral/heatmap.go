package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"coral/internal/chart"
	"coral/internal/service"
)

// heatTitle says what a heat map shows.
func heatTitle(h *service.Heatmap) string {
	if h.Of == "rms" {
		return "root mean square"
	}
	return "relative change from " + string(h.Against)
}

// gridOf returns a heat map as a chart.
func gridOf(h *service.Heatmap) *chart.Grid {
	g := &chart.Grid{Title: heatTitle(h), Rows: h.Layers}
	for _, k := range h.Kinds {
		if k == "" {
			k = "(the layer itself)"
		}
		g.Cols = append(g.Cols, k)
	}
	for _, row := range h.Values {
		out := make([]float64, len(row))
		for i, v := range row {
			if out[i] = math.NaN(); v != nil {
				out[i] = float64(*v)
			}
		}
		g.Values = append(g.Values, out)
	}
	return g
}

// blocks are the shades of a heat map without colour; a dot is no value.
var blocks = []string{"  ", "░░", "▒▒", "▓▓", "██"}

// heatmap writes a heat map as text: a column of three for each kind of tensor.
func (p *printer) heatmap(h *service.Heatmap, color bool) {
	g := gridOf(h)
	width := 0
	for _, r := range g.Rows {
		width = max(width, len([]rune(safe(r))))
	}
	p.line("%s", safe(g.Title))
	head := strings.Repeat(" ", width)
	for i := range g.Cols {
		head += fmt.Sprintf(" %2d", i+1)
	}
	p.line("%s", head)
	s := chart.ScaleOf(g.Values)
	for y, row := range g.Values {
		var b strings.Builder
		name := safe(g.Rows[y])
		b.WriteString(name + strings.Repeat(" ", width-len([]rune(name))))
		for _, v := range row {
			b.WriteByte(' ')
			b.WriteString(heatCell(s, v, color))
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
	if s.Low <= s.High {
		how := ""
		if s.Log {
			how = ", shades by the logarithm"
		}
		p.line("%s to %s%s", chart.Number(s.Low), chart.Number(s.High), how)
	}
	rows := [][]string{}
	for i, c := range g.Cols {
		rows = append(rows, []string{strconv.Itoa(i + 1), safe(c)})
	}
	p.table(rows, 0)
}

func heatCell(s chart.Scale, v float64, color bool) string {
	t, ok := s.At(v)
	switch {
	case !ok:
		return " ·"
	case color:
		r, g, b := chart.RGB(t)
		return fmt.Sprintf("\x1b[48;2;%d;%d;%dm  \x1b[0m", r, g, b)
	}
	return blocks[min(int(t*float64(len(blocks))), len(blocks)-1)]
}

// writePicture writes a histogram or heat map to a file of its name's kind; path "" is none.
func writePicture(path string, r *service.ShowResult) error {
	if path == "" {
		return nil
	}
	var picture interface {
		SVG(io.Writer) error
		PNG(io.Writer) error
	}
	switch {
	case r.Heatmap != nil:
		picture = gridOf(r.Heatmap)
	case r.Tensor != nil && r.Tensor.Histogram != nil:
		h := r.Tensor.Histogram
		picture = &chart.Bars{Title: r.Tensor.Name, Low: float64(h.Low), High: float64(h.High), Counts: h.Counts}
	default:
		return fmt.Errorf("%s: there is nothing to draw: no finite values", path)
	}
	var b bytes.Buffer
	draw := picture.PNG
	if strings.HasSuffix(path, ".svg") {
		draw = picture.SVG
	}
	err := draw(&b)
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o666)
	}
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return nil
}
