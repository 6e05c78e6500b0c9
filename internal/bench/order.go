package bench

import (
	"cmp"
	"strings"

	"coral/internal/natural"
)

// byDirectory compares two slash-separated paths, directory by directory, with runs of digits compared as numbers: checkpoint-90 before checkpoint-100.
func byDirectory(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		if c := natural.Total(x[i], y[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}
