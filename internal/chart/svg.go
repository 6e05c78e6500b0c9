package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// svg is a canvas of SVG elements.
type svg struct{ b bytes.Buffer }

func newSVG(w, h int) canvas {
	s := &svg{}
	fmt.Fprintf(&s.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="monospace" font-size="12">`+"\n", w, h, w, h)
	s.rect(0, 0, w, h, white)
	return s
}

func (s *svg) rect(x, y, w, h int, c color) {
	r, g, b := c.rgb()
	fmt.Fprintf(&s.b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#%02x%02x%02x"/>`+"\n", x, y, w, h, r, g, b)
}

func (s *svg) text(x, y int, text string, end bool) {
	anchor := ""
	if end {
		anchor = ` text-anchor="end"`
	}
	fmt.Fprintf(&s.b, `<text x="%d" y="%d"%s>`, x, y+4, anchor)
	_ = xml.EscapeText(&s.b, []byte(strings.ToValidUTF8(text, "\uFFFD"))) // a Buffer never fails
	s.b.WriteString("</text>\n")
}

func (s *svg) write(w io.Writer) error {
	s.b.WriteString("</svg>\n")
	_, err := w.Write(s.b.Bytes())
	return err
}
