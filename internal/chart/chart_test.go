package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"

	"coral/internal/errs"
)

func grid() *Grid {
	nan := math.NaN()
	return &Grid{Title: `rms of <"a&b">`, Rows: []string{"layer.0", "layer.10", "é"}, Cols: []string{"weight", "bias"},
		Values: [][]float64{{0.001, 1}, {nan, 0.03}, {math.Inf(1), 0}}}
}

func bars() *Bars { return &Bars{Title: "w", Low: -1, High: 1, Counts: []int64{0, 3, 1, 1000}} }

// TestPictures: both kinds are what their readers read, the same every time, and have the colours of the values.
func TestPictures(t *testing.T) {
	for name, c := range map[string]struct{ svg, png func(io.Writer) error }{"grid": {grid().SVG, grid().PNG}, "bars": {bars().SVG, bars().PNG}, "empty grid": {(&Grid{}).SVG, (&Grid{}).PNG},
		"empty bars": {(&Bars{}).SVG, (&Bars{}).PNG}} {
		var a, b, again bytes.Buffer
		if err := errors.Join(c.svg(&a), c.png(&b), c.png(&again)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for d := xml.NewDecoder(&a); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		img, err := png.Decode(bytes.NewReader(b.Bytes()))
		if err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("%s: %v, or not the same twice", name, err)
		}
		if name != "grid" {
			continue
		}
		left := margin + len("layer.10")*letter + margin/2
		for at, want := range map[[2]int][3]uint8{{0, 0}: {0x44, 0x01, 0x54}, {1, 0}: {0xfd, 0xe7, 0x25}, {0, 1}: {225, 225, 225}, {0, 2}: {0xfd, 0xe7, 0x25}, {1, 2}: {0x44, 0x01, 0x54}} {
			r, g, bl, _ := img.At(left+at[0]*cellW+5, margin+2*line+at[1]*cellH+5).RGBA()
			if got := [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(bl >> 8)}; got != want {
				t.Errorf("cell %v is %v, want %v", at, got, want)
			}
		}
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := grid().SVG(&b); err != nil || !strings.Contains(b.String(), "rms of &lt;&#34;a&amp;b&#34;&gt;") || !strings.Contains(b.String(), ">0<") {
		t.Errorf("%v in %s", err, b.String())
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		values []float64
		v      float64
		want   float64
	}{
		{[]float64{1, 2}, 1.5, 0.5}, {[]float64{1, 100}, 10, 0.5}, {[]float64{0, 1, 100}, 0, 0}, {[]float64{-100, 100}, 0, 0.5}, {[]float64{3, 3}, 3, 0}, {nil, 3, 0},
		{[]float64{1, 2}, math.Inf(1), 1}, {[]float64{0, 0}, 0, 0}, {[]float64{5e-324, math.MaxFloat64}, math.MaxFloat64, 1},
	} {
		if got, ok := ScaleOf([][]float64{c.values}).At(c.v); !ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v of %v is at %v, want %v", c.v, c.values, got, c.want)
		}
	}
	if _, ok := ScaleOf(nil).At(math.NaN()); ok {
		t.Error("NaN has a place")
	}
}

func TestTooLarge(t *testing.T) {
	g := &Grid{Cols: make([]string, 1<<18)}
	if err := g.PNG(io.Discard); !errors.Is(err, errs.TooLarge) {
		t.Error(err)
	}
}
