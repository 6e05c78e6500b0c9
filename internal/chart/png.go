package chart

import (
	"image"
	imagecolor "image/color"
	"image/png"
	"io"
	"unicode"
)

// raster is a canvas of pixels, with a font of 3×5 dots drawn twice as large. Its letters have one case only.
type raster struct{ img *image.Paletted }

func newPNG(w, h int) canvas {
	var p imagecolor.Palette
	for c := color(0); c <= black; c++ {
		r, g, b := c.rgb()
		p = append(p, imagecolor.RGBA{R: r, G: g, B: b, A: 255})
	}
	r := &raster{image.NewPaletted(image.Rect(0, 0, w, h), p)}
	r.rect(0, 0, w, h, white)
	return r
}

func (r *raster) rect(x, y, w, h int, c color) {
	area := image.Rect(x, y, x+w, y+h).Intersect(r.img.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		row := r.img.Pix[r.img.PixOffset(area.Min.X, y):][:area.Dx()]
		for i := range row {
			row[i] = uint8(c)
		}
	}
}

func (r *raster) text(x, y int, s string, end bool) {
	runes := []rune(s)
	if end {
		x -= len(runes) * letter
	}
	for _, c := range runes {
		rows, ok := font[unicode.ToLower(c)]
		if !ok {
			rows = font['?']
		}
		for i, bits := range rows {
			for k := range 3 {
				if bits>>(2-k)&1 != 0 {
					r.rect(x+2*k, y-5+2*i, 2, 2, black)
				}
			}
		}
		x += letter
	}
}

func (r *raster) write(w io.Writer) error { return png.Encode(w, r.img) }

// font has five rows of three dots for each character; the highest bit is the left one.
var font = map[rune][5]uint8{
	' ': {}, '0': {7, 5, 5, 5, 7}, '1': {2, 6, 2, 2, 7}, '2': {7, 1, 7, 4, 7}, '3': {7, 1, 7, 1, 7}, '4': {5, 5, 7, 1, 1},
	'5': {7, 4, 7, 1, 7}, '6': {7, 4, 7, 5, 7}, '7': {7, 1, 1, 2, 2}, '8': {7, 5, 7, 5, 7}, '9': {7, 5, 7, 1, 7},
	'a': {2, 5, 7, 5, 5}, 'b': {6, 5, 6, 5, 6}, 'c': {3, 4, 4, 4, 3}, 'd': {6, 5, 5, 5, 6}, 'e': {7, 4, 6, 4, 7}, 'f': {7, 4, 6, 4, 4},
	'g': {3, 4, 5, 5, 3}, 'h': {5, 5, 7, 5, 5}, 'i': {7, 2, 2, 2, 7}, 'j': {1, 1, 1, 5, 2}, 'k': {5, 5, 6, 5, 5}, 'l': {4, 4, 4, 4, 7},
	'm': {5, 7, 7, 5, 5}, 'n': {6, 5, 5, 5, 5}, 'o': {2, 5, 5, 5, 2}, 'p': {6, 5, 6, 4, 4}, 'q': {2, 5, 5, 6, 3}, 'r': {6, 5, 6, 5, 5},
	's': {3, 4, 2, 1, 6}, 't': {7, 2, 2, 2, 2}, 'u': {5, 5, 5, 5, 7}, 'v': {5, 5, 5, 5, 2}, 'w': {5, 5, 7, 7, 5}, 'x': {5, 5, 2, 5, 5},
	'y': {5, 5, 2, 2, 2}, 'z': {7, 1, 2, 4, 7},
	'.': {0, 0, 0, 0, 2}, ',': {0, 0, 0, 2, 4}, ':': {0, 2, 0, 2, 0}, '_': {0, 0, 0, 0, 7}, '-': {0, 0, 7, 0, 0}, '+': {0, 2, 7, 2, 0},
	'=': {0, 7, 0, 7, 0}, '*': {5, 2, 7, 2, 5}, '/': {1, 1, 2, 4, 4}, '%': {5, 1, 2, 4, 5}, '(': {1, 2, 2, 2, 1}, ')': {4, 2, 2, 2, 4},
	'[': {3, 2, 2, 2, 3}, ']': {6, 2, 2, 2, 6}, '@': {7, 5, 5, 4, 7}, '~': {0, 3, 6, 0, 0}, '?': {6, 1, 2, 0, 2},
}
