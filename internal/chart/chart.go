// Package chart draws histograms and heat maps as SVG and PNG files, with nothing but the standard library: rectangles and short labels on a canvas of which there are two.
// The same data gives the same bytes.
package chart

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"coral/internal/errs"
)

// Grid is a heat map: a value for each row and column, NaN where there is none.
type Grid struct {
	Title      string
	Rows, Cols []string
	Values     [][]float64
}

// Bars is a histogram: counts in bins of equal width from Low to High.
type Bars struct {
	Title     string
	Low, High float64
	Counts    []int64
}

// canvas is what a chart is drawn on. Coordinates are pixels from the top left.
type canvas interface {
	rect(x, y, w, h int, c color)
	text(x, y int, s string, end bool) // y is the middle of the line; end: s ends at x
	write(w io.Writer) error
}

// color is an entry of the palette: 0 to shades-1 are a scale, the others follow.
type color uint8

const (
	shades       = 64
	white  color = shades
	grey   color = shades + 1
	black  color = shades + 2
)

// stops are the colours of matplotlib's viridis (CC0) at equal distances.
var stops = [][3]float64{{0x44, 0x01, 0x54}, {0x41, 0x44, 0x87}, {0x2a, 0x78, 0x8e}, {0x22, 0xa8, 0x84}, {0x7a, 0xd1, 0x51}, {0xfd, 0xe7, 0x25}}

// RGB returns the colour of the scale at t, from 0 to 1.
func RGB(t float64) (r, g, b uint8) {
	at := max(0, min(1, t)) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	f := at - float64(i)
	mix := func(k int) uint8 { return uint8(math.Round(stops[i][k]*(1-f) + stops[i+1][k]*f)) }
	return mix(0), mix(1), mix(2)
}

func (c color) rgb() (r, g, b uint8) {
	switch c {
	case white:
		return 255, 255, 255
	case grey:
		return 225, 225, 225
	case black:
		return 0, 0, 0
	}
	return RGB(float64(c) / (shades - 1))
}

// Scale maps values to 0…1: by their logarithms if all that are not zero are positive and differ more than tenfold, else linearly.
type Scale struct {
	Low, High float64 // of the finite values
	Log       bool
	least     float64 // of the positive ones
}

// ScaleOf returns the scale of a grid's values.
func ScaleOf(values [][]float64) Scale {
	s := Scale{Low: math.Inf(1), High: math.Inf(-1), least: math.Inf(1)}
	for _, row := range values {
		for _, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			s.Low, s.High = min(s.Low, v), max(s.High, v)
			if v > 0 {
				s.least = min(s.least, v)
			}
		}
	}
	s.Log = s.Low >= 0 && s.High > 10*s.least
	return s
}

// At returns where v is, from 0 to 1; ok is false for NaN.
func (s Scale) At(v float64) (t float64, ok bool) {
	switch {
	case math.IsNaN(v):
		return 0, false
	case math.IsInf(v, 1):
		return 1, true
	case math.IsInf(v, -1) || s.High <= s.Low:
		return 0, true
	case s.Log && v <= 0:
		return 0, true
	case s.Log:
		return math.Log(v/s.least) / math.Log(s.High/s.least), true
	}
	return (v - s.Low) / (s.High - s.Low), true
}

// Number writes a value for people.
func Number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// Sizes in pixels.
const (
	letter = 8 // advance of a character
	line   = 18
	margin = 12
	cellW  = 28
	cellH  = 18
)

// maxPixels bounds a picture.
const maxPixels = 64 << 20

// kind is a kind of picture.
type kind func(w, h int) canvas

// render draws on a new canvas of the right size and writes it.
func render(dst io.Writer, new kind, w, h int, draw func(canvas)) error {
	if w <= 0 || h <= 0 || w > 1<<20 || h > maxPixels/w {
		return fmt.Errorf("picture of %d×%d pixels: %w", w, h, errs.TooLarge)
	}
	c := new(w, h)
	draw(c)
	return c.write(dst)
}

// SVG writes the heat map as SVG.
func (g *Grid) SVG(w io.Writer) error { return g.render(w, newSVG) }

// PNG writes the heat map as PNG.
func (g *Grid) PNG(w io.Writer) error { return g.render(w, newPNG) }

func (g *Grid) render(dst io.Writer, new kind) error {
	left, legend := 0, 0
	for _, r := range g.Rows {
		left = max(left, len([]rune(r)))
	}
	for _, c := range g.Cols {
		legend = max(legend, len([]rune(c))+6)
	}
	left = margin + left*letter + margin/2
	gridW := left + len(g.Cols)*cellW + margin
	w := max(gridW, margin*2+max(legend, len([]rune(g.Title)), 40)*letter)
	top := margin + 2*line
	bottom := top + len(g.Rows)*cellH + margin
	h := bottom + 2*line + len(g.Cols)*line + margin
	return render(dst, new, w, h, func(c canvas) { g.draw(c, left, top, bottom) })
}

func (g *Grid) draw(c canvas, left, top, bottom int) {
	c.text(margin, margin+line/2, g.Title, false)
	for i := range g.Cols {
		c.text(left+i*cellW+cellW-letter/2, top-line/2, strconv.Itoa(i+1), true)
	}
	s := ScaleOf(g.Values)
	for y, row := range g.Values {
		c.text(left-margin/2, top+y*cellH+cellH/2, g.Rows[y], true)
		for x, v := range row {
			shade := grey
			if t, ok := s.At(v); ok {
				shade = color(math.Round(t * (shades - 1)))
			}
			c.rect(left+x*cellW, top+y*cellH, cellW-1, cellH-1, shade)
		}
	}
	if s.Low <= s.High { // there is a value
		low, how := Number(s.Low), ""
		if s.Log {
			how = " (log)"
		}
		x := margin + len(low)*letter + margin/2
		c.text(margin, bottom+line/2, low, false)
		for i := range shades {
			c.rect(x+i*2, bottom+line/2-5, 2, 10, color(i))
		}
		c.text(x+2*shades+margin/2, bottom+line/2, Number(s.High)+how, false)
	}
	for i, name := range g.Cols {
		c.text(margin, bottom+2*line+i*line, fmt.Sprintf("%-3d %s", i+1, name), false)
	}
}

// SVG writes the histogram as SVG.
func (b *Bars) SVG(w io.Writer) error { return b.render(w, newSVG) }

// PNG writes the histogram as PNG.
func (b *Bars) PNG(w io.Writer) error { return b.render(w, newPNG) }

const (
	barsWidth  = 640
	barsHeight = 240
)

func (b *Bars) render(dst io.Writer, new kind) error {
	w := max(barsWidth, len([]rune(b.Title))*letter) + 2*margin
	return render(dst, new, w, barsHeight+2*margin+3*line, b.draw)
}

func (b *Bars) draw(c canvas) {
	c.text(margin, margin+line/2, b.Title, false)
	most := int64(1)
	for _, n := range b.Counts {
		most = max(most, n)
	}
	c.text(margin, margin+line+line/2, strconv.FormatInt(most, 10), false)
	base := margin + 2*line + barsHeight
	n := max(len(b.Counts), 1)
	for i, k := range b.Counts {
		x, next := i*barsWidth/n, (i+1)*barsWidth/n
		h := int(float64(k) / float64(most) * barsHeight)
		if k > 0 {
			h = max(h, 1)
		}
		c.rect(margin+x, base-h, max(next-x-1, 1), h, shades/3)
	}
	c.rect(margin, base, barsWidth, 1, black)
	c.text(margin, base+line/2, Number(b.Low), false)
	c.text(margin+barsWidth, base+line/2, Number(b.High), true)
}
