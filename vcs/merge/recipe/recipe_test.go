package recipe

import (
	"errors"
	"reflect"
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
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [0, true]}":                              {errs.Unsupported, "no number"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: []}":                                     {errs.Invalid, "empty"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [.nan, 1]}":                              {errs.Invalid, "NaN"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [1, {value: 2}]}":                        {errs.Invalid, "want a filter"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [{filter: x}]}":                          {errs.Invalid, "want a filter"},
		"merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [{filter: [1], value: 1}]}":              {errs.Invalid, "want a filter"},
		"merge_method: ties\nbase_model: c\nmodels: [{model: a}, {model: b}]\nparameters: {density: [0.5, 2]}":           {errs.Invalid, "density"},
		"merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: [{filter: x, value: {}}]}":         {errs.Unsupported, "no value"},
		"merge_method: linear\nmodules: {a: 1}":                                                                          {errs.Unsupported, "modules"},
		"merge_method: linear\ntokenizer: {source: union}":                                                               {errs.Unsupported, "tokenizer"},
		"merge_method: linear\nslices: [{sources: [{model: a}], residual_weight: 0.5}]":                                  {errs.Unsupported, "residual_weight"},
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

// TestSettings: values of the model go before those of the slice, and those before the recipe's, up to one for all tensors.
func TestSettings(t *testing.T) {
	r, err := Parse([]byte("merge_method: ties\nbase_model: c\nslices:\n  - sources:\n      - {model: a, layer_range: [0, 6], parameters: {weight: [{filter: x, value: 2}]}}\n      - {model: b, layer_range: [0, 6]}\n" +
		"    parameters: {weight: [{filter: y, value: [1, 3]}]}\nparameters: {weight: [{filter: \"*\", value: 0.5}, {value: 9}], normalize: {filter: z, value: false}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	y, rest := method.Case{Filter: "y", Gradient: []float64{1, 3}}, method.Case{Value: "0.5"}
	want := []method.Setting{
		{Param: "normalize", Cases: []method.Case{{Filter: "z", Value: "false"}}},
		{Param: "weights", Side: 1, Cases: []method.Case{{Filter: "x", Value: "2"}, y, rest}},
		{Param: "weights", Side: 2, Cases: []method.Case{y, rest}},
	}
	if !reflect.DeepEqual(r.Settings, want) || r.Layers != 6 || !slices.Equal(r.Spec.Density, []float64{1}) {
		t.Errorf("%+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("merge_method: ties\nbase_model: m\nmodels: [{model: a, parameters: {weight: 1}}, {model: b}]\n"))
	f.Add([]byte("&a [*a, *a]"))
	f.Add([]byte("merge_method: slerp\nslices: [{sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]}]\nparameters: {t: [{filter: mlp, value: [0, 0.5, 1]}, {value: 0.5}]}\n"))
	f.Add([]byte("models: &x [{model: *x}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err == nil && (len(r.Models) == 0 || r.Spec.Check(len(r.Models)) != nil || r.Spec.CheckSettings(r.Settings, len(r.Models)) != nil) {
			t.Errorf("%q gives %+v", text, r)
		}
		if err != nil && !errors.Is(err, errs.Invalid) && !errors.Is(err, errs.Unsupported) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
