package method

import (
	"errors"
	"slices"
	"testing"

	"coral/internal/errs"
)

// TestWith compares with what mergekit's evaluate_setting gives (Python, the same expressions).
func TestWith(t *testing.T) {
	s, err := Parse("ties:weights=1/2,density=1")
	if err != nil {
		t.Fatal(err)
	}
	settings := []Setting{
		{Param: "weights", Side: 2, Cases: []Case{{Filter: "attn", Gradient: []float64{0, 0.5, 0.3, 0.7, 1}}, {Filter: "mlp", Value: "3"}, {Gradient: []float64{4}}}},
		{Param: "density", Side: 1, Cases: []Case{{Filter: "mlp", Value: "0.25"}}},
		{Param: "lambda", Cases: []Case{{Gradient: []float64{1, 2}}}},
		{Param: "normalize", Cases: []Case{{Filter: "x", Value: "false"}}},
	}
	if err := s.CheckSettings(settings, 2); err != nil || !Graded(settings) || Graded(settings[3:]) {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		t               float64
		weight, density float64
		lambda          float64
		normalize       bool
	}{
		{"l.0.attn", 0, 0, 1, 1, true}, {"l.1.attn", 1.0 / 3, 0.43333333333333335, 1, 1.3333333333333335, true}, {"l.2.attn", 2.0 / 3, 0.5666666666666665, 1, 1.6666666666666665, true}, {"l.3.attn", 1, 1, 1, 2, true},
		{"mlp", 0.5, 3, 0.25, 1.5, true}, {"x", 0, 4, 1, 1, false},
	} {
		got, err := s.With(settings, 2, c.name, c.t)
		if err != nil || !slices.Equal(got.Weights, []float64{1, c.weight}) || got.Density[0] != c.density || got.Lambda != c.lambda || got.Normalize != c.normalize {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if got.Equal(s) {
			t.Errorf("%s: equal to what it was made of", c.name)
		}
	}
	if !slices.Equal(s.Weights, []float64{1, 2}) || !slices.Equal(s.Density, []float64{1}) || !s.Equal(s) {
		t.Errorf("the method has changed: %+v", s)
	}
	if _, err := s.With([]Setting{{Param: "weights", Side: 1, Cases: []Case{{Filter: "a", Value: "1"}}}}, 2, "b", 0); !errors.Is(err, errs.Invalid) {
		t.Errorf("no weight: %v", err)
	}
	lin, err := New(Linear)
	if err != nil {
		t.Fatal(err)
	}
	opposite := []Setting{{Param: "weights", Side: 1, Cases: []Case{{Gradient: []float64{1, -1}}}}}
	if err := lin.CheckSettings(opposite, 2); err != nil {
		t.Error(err)
	}
	if _, err := lin.With(opposite, 2, "x", 1); !errors.Is(err, errs.Invalid) {
		t.Errorf("weights that sum to 0: %v", err)
	}
	for name, x := range map[string]Setting{
		"no such parameter": {Param: "t", Cases: []Case{{Value: "1"}}}, "none of a list": {Param: "lambda", Side: 1, Cases: []Case{{Value: "1"}}}, "no side": {Param: "weights", Side: 3, Cases: []Case{{Value: "1"}}},
		"negative side": {Param: "weights", Side: -1, Cases: []Case{{Value: "1"}}}, "no case": {Param: "lambda"}, "no number": {Param: "lambda", Cases: []Case{{Value: "x"}}}, "density": {Param: "density", Cases: []Case{{Gradient: []float64{1, 0}}}},
		"too many": {Param: "lambda", Cases: make([]Case, MaxSettings+1)}, "too long": {Param: "lambda", Cases: []Case{{Gradient: make([]float64, MaxSettings+1)}}},
	} {
		if err := s.CheckSettings([]Setting{x}, 2); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
