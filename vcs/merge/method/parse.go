package method

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"coral/internal/errs"
)

// Parse reads "slerp:t=0.3" or "ties:density=0.2,weights=1/0.5": a method, a colon, and parameters; lists are separated by slashes. What does not
// parse, and a parameter that the method does not have, is errs.Invalid.
func Parse(text string) (Spec, error) {
	name, rest, _ := strings.Cut(text, ":")
	s, err := New(name)
	if err != nil {
		return Spec{}, err
	}
	if rest == "" {
		return s, nil
	}
	for kv := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return Spec{}, fmt.Errorf("merge strategy %s: %q: want parameter=value: %w", s.Method, kv, errs.Invalid)
		}
		if err := s.Set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return Spec{}, err
		}
	}
	return s, nil
}

// Set sets one parameter by its name; weight is another name of weights.
func (s *Spec) Set(key, value string) error {
	if key == "weight" {
		key = "weights"
	}
	has := methods[s.Method].params
	if !slices.Contains(has, key) {
		text := "it has none"
		if len(has) > 0 {
			text = "it has " + strings.Join(has, ", ")
		}
		return fmt.Errorf("merge strategy %s: no parameter %q: %s: %w", s.Method, key, text, errs.Invalid)
	}
	var err error
	switch key {
	case "alpha":
		s.Alpha, err = number(value)
	case "t":
		s.T, err = number(value)
	case "gamma":
		s.Gamma, err = number(value)
	case "lambda":
		s.Lambda, err = number(value)
	case "weights":
		s.Weights, err = numbers(value)
	case "density":
		s.Density, err = numbers(value)
	case "normalize":
		s.Normalize, err = strconv.ParseBool(strings.ToLower(value))
	case "rescale":
		s.Rescale, err = rescaling(value)
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
	}
	if err != nil {
		return fmt.Errorf("merge strategy %s: %s=%s: not a value of it: %w", s.Method, key, value, errs.Invalid)
	}
	return nil
}

// rescaling reads none, l1 or density, and true and false as mergekit means them.
func rescaling(value string) (string, error) {
	switch v := strings.ToLower(value); v {
	case RescaleNone, RescaleL1, RescaleDensity:
		return v, nil
	case "true":
		return RescaleL1, nil
	case "false":
		return RescaleNone, nil
	}
	return "", errs.Invalid
}

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errs.Invalid
	}
	return v, err
}

func numbers(text string) ([]float64, error) {
	var out []float64
	for part := range strings.SplitSeq(text, "/") {
		v, err := number(part)
		if err != nil || len(out) == MaxSides {
			return nil, errs.Invalid
		}
		out = append(out, v)
	}
	return out, nil
}
