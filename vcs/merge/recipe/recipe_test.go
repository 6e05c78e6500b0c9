package recipe

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/vcs/merge/method"
)

// Recipes as mergekit's own examples have them (examples/*.yml), and what becomes of them.
func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		models []string
		base   string
		check  func(s method.Spec) bool
	}{
		"linear": {"models:\n  - model: a\n    parameters:\n      weight: 1.0\n  - model: b\n    parameters:\n      weight: 0.3\nmerge_method: linear\ndtype: float16\n",
			[]string{"a", "b"}, "", func(s method.Spec) bool { return slices.Equal(s.Weights, []float64{1, 0.3}) && s.Normalize }},
		"ties": {"models:\n  - model: base\n  - model: a\n    parameters: {density: 0.5, weight: 0.4}\n  - model: b\n    parameters: {weight: 0.6}\nmerge_method: ties\nbase_model: base\nparameters:\n  normalize: false\n  int8_mask: true\n  density: 0.2\n",
			[]string{"a", "b"}, "base", func(s method.Spec) bool {
				return slices.Equal(s.Weights, []float64{0.4, 0.6}) && slices.Equal(s.Density, []float64{0.5, 0.2}) && !s.Normalize
			}},
		"slerp": {"slices:\n  - sources:\n      - model: b\n        layer_range: [0, 32]\n      - model: a\n        layer_range: [0, 32]\nmerge_method: slerp\nbase_model: a\nparameters:\n  t: 0.25\n",
			[]string{"a", "b"}, "", func(s method.Spec) bool { return s.T == 0.25 }},
		"dare": {"merge_method: dare_ties\nbase_model: base\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0.5, rescale: true, lambda: 2}\n",
			[]string{"a", "b"}, "base", func(s method.Spec) bool {
				return s.Rescale == method.RescaleL1 && s.Lambda == 2 && slices.Equal(s.Weights, []float64{0.5, 0.5})
			}},
		"stock": {"merge_method: model_stock\nbase_model: base\nmodels: [{model: a}, {model: b}]\n", []string{"a", "b"}, "base", func(s method.Spec) bool { return s.Method == method.ModelStock }},
	} {
		r, err := Parse([]byte(c.text))
		if err != nil || !slices.Equal(r.Models, c.models) || r.Base != c.base || !c.check(r.Spec) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for text, want := range map[string]struct {
		class error
		part  string
	}{
		"":                    {errs.Invalid, "empty"},
		"a: [":                {errs.Invalid, "line 1"},
		"merge_method: slerp": {errs.Invalid, "no models"},
		"merge_method: karcher\nmodels: [{model: a}]":                                                                    {errs.Unsupported, "karcher"},
		"merge_method: ours\nmodels: [{model: a}]":                                                                       {errs.Unsupported, "ours"},
		"merge_method: ties\nmodels: [{model: a}]":                                                                       {errs.Invalid, "base_model"},
		"merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {t: 1}":                                     {errs.Invalid, "no parameter"},
		"merge_method: linear\nmodels: [{model: a}, {model: b}]\nnonsense: 1":                                            {errs.Invalid, "nonsense"},
		"merge_method: linear\nmodels: [{weight: 1}]":                                                                    {errs.Invalid, "weight"},
		"merge_method: linear\nmodels: [{parameters: {weight: 1}}]":                                                      {errs.Invalid, "no name"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [0, 1]}":                                 {errs.Unsupported, "gradients"},
		"merge_method: linear\nslices: [{sources: [{model: a, layer_range: [0, 8]}, {model: b, layer_range: [8, 16]}]}]": {errs.Unsupported, "whole models"},
		"merge_method: linear\nslices: [{sources: [{model: a}]}, {sources: [{model: b}]}]":                               {errs.Unsupported, "several slices"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}, {model: c}]":                                              {errs.Invalid, "exactly two"},
		strings.Repeat(" ", MaxLen+1):                                                                                    {errs.Invalid, "at most"},
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, want.class) || !strings.Contains(err.Error(), want.part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: %v, want %q", text, err, want.part)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("merge_method: ties\nbase_model: m\nmodels: [{model: a, parameters: {weight: 1}}, {model: b}]\n"))
	f.Add([]byte("&a [*a, *a]"))
	f.Add([]byte("models: &x [{model: *x}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err == nil && (len(r.Models) == 0 || r.Spec.Check(len(r.Models)) != nil) {
			t.Errorf("%q gives %+v", text, r)
		}
		if err != nil && !errors.Is(err, errs.Invalid) && !errors.Is(err, errs.Unsupported) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
