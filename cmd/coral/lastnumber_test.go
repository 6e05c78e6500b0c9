package main

import (
	"errors"
	"strings"
	"testing"

	"coral/internal/errs"
)

func TestLastNumber(t *testing.T) {
	for text, want := range map[string]float64{
		"0.5": 0.5, "0.5\n": 0.5, "1\n2\n": 2, "loss 3\n 4e-3 \r\nsaved 5\n": 4e-3, "-7\n\n\n": -7, "1\n" + strings.Repeat("2", 500) + "\nend": 1, "+1\n.5": 0.5, "nan\n1": 1,
	} {
		for _, step := range []int{1, 3, 4096} {
			var n lastNumber
			for rest := text; rest != ""; {
				part := rest[:min(step, len(rest))]
				if k, err := n.Write([]byte(part)); k != len(part) || err != nil {
					t.Fatal(k, err)
				}
				rest = rest[len(part):]
			}
			if got, err := n.score(); err != nil || got != want {
				t.Errorf("%.20q by %d: %v, %v, want %v", text, step, got, err, want)
			}
		}
	}
	for text, part := range map[string]string{"": "no line", "loss: 1\n": "no line", "1\nNaN\n": "NaN", "-inf": "-inf", "1e999": "1e999", strings.Repeat("1", 500): "no line"} {
		var n lastNumber
		_, _ = n.Write([]byte(text))
		if _, err := n.score(); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
